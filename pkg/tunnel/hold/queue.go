package hold

import (
	"net/netip"
	"time"
)

// What waits at most. WireGuard keeps 128 packets for a peer; a segment that was
// sent whole is 45 of them.
const (
	// MaxPackets and MaxBytes are of one peer.
	MaxPackets = 256
	MaxBytes   = 384 << 10
	// maxTotal is of all peers, in bytes.
	maxTotal = 16 << 20
	// MaxAge is how long a packet waits: whoever sent it has given it up then.
	MaxAge = 5 * time.Second
)

// packet is one that waits.
type packet struct {
	data []byte
	came time.Time
}

// queue are the packets to one peer, the oldest first.
type queue struct {
	packets []packet
	bytes   int
}

// queues are those of all peers, by their prefixes. They know no clock and no
// device.
type queues struct {
	to map[netip.Prefix]*queue
	// bytes are those of all that wait.
	bytes int
	// dropped is how many packets were given up.
	dropped uint64
}

// push has a packet wait, and drops the oldest ones to the same peer if these are
// too many. data is kept.
func (q *queues) push(to netip.Prefix, data []byte, now time.Time) {
	if q.to == nil {
		q.to = map[netip.Prefix]*queue{}
	}
	one := q.to[to]
	if one == nil {
		one = &queue{}
		q.to[to] = one
	}
	one.packets = append(one.packets, packet{data: data, came: now})
	one.bytes += len(data)
	q.bytes += len(data)
	for len(one.packets) > 0 && (len(one.packets) > MaxPackets || one.bytes > MaxBytes || q.bytes > maxTotal) {
		q.drop(one)
	}
	q.tidy(to, one)
}

// drop gives up the oldest packet.
func (q *queues) drop(one *queue) {
	size := len(one.packets[0].data)
	one.packets, one.bytes, q.bytes = one.packets[1:], one.bytes-size, q.bytes-size
	q.dropped++
}

// tidy forgets a queue that is empty.
func (q *queues) tidy(to netip.Prefix, one *queue) {
	if len(one.packets) == 0 {
		delete(q.to, to)
	}
}

// expire gives up what has waited for too long.
func (q *queues) expire(now time.Time) {
	for to, one := range q.to {
		for len(one.packets) > 0 && now.Sub(one.packets[0].came) >= MaxAge {
			q.drop(one)
		}
		q.tidy(to, one)
	}
}

// take empties a peer's queue.
func (q *queues) take(to netip.Prefix) []packet {
	one := q.to[to]
	if one == nil {
		return nil
	}
	delete(q.to, to)
	q.bytes -= one.bytes
	return one.packets
}
