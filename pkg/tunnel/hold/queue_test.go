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

// prefixOf is the prefix of one of many peers.
func prefixOf(n int) netip.Prefix {
	addr := netip.MustParseAddr("fd12::").As16()
	binary.BigEndian.PutUint32(addr[4:], uint32(n))
	return netip.PrefixFrom(netip.AddrFrom16(addr), 64)
}

// However many peers there are, there is a bound for all, also where packets are
// small and their keeping takes more than they do.
func TestAllPeersTogetherAreBounded(t *testing.T) {
	for _, size := range []int{4, 1400} {
		var q queues
		for n := range 1500 {
			for range 200 {
				q.push(prefixOf(n), numbered(0, size), start)
			}
		}
		packets, bytes := 0, 0
		for _, one := range q.to {
			packets, bytes = packets+len(one.packets), bytes+one.size()
		}
		if bytes != q.bytes || len(q.bySize) != len(q.to) {
			t.Errorf("%d bytes in %d queues are counted as %d in %d", bytes, len(q.to), q.bytes, len(q.bySize))
		}
		if q.bytes > maxTotal || q.bytes < maxTotal-size-keeping || q.dropped == 0 {
			t.Errorf("%d packets of %d bytes, %d in all, wait, %d were dropped", packets, size, q.bytes, q.dropped)
		}
	}
}

// Floods to peers that are dead fill what there is, and take nothing from those that
// have little: all of what waits for these stays, and what comes is kept.
func TestAFloodTakesNoRoomFromOthers(t *testing.T) {
	const dead, quiet, few = 50, 1000, 5
	var q queues
	flood := func() {
		for n := range dead * MaxPackets {
			q.push(prefixOf(n%dead), numbered(n, 1400), start)
		}
	}
	flood()
	before := q.bytes
	for n := range quiet * few {
		q.push(prefixOf(dead+n%quiet), numbered(n, 100), start)
	}
	flood()
	if before < maxTotal-1400-keeping || q.bytes > maxTotal {
		t.Errorf("%d bytes waited, and then %d, of %d", before, q.bytes, maxTotal)
	}
	kept := 0
	for n := range quiet {
		kept += len(q.take(prefixOf(dead + n)))
	}
	least, most := MaxPackets, 0
	for n := range dead {
		got := len(q.take(prefixOf(n)))
		least, most = min(least, got), max(most, got)
	}
	t.Logf("of %d packets to %d quiet peers %d were kept; of those to %d dead ones %d to %d each", quiet*few, quiet, kept, dead, least, most)
	if kept != quiet*few {
		t.Errorf("%d of %d packets to quiet peers were kept, want all", kept, quiet*few)
	}
	if most-least > 1 {
		t.Errorf("dead peers have kept %d to %d packets, want the same", least, most)
	}
	if q.bytes != 0 || len(q.to) != 0 || len(q.bySize) != 0 {
		t.Errorf("%d bytes in %d queues are left", q.bytes, len(q.to))
	}
}
