package isolation

import (
	"bytes"
	"net/netip"
	"testing"
)

func TestEveryReasonToDropWhatATunnelBrings(t *testing.T) {
	b := newBench(t)
	good := fromFar(6, tcpSegment(40000, 80, flagSYN, "hi"))
	at := func(node netip.Prefix, kind byte, vni uint32, addr netip.Addr) []byte {
		return overlayAddr(node, kind, vni, addr)
	}
	web := at(nodeA, 1, testVNI, webAddr)
	far := at(nodeB, 1, testVNI, farAddr)
	one := netip.MustParseAddr("0.0.0.1")
	hostA, hostB := at(nodeA, 0, 0, one), at(nodeB, 0, 0, one)
	syn := tcpSegment(40000, 80, flagSYN, "")
	stranger := netip.MustParsePrefix("fd12:340c::/64")
	for name, c := range map[string]struct {
		packet []byte
		reason string
	}{
		"IPv4":                            {etherFrame(gatewayMAC, webMAC, 0x0800, make([]byte, 60)), "unsupported-protocol"},
		"a length that is too long":       {edit(good, func(b []byte) { b[19]++ }), "malformed"},
		"a length that is too short":      {edit(good, func(b []byte) { b[19]-- }), "malformed"},
		"a length without the link's":     {edit(good, func(b []byte) { b[19] += 14 }), "malformed"},
		"version 4":                       {edit(good, func(b []byte) { b[14] = 0x4b }), "malformed"},
		"no hop limit":                    {edit(good, func(b []byte) { b[21] = 0 }), "malformed"},
		"a TCP header that is cut off":    {overlay(far, web, 6, syn[:19]), "malformed"},
		"another node's endpoint":         {overlay(far, at(stranger, 1, testVNI, webAddr), 6, syn), "foreign-destination"},
		"an unknown kind":                 {overlay(far, at(nodeA, 4, testVNI, webAddr), 6, syn), "foreign-destination"},
		"multicast":                       {overlay(far, netip.MustParseAddr("ff02::1").AsSlice(), 58, syn), "foreign-destination"},
		"an address that nobody has here": {overlay(far, at(nodeA, 1, testVNI, netip.MustParseAddr("10.0.0.9")), 6, syn), "no-route"},
		"an address of another node":      {overlay(far, at(nodeA, 1, testVNI, farAddr), 6, syn), "no-route"},
		"an unknown VPC":                  {overlay(at(nodeB, 1, 999, farAddr), at(nodeA, 1, 999, webAddr), 6, syn), "no-route"},
		"a source of another VPC":         {overlay(at(nodeB, 1, otherVNI, farAddr), web, 6, syn), "not-owner"},
		"a source that is unknown":        {overlay(at(nodeB, 1, testVNI, netip.MustParseAddr("10.0.0.9")), web, 6, syn), "not-owner"},
		"a source of this node":           {overlay(at(nodeB, 1, testVNI, dbAddr), web, 6, syn), "not-owner"},
		"a source of a third node":        {overlay(at(nodeB, 1, testVNI, netip.MustParseAddr("10.0.0.6")), web, 6, syn), "not-owner"},
		"a source of no tenant":           {overlay(hostB, web, 6, syn), "not-owner"},
		"an echo reply to nothing":        {fromFar(1, icmpMessage(0, 0, 5, nil)), "no-flow"},
		"TCP to the host":                 {overlay(hostB, hostA, 6, syn), "host-service"},
		"neighbour discovery to the host": {overlay(hostB, hostA, 58, []byte{135, 0, 0, 0, 0, 0, 0, 0}), "host-service"},
		"nothing to the host":             {overlay(hostB, hostA, 58, nil), "malformed"},
		"another address of the host":     {overlay(hostB, at(nodeA, 0, 0, netip.MustParseAddr("0.0.0.2")), 58, []byte{128, 0, 0, 0, 0, 0, 0, 0}), "foreign-destination"},
		"a tenant's ping to the host":     {overlay(far, hostA, 58, []byte{128, 0, 0, 0, 0, 0, 0, 0}), "not-owner"},
	} {
		t.Run(name, func(t *testing.T) { b.drop(t, b.dp.fromTunnel, c.packet, 0, c.reason) })
	}
}

func TestPeersMayPingTheHost(t *testing.T) {
	b := newBench(t)
	one := netip.MustParseAddr("0.0.0.1")
	hostA, hostB := overlayAddr(nodeA, 0, 0, one), overlayAddr(nodeB, 0, 0, one)
	for _, kind := range []byte{1, 2, 3, 4, 128, 129} {
		packet := overlay(hostB, hostA, 58, []byte{kind, 0, 0, 0, 0, 0, 0, 0})
		if verdict, _ := run(t, b.dp.fromTunnel, packet, 0); verdict != pass {
			t.Errorf("ICMPv6 %d: verdict %d", kind, verdict)
		}
	}
}

// A peer that asks how large a packet gets here is answered in few bytes.
func TestAnAskedSizeIsAnsweredInFewBytes(t *testing.T) {
	b := newBench(t)
	one := netip.MustParseAddr("0.0.0.1")
	hostA, hostB := overlayAddr(nodeA, 0, 0, one), overlayAddr(nodeB, 0, 0, one)
	for _, size := range []int{24, 25, 1160, 1400, 3000} {
		asked := make([]byte, size)
		copy(asked, []byte{128, 1, 0, 0, 0xab, 0xcd, 0xff, 0xfe, 's', 'e', 'c', 'r', 'e', 't', 0, 1, 2, 3, 4, 5, 6, 7, 8, 9})
		got := b.redirect(t, b.dp.fromTunnel, overlay(hostB, hostA, 58, seal(hostB, hostA, 58, asked)))
		answer := bytes.Clone(asked[:24])
		answer[0] = 129
		want := overlay(hostA, hostB, 58, seal(hostA, hostB, 58, answer))
		want[21] = 64 // hops
		if !bytes.Equal(got, want) {
			t.Errorf("%d bytes are answered by\n%x, want\n%x", size, got[14:], want[14:])
		}
	}
	// What is too short to be asked for, the host's stack answers.
	short := overlay(hostB, hostA, 58, []byte{128, 1, 0, 0, 0, 0, 0, 0})
	if verdict, _ := run(t, b.dp.fromTunnel, short, 0); verdict != pass {
		t.Errorf("a short one: verdict %d", verdict)
	}
	// Nobody but a node asks.
	tenant := overlay(overlayAddr(nodeB, 1, testVNI, farAddr), hostA, 58, make([]byte, 100))
	b.drop(t, b.dp.fromTunnel, edit(tenant, func(p []byte) { p[54], p[55] = 128, 1 }), 0, "not-owner")
}

func TestTranslationFromTheOverlay(t *testing.T) {
	b := newBench(t)
	unsummed := udpDatagram(53, 40000, "hello")
	src, dst := overlayAddr(nodeB, 1, testVNI, farAddr), overlayAddr(nodeA, 1, testVNI, webAddr)
	for name, c := range map[string]struct {
		packet   []byte
		protocol byte
		id, flag [2]byte
	}{
		"TCP":               {fromFar(6, tcpSegment(80, 40000, flagSYN, "hello")), 6, [2]byte{}, [2]byte{0x40, 0}},
		"UDP":               {fromFar(17, udpDatagram(53, 40000, "hello")), 17, [2]byte{}, [2]byte{0x40, 0}},
		"UDP, no checksum":  {overlay(src, dst, 17, unsummed), 17, [2]byte{}, [2]byte{0x40, 0}},
		"ICMP":              {fromFar(1, icmpMessage(8, 0, 5, []byte("hello"))), 1, [2]byte{}, [2]byte{0x40, 0}},
		"another protocol":  {fromFar(47, []byte("gre-like")), 47, [2]byte{}, [2]byte{0x40, 0}},
		"may be fragmented": {edit(fromFar(17, udpDatagram(53, 40000, "x")), func(b []byte) { copy(b[15:], []byte{0x84, 0xab, 0xcd}) }), 17, [2]byte{0xab, 0xcd}, [2]byte{}},
	} {
		t.Run(name, func(t *testing.T) {
			got := b.redirect(t, b.dp.fromTunnel, c.packet)
			segment := bytes.Clone(c.packet[54:])
			if name != "UDP, no checksum" {
				segment = seal4(farAddr, webAddr, c.protocol, segment)
			}
			want := ipv4Packet(farAddr, webAddr, c.protocol, segment)
			want[1] = got[15] // The traffic class is compared below.
			copy(want[4:], c.id[:])
			copy(want[6:], c.flag[:])
			resum(want)
			if !bytes.Equal(got, etherFrame(webMAC, gatewayMAC, 0x0800, want)) {
				t.Fatalf("delivered\n%x, want\n%x", got[14:], want)
			}
			if class := c.packet[14]<<4 | c.packet[15]>>4; got[15] != class {
				t.Errorf("type of service %x, want %x", got[15], class)
			}
		})
	}
}
