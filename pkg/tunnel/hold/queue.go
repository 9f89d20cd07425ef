package hold

import (
	"container/heap"
	"net/netip"
	"time"
)

// What waits at most. WireGuard keeps 128 packets for a peer; a segment that was
// sent whole is 45 of them.
const (
	// MaxPackets and MaxBytes are of one peer.
	MaxPackets = 256
	MaxBytes   = 384 << 10
	// maxTotal is of all peers, in bytes, with what the keeping itself takes.
	maxTotal = 16 << 20
	// keeping is what a packet takes besides its bytes: its place in a queue, and
	// what memory is rounded up by.
	keeping = 96
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
	to      netip.Prefix
	packets []packet
	bytes   int
	// place is its index in bySize.
	place int
}

// size is what it takes of maxTotal.
func (q *queue) size() int { return q.bytes + keeping*len(q.packets) }

// queues are those of all peers, by their prefixes. They know no clock and no
// device.
type queues struct {
	to map[netip.Prefix]*queue
	// bySize has the same, the largest first.
	bySize bySize
	// bytes are what all take.
	bytes int
	// dropped is how many packets were given up.
	dropped uint64
}

// push has a packet wait. If there are too many to its peer, the oldest of them are
// dropped; if there are to all peers, the oldest of whichever has most: what is
// sent to one takes no room from others that have less. data is kept.
func (q *queues) push(to netip.Prefix, data []byte, now time.Time) {
	if q.to == nil {
		q.to = map[netip.Prefix]*queue{}
	}
	one := q.to[to]
	if one == nil {
		one = &queue{to: to}
		q.to[to] = one
		heap.Push(&q.bySize, one)
	}
	one.packets = append(one.packets, packet{data: data, came: now})
	one.bytes += len(data)
	q.bytes += len(data) + keeping
	heap.Fix(&q.bySize, one.place)
	for len(one.packets) > MaxPackets || one.bytes > MaxBytes {
		q.drop(one)
	}
	for q.bytes > maxTotal {
		q.drop(q.bySize[0])
	}
}

// drop gives up the oldest packet of a queue, and the queue with its last one.
func (q *queues) drop(one *queue) {
	size := len(one.packets[0].data)
	one.packets[0] = packet{} // the array still has it
	one.packets, one.bytes = one.packets[1:], one.bytes-size
	q.bytes -= size + keeping
	q.dropped++
	if len(one.packets) == 0 {
		q.remove(one)
		return
	}
	heap.Fix(&q.bySize, one.place)
}

func (q *queues) remove(one *queue) {
	delete(q.to, one.to)
	heap.Remove(&q.bySize, one.place)
}

// expire gives up what has waited for too long.
func (q *queues) expire(now time.Time) {
	for _, one := range q.to {
		for len(one.packets) > 0 && now.Sub(one.packets[0].came) >= MaxAge {
			q.drop(one)
		}
	}
}

// take empties a peer's queue.
func (q *queues) take(to netip.Prefix) []packet {
	one := q.to[to]
	if one == nil {
		return nil
	}
	q.remove(one)
	q.bytes -= one.size()
	return one.packets
}

// bySize is a heap.Interface.
type bySize []*queue

func (b bySize) Len() int           { return len(b) }
func (b bySize) Less(i, j int) bool { return b[i].size() > b[j].size() }

func (b bySize) Swap(i, j int) {
	b[i], b[j] = b[j], b[i]
	b[i].place, b[j].place = i, j
}

// Push implements heap.Interface.
func (b *bySize) Push(x any) {
	one := x.(*queue)
	one.place = len(*b)
	*b = append(*b, one)
}

// Pop implements heap.Interface.
func (b *bySize) Pop() any {
	last := len(*b) - 1
	one := (*b)[last]
	(*b)[last] = nil
	*b = (*b)[:last]
	return one
}
