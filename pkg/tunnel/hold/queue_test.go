package hold

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"
)

var (
	peer  = netip.MustParsePrefix("fd12:3400:1:1::/64")
	other = netip.MustParsePrefix("fd12:3400:1:2::/64")
	start = time.Unix(1_000_000, 0)
)

func numbered(n, size int) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(n)), make([]byte, size-4)...)
}

// Of too many packets the last ones are kept, in their order; they count, and
// other peers' are not touched.
func TestTheOldestAreGivenUp(t *testing.T) {
	for name, c := range map[string]struct{ size, kept int }{
		"by number": {size: 100, kept: MaxPackets},
		"by bytes":  {size: 3 << 10, kept: MaxBytes / (3 << 10)},
	} {
		var q queues
		q.push(other, numbered(0, 100), start)
		const sent = 1000
		for n := range sent {
			q.push(peer, numbered(n, c.size), start)
		}
		if want := uint64(sent - c.kept); q.dropped != want {
			t.Errorf("%s: %d were dropped, want %d", name, q.dropped, want)
		}
		got := q.take(peer)
		if len(got) != c.kept {
			t.Fatalf("%s: %d were kept, want %d", name, len(got), c.kept)
		}
		for i, p := range got {
			if n := int(binary.BigEndian.Uint32(p.data)); n != sent-c.kept+i {
				t.Fatalf("%s: in place %d is packet %d", name, i, n)
			}
		}
		if len(q.take(other)) != 1 || q.bytes != 0 || len(q.to) != 0 {
			t.Errorf("%s: %d bytes in %d queues are left", name, q.bytes, len(q.to))
		}
	}
}

func TestPacketsWaitForAWhile(t *testing.T) {
	var q queues
	q.push(peer, numbered(0, 100), start)
	q.push(peer, numbered(1, 100), start.Add(time.Second))
	q.expire(start.Add(MaxAge))
	if got := q.take(peer); len(got) != 1 || got[0].data[3] != 1 || q.dropped != 1 {
		t.Errorf("%d are left and %d were dropped, want one of both", len(got), q.dropped)
	}
}

// However many peers there are, there is a bound for all.
func TestAllPeersTogetherAreBounded(t *testing.T) {
	var q queues
	for n := range 1000 {
		addr := netip.MustParseAddr("fd12::").As16()
		binary.BigEndian.PutUint32(addr[4:], uint32(n))
		for range 100 {
			q.push(netip.PrefixFrom(netip.AddrFrom16(addr), 64), numbered(0, 1400), start)
		}
	}
	if q.bytes > maxTotal || q.bytes < maxTotal-1400 || q.dropped == 0 {
		t.Errorf("%d bytes wait, %d packets were dropped", q.bytes, q.dropped)
	}
}
