package isolation

import (
	"bytes"
	"net/netip"
	"testing"
)

// upperOf is an overlay address in the upper half of its node's /64.
func upperOf(addr []byte, upper bool) []byte {
	addr = bytes.Clone(addr)
	if upper {
		addr[8] |= 0x80
	}
	return addr
}

// useHalves has packets sent from one half of this node's /64 to one of the other
// node's.
func (b *bench) useHalves(own, other bool) {
	b.t.Helper()
	b.state.Nodes[nodeB] = Node{Prefix: nodeB, Device: "lo", MTU: 1420, Upper: other}
	b.refill()
	b.dp.UseHalf(own)
}

// Packets go from the half that this node's key says to the half that the other's
// does, whatever their kind, and that is all that is different.
func TestPacketsSayWhichKeyTheyGoBy(t *testing.T) {
	b := newDualBench(t)
	for kind, packet := range map[byte][]byte{
		0x01: tcp4(farAddr, 40000, 80, flagSYN),
		0x02: frame6(syn6(webAddr6, farAddr6, 40000, 80)),
		0x11: frame4(withOptions(webAddr, farAddr)),
	} {
		b.useHalves(false, false)
		plain := b.redirect(t, b.dp.fromEndpoint, packet)
		for _, own := range []bool{false, true} {
			for _, other := range []bool{false, true} {
				b.useHalves(own, other)
				got := b.redirect(t, b.dp.fromEndpoint, packet)
				if got[30]&0x7f != kind || got[30]>>7 == 1 != own || got[46]>>7 == 1 != other {
					t.Fatalf("kind %#x, own half upper %t, other's %t: crosses as %x", kind, own, other, got[:54])
				}
				// The halves are not part of what the tenant's checksum covers, once it is mended.
				want, back := b.redirect(t, b.dp.fromTunnel, onward(plain)), b.redirect(t, b.dp.fromTunnel, onward(got))
				if !bytes.Equal(back, want) {
					t.Fatalf("kind %#x, own half upper %t, other's %t: arrives as\n%x, want\n%x", kind, own, other, back, want)
				}
			}
		}
	}
}

// Both halves are a node's own, on receipt as in what is told; for a node itself
// there is one address.
func TestBothHalvesOfANodeAreReceived(t *testing.T) {
	b := newBench(t)
	w := b.watch(t.Context(), EventDrop)
	far, web := overlayAddr(nodeB, 1, testVNI, farAddr), overlayAddr(nodeA, 1, testVNI, webAddr)
	for _, halves := range [][2]bool{{false, false}, {false, true}, {true, false}, {true, true}} {
		src, dst := upperOf(far, halves[0]), upperOf(web, halves[1])
		b.redirect(t, b.dp.fromTunnel, overlay(src, dst, 6, seal(src, dst, 6, tcpSegment(80, 40000, flagSYN, ""))))
	}
	src, dst := upperOf(far, true), upperOf(overlayAddr(nodeA, 1, testVNI, netip.MustParseAddr("10.0.0.99")), false)
	b.drop(t, b.dp.fromTunnel, overlay(src, dst, 6, seal(src, dst, 6, tcpSegment(80, 40000, flagSYN, ""))), 0, "no-route")
	if e := w.next(t); e.Source != farAddr || e.SourcePort != 80 {
		t.Errorf("told is %+v, want the tenant's addresses", e)
	}
	src = upperOf(overlayAddr(nodeB, 1, 999, farAddr), true)
	b.drop(t, b.dp.fromTunnel, overlay(src, web, 6, seal(src, web, 6, tcpSegment(80, 40000, flagSYN, ""))), 0, "not-owner")
	self, other := overlayAddr(nodeA, 0, 0, netip.MustParseAddr("0.0.0.1")), overlayAddr(nodeB, 0, 0, netip.MustParseAddr("0.0.0.1"))
	ping := icmpMessage(128, 0, 5, []byte("hello"))
	b.drop(t, b.dp.fromTunnel, overlay(other, upperOf(self, true), 58, ping), 0, "foreign-destination")
	b.drop(t, b.dp.fromTunnel, overlay(upperOf(other, true), self, 58, ping), 0, "not-owner")
}
