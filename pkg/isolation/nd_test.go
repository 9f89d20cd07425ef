package isolation

import (
	"bytes"
	"net/netip"
	"slices"
	"testing"
)

var allNodes = netip.MustParseAddr("ff02::1")

// nd is a frame of neighbour discovery from web: a message about a target.
func nd(src, dst netip.Addr, kind byte, target netip.Addr, options ...byte) []byte {
	message := append(append([]byte{kind, 0, 0, 0, 0, 0, 0, 0}, target.AsSlice()...), options...)
	p := ipv6Packet(src, dst, 58, seal6(src, dst, 58, message))
	p[7] = 255
	group := dst.As16()
	return etherFrame(append([]byte{0x33, 0x33}, group[12:]...), webMAC, 0x86dd, p)
}

func TestNeighborsAreFoundAtTheGatewaysMAC(t *testing.T) {
	b := newDualBench(t)
	local, none := netip.MustParseAddr("fe80::2"), netip.IPv6Unspecified()
	for name, c := range map[string]struct {
		frame    []byte
		src, dst netip.Addr
		flags    byte
	}{
		"the gateway":             {nd(webAddr6, allNodes, 135, gateway6, 1, 1, 10, 0, 0, 0, 0, 2), gateway6, webAddr6, 0xe0},
		"a neighbour, from fe80":  {nd(local, allNodes, 135, dbAddr6), dbAddr6, local, 0xe0},
		"nobody":                  {nd(web26, allNodes, 135, farNested6), farNested6, web26, 0xe0},
		"a duplicate's detection": {nd(none, allNodes, 135, dbAddr6), dbAddr6, allNodes, 0xa0},
	} {
		t.Run(name, func(t *testing.T) {
			message := append([]byte{136, 0, 0, 0, c.flags, 0, 0, 0}, c.src.AsSlice()...)
			message = append(append(message, 2, 1), gatewayMAC...)
			want := ipv6Packet(c.src, c.dst, 58, seal6(c.src, c.dst, 58, message))
			copy(want, []byte{0x60, 0, 0, 0})
			want[7] = 255
			got := b.redirect(t, b.dp.fromEndpoint, c.frame)
			if !bytes.Equal(got, etherFrame(webMAC, gatewayMAC, 0x86dd, want)) {
				t.Fatalf("answer\n%x, want\n%x", got[14:], want)
			}
		})
	}
	report := ipv6Packet(none, allNodes, 58, seal6(none, allNodes, 58, []byte{143, 0, 0, 0, 0, 0, 0, 0}))
	for name, frame := range map[string][]byte{
		"detection of its own address":     nd(none, allNodes, 135, webAddr6),
		"detection of its second address":  nd(none, allNodes, 135, web26),
		"detection of a nested address":    nd(webAddr6, allNodes, 135, nested6),
		"detection of a link-local one":    nd(none, allNodes, 135, local),
		"an announcement":                  nd(webAddr6, allNodes, 136, webAddr6),
		"an announcement of a nested one":  nd(webAddr6, allNodes, 136, nested6),
		"an announcement of a shared one":  nd(webAddr6, allNodes, 136, netip.MustParseAddr("fd00:7::1")),
		"one from what it announces":       nd(netip.MustParseAddr("fd00:7::1"), allNodes, 136, netip.MustParseAddr("fd00:7::1")),
		"an answer for a link-local one":   nd(local, allNodes, 136, local),
		"a router's solicitation":          nd(local, allNodes, 133, none),
		"a multicast report":               frame6(behind(report, hopByHop)),
		"a multicast report by the router": nd(local, allNodes, 131, allNodes),
	} {
		if verdict, _ := run(t, b.dp.fromEndpoint, frame, 0); verdict != shot {
			t.Errorf("%s: verdict %d", name, verdict)
		}
	}
	if drops := b.status0(webKey); len(drops) != 0 {
		t.Errorf("neighbour discovery counted as lost: %v", drops)
	}
}

func TestForgedNeighborDiscoveryGoesNowhere(t *testing.T) {
	b := newDualBench(t)
	good := nd(webAddr6, allNodes, 135, dbAddr6)
	for name, c := range map[string]struct {
		frame  []byte
		reason string
	}{
		"a router's advertisement":       {nd(netip.MustParseAddr("fe80::2"), allNodes, 134, netip.IPv6Unspecified()), "neighbor-discovery"},
		"a redirect":                     {nd(netip.MustParseAddr("fe80::2"), allNodes, 137, dbAddr6), "neighbor-discovery"},
		"a question of a shared address": {nd(netip.MustParseAddr("fd00:7::1"), allNodes, 135, dbAddr6), "spoofed-source"},
		"an advertisement for another":   {nd(webAddr6, allNodes, 136, dbAddr6), "spoofed-source"},
		"an advertisement for nobody":    {nd(webAddr6, allNodes, 136, farAddr6), "spoofed-source"},
		"a solicitation from another":    {nd(dbAddr6, allNodes, 135, gateway6), "spoofed-source"},
		"a solicitation of another MAC":  {edit(good, func(f []byte) { f[11]++ }), "spoofed-mac"},
		"a solicitation from afar":       {edit(good, func(f []byte) { f[21] = 254 }), "malformed"},
		"a solicitation of another code": {edit(good, func(f []byte) { f[55] = 1 }), "malformed"},
		"a solicitation that is cut off": {frame6(edit(ipv6Packet(webAddr6, gateway6, 58, []byte{135, 0, 0, 0, 0, 0, 0, 0, 1, 2}), func(p []byte) { p[7] = 255 })), "malformed"},
		"a solicitation behind options":  {frame6(edit(behind(good[14:], destination), func(p []byte) { p[7] = 255 })), "malformed"},
	} {
		t.Run(name, func(t *testing.T) { b.drop(t, b.dp.fromEndpoint, c.frame, 0, c.reason) })
	}
}

func TestAMACIsLearnedFromIPv6(t *testing.T) {
	b := newDualBench(t)
	unlearned := b.wires[webKey]
	unlearned.mac = nil
	b.wires[webKey] = unlearned
	b.refill()
	// What anybody could say is no proof.
	b.redirect(t, b.dp.fromEndpoint, edit(nd(netip.MustParseAddr("fe80::2"), allNodes, 135, gateway6), func(f []byte) { f[11]++ }))
	b.redirect(t, b.dp.fromEndpoint, nd(webAddr6, allNodes, 135, gateway6))
	b.drop(t, b.dp.fromEndpoint, edit(frame6(udp6(webAddr6, dbAddr6, 1, 2)), func(f []byte) { f[11]++ }), 0, "spoofed-mac")
	b.redirect(t, b.dp.fromEndpoint, frame6(udp6(webAddr6, dbAddr6, 1, 2)))
}

func TestARPKnowsAllAddressesOfAnEndpoint(t *testing.T) {
	b := newDualBench(t)
	shared := netip.MustParseAddr("10.7.0.1")
	for _, sender := range []netip.Addr{webAddr, web2, nested} {
		b.redirect(t, b.dp.fromEndpoint, arpFrame(1, webMAC, webMAC, sender, dbAddr))
	}
	for name, frame := range map[string][]byte{
		"probe for the second":       arpFrame(1, webMAC, webMAC, netip.IPv4Unspecified(), web2),
		"question for a nested one":  arpFrame(1, webMAC, webMAC, webAddr, nested),
		"announcement of the second": arpFrame(1, webMAC, webMAC, web2, web2),
		"announcement of a shared":   arpFrame(1, webMAC, webMAC, shared, shared),
		"answer for a shared":        arpFrame(2, webMAC, webMAC, shared, gateway),
	} {
		if verdict, _ := run(t, b.dp.fromEndpoint, frame, 0); verdict != shot {
			t.Errorf("%s: verdict %d", name, verdict)
		}
	}
	if drops := b.status0(webKey); len(drops) != 0 {
		t.Errorf("ARP counted as lost: %v", drops)
	}
	b.drop(t, b.dp.fromEndpoint, arpFrame(1, webMAC, webMAC, farAddr, farAddr), 0, "spoofed-source")
	b.drop(t, b.dp.fromEndpoint, arpFrame(1, webMAC, dbMAC, shared, shared), 0, "spoofed-mac")
}

func TestPrefixesAreRoutedBothWays(t *testing.T) {
	b := newDualBench(t)
	datagram := func(src, dst netip.Addr) []byte {
		return ipv4Packet(src, dst, 17, seal4(src, dst, 17, udpDatagram(1, 53, "hi")))
	}
	for _, c := range [][2]netip.Addr{{nested, farAddr}, {webAddr, farNested}, {web2, farNested}, {nested, farNested}} {
		out := b.redirect(t, b.dp.fromEndpoint, frame4(datagram(c[0], c[1])))
		want := append(overlayAddr(nodeA, 1, testVNI, c[0]), overlayAddr(nodeB, 1, testVNI, c[1])...)
		if !bytes.Equal(out[22:54], want) {
			t.Fatalf("from %v to %v crosses as %x", c[0], c[1], out[22:54])
		}
		got := b.redirect(t, b.dp.fromTunnel, turned(out))
		if !bytes.Equal(got[26:34], slices.Concat(c[1].AsSlice(), c[0].AsSlice())) || !bytes.Equal(got[:6], webMAC) {
			t.Fatalf("answer from %v to %v arrives as %x", c[1], c[0], got)
		}
	}
	got := b.redirect(t, b.dp.fromEndpoint, frame4(datagram(nested, netip.MustParseAddr("10.7.0.1"))))
	if !bytes.Equal(got[:6], dbMAC) {
		t.Fatalf("the shared address is at %x", got[:6])
	}
	b.drop(t, b.dp.fromEndpoint, frame4(datagram(farNested, dbAddr)), 0, "spoofed-source")
	b.drop(t, b.dp.fromEndpoint, frame4(datagram(netip.MustParseAddr("10.7.0.1"), farAddr)), 0, "spoofed-source")
	b.drop(t, b.dp.fromEndpoint, frame4(datagram(webAddr, netip.MustParseAddr("10.6.0.1"))), 0, "no-route")
	// An address that is known by itself is not where its prefix is.
	b.knows(testVNI, "10.9.0.8", nodeB)
	b.refill()
	out := b.redirect(t, b.dp.fromEndpoint, frame4(datagram(webAddr, netip.MustParseAddr("10.9.0.8"))))
	if !bytes.Equal(out[38:46], nodeB.Addr().AsSlice()[:8]) {
		t.Fatalf("crosses as %x", out)
	}
}
