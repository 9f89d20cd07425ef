package isolation

import (
	"bytes"
	"net/netip"
	"slices"
	"testing"
)

func TestIPv6CrossesUnderItsOwnHeader(t *testing.T) {
	b := newDualBench(t)
	unsummed := udp6(webAddr6, farAddr6, 1, 53)
	unsummed[46], unsummed[47] = 0, 0
	syn := syn6(webAddr6, farAddr6, 40000, 80)
	for name, c := range map[string]struct {
		packet   []byte
		protocol byte
		at       int // of the transport header, if it has a checksum that is to be mended
	}{
		"TCP":                   {syn, 6, 40},
		"UDP":                   {udp6(webAddr6, farAddr6, 40000, 53), 17, 40},
		"UDP without checksum":  {unsummed, 17, 0},
		"a ping":                {echo6(webAddr6, farAddr6, 128, 7), 58, 40},
		"SCTP":                  {ipv6Packet(webAddr6, farAddr6, 132, make([]byte, 12)), 132, 0},
		"UDP-Lite":              {ipv6Packet(webAddr6, farAddr6, 136, seal6(webAddr6, farAddr6, 136, udpDatagram(1, 2, "lite"))), 136, 40},
		"DCCP":                  {ipv6Packet(webAddr6, farAddr6, 33, seal6(webAddr6, farAddr6, 33, make([]byte, 16))), 33, 40},
		"GRE":                   {ipv6Packet(webAddr6, farAddr6, 47, []byte("gre")), 47, 0},
		"no next header":        {ipv6Packet(webAddr6, farAddr6, 59, []byte("nothing")), 59, 0},
		"behind options":        {behind(syn, hopByHop, destination, destination), 6, 64},
		"behind authentication": {behind(syn, authentication), 6, 64},
		"a fragment by itself":  {behind(syn, fragment6(0, false, 3)), 6, 48},
		"from a second address": {syn6(web26, farAddr6, 1, 80), 6, 40},
	} {
		t.Run(name, func(t *testing.T) {
			out := b.redirect(t, b.dp.fromEndpoint, frame6(c.packet))
			crosses(t, out[14:], c.packet)
			got := out[14:]
			if c.at == 0 && !bytes.Equal(got[40:], c.packet[40:]) {
				t.Fatalf("payload\n%x, want\n%x", got[40:], c.packet[40:])
			}
			if c.at != 0 && !sealed(got, c.protocol, got[c.at:]) {
				t.Fatalf("checksum of %x", got)
			}
			if back := b.redirect(t, b.dp.fromTunnel, turned(out)); !bytes.Equal(back, arrived(c.packet)) {
				t.Fatalf("arrives as\n%x, want\n%x", back, arrived(c.packet))
			}
		})
	}
}

// crosses wants an IPv6 packet to be what another was, under tokens.
func crosses(t *testing.T, got, packet []byte) {
	t.Helper()
	if !bytes.Equal(got[:7], packet[:7]) || got[7] != packet[7]-1 || len(got) != len(packet) {
		t.Fatalf("header %x", got[:8])
	}
	if !bytes.Equal(got[8:20], overlayAddr(nodeA, 2, testVNI, webAddr)[:12]) || !bytes.Equal(got[24:36], overlayAddr(nodeB, 2, testVNI, webAddr)[:12]) {
		t.Fatalf("addresses %x %x", got[8:24], got[24:40])
	}
}

func TestIPv6FragmentsCrossLikeWholes(t *testing.T) {
	b := newDualBench(t)
	whole := ipv6Packet(webAddr6, farAddr6, 17, seal6(webAddr6, farAddr6, 17, udpDatagram(40000, 53, string(make([]byte, 2000)))))
	cut := func(from, to int, more bool) []byte {
		piece := append(bytes.Clone(whole[:40]), whole[40+from:40+to]...)
		return behind(piece, fragment6(uint16(from), more, 99))
	}
	pieces := [][]byte{cut(0, 800, true), cut(800, 1600, true), cut(1600, 2008, false)}
	b.drop(t, b.dp.fromEndpoint, frame6(pieces[1]), 0, "fragment-alone")
	for i, p := range pieces {
		out := b.redirect(t, b.dp.fromEndpoint, frame6(p))
		if out[46] != 2 {
			t.Fatalf("piece %d is of kind %d", i, out[46])
		}
		if got := b.redirect(t, b.dp.fromTunnel, turned(out)); !bytes.Equal(got, arrived(p)) {
			t.Fatalf("piece %d arrives as\n%x, want\n%x", i, got[:80], arrived(p)[:80])
		}
	}
	overlap := cut(800, 808, false)
	overlap[43] = 0
	overlap[42] = 0
	b.rules(allowAll, allowWeb)
	b.drop(t, b.dp.fromEndpoint, frame6(overlap), 0, "no-egress-rule")
	// Behind more headers, more bytes must be left alone.
	first := behind(append(bytes.Clone(whole[:40]), whole[40:64]...), fragment6(0, true, 5), destination)
	later := behind(append(bytes.Clone(whole[:40]), whole[40:64]...), fragment6(8, false, 5))
	b.rules(allowAll, allowAll)
	b.redirect(t, b.dp.fromEndpoint, frame6(first))
	b.drop(t, b.dp.fromEndpoint, frame6(later), 0, "fragment-overlap")
	// Another first one does not take that back: who puts them together may have
	// kept the one that came before.
	shorter := behind(append(bytes.Clone(whole[:40]), whole[40:64]...), fragment6(0, true, 5))
	b.redirect(t, b.dp.fromEndpoint, frame6(shorter))
	b.drop(t, b.dp.fromEndpoint, frame6(later), 0, "fragment-overlap")
}

// What is between neighbours stays there in pieces, too.
func TestNeighborDiscoveryInFragmentsGoesNowhere(t *testing.T) {
	b := newDualBench(t)
	for _, kind := range []byte{134, 137} {
		message := icmpMessage(kind, 0, 0, make([]byte, 40))
		first := behind(ipv6Packet(webAddr6, farAddr6, 58, message[:24]), fragment6(0, true, uint32(kind)))
		later := behind(ipv6Packet(webAddr6, farAddr6, 58, message[24:]), fragment6(24, false, uint32(kind)))
		b.drop(t, b.dp.fromEndpoint, frame6(first), 0, "neighbor-discovery")
		b.drop(t, b.dp.fromEndpoint, frame6(later), 0, "neighbor-discovery")
		source, target := overlayAddr(nodeB, 3, testVNI, netip.Addr{}), overlayAddr(nodeA, 3, testVNI, netip.Addr{})
		forged := behind(ipv6Packet(farAddr6, webAddr6, 58, message[:24]), fragment6(0, true, uint32(kind)))
		b.drop(t, b.dp.fromTunnel, overlay(source, target, 41, forged), 0, "neighbor-discovery")
	}
}

func TestAddressesWithoutATokenGoWhole(t *testing.T) {
	b := newDualBench(t)
	for name, packet := range map[string][]byte{
		"from a nested network": syn6(nested6, farAddr6, 1, 80),
		"to a nested network":   syn6(webAddr6, farNested6, 1, 80),
		"both":                  behind(udp6(nested6, farNested6, 1, 53), destination),
	} {
		t.Run(name, func(t *testing.T) {
			out := b.redirect(t, b.dp.fromEndpoint, frame6(packet))
			want := overlay(overlayAddr(nodeA, 3, testVNI, netip.Addr{}), overlayAddr(nodeB, 3, testVNI, netip.Addr{}), 41,
				edit(packet, func(p []byte) { p[7]-- }))
			want[21] = 64
			if !bytes.Equal(out[14:], want[14:]) {
				t.Fatalf("crosses as\n%x, want\n%x", out[14:], want[14:])
			}
			answer := edit(turned(out), func(f []byte) { copy(f[62:78], packet[24:40]); copy(f[78:94], packet[8:24]) })
			if got := b.redirect(t, b.dp.fromTunnel, answer); !bytes.Equal(got, arrived(packet)) {
				t.Fatalf("arrives as\n%x, want\n%x", got, arrived(packet))
			}
		})
	}
}

func TestIPv6StaysWhatItIsOnOneHost(t *testing.T) {
	b := newDualBench(t)
	for _, packet := range [][]byte{
		syn6(webAddr6, dbAddr6, 1, 80), udp6(nested6, dbAddr6, 1, 53), echo6(web26, dbAddr6, 128, 1),
		udp6(webAddr6, netip.MustParseAddr("fd00:7::1"), 1, 53),
	} {
		want := etherFrame(dbMAC, gatewayMAC, 0x86dd, edit(packet, func(p []byte) { p[7]-- }))
		if got := b.redirect(t, b.dp.fromEndpoint, frame6(packet)); !bytes.Equal(got, want) {
			t.Fatalf("delivered\n%x, want\n%x", got, want)
		}
	}
}

func TestEveryReasonToDropIPv6OfAnEndpoint(t *testing.T) {
	b := newDualBench(t)
	good := syn6(webAddr6, dbAddr6, 40000, 80)
	from := func(src string) []byte { return udp6(netip.MustParseAddr(src), dbAddr6, 1, 53) }
	to := func(dst string) []byte { return udp6(webAddr6, netip.MustParseAddr(dst), 1, 53) }
	for name, c := range map[string]struct {
		packet []byte
		reason string
	}{
		"version 4":                         {edit(good, func(p []byte) { p[0] = 0x4b }), "malformed"},
		"a length beyond the frame":         {edit(good, func(p []byte) { p[5]++ }), "malformed"},
		"no hop limit":                      {edit(good, func(p []byte) { p[7] = 0 }), "malformed"},
		"a TCP header that is cut off":      {ipv6Packet(webAddr6, dbAddr6, 6, make([]byte, 19)), "malformed"},
		"ICMP of the other family":          {ipv6Packet(webAddr6, dbAddr6, 1, make([]byte, 8)), "unsupported-protocol"},
		"another's address":                 {from("fd00:64::3"), "spoofed-source"},
		"an address that nobody has":        {from("fd00:64::99"), "spoofed-source"},
		"the loopback's":                    {from("::1"), "spoofed-source"},
		"its own IPv4 address in disguise":  {from("::ffff:10.0.0.2"), "spoofed-source"},
		"another's nested network":          {from("fd00:8::7"), "spoofed-source"},
		"a shared address that is not here": {from("fd00:7::1"), "spoofed-source"},
		"a link-local source":               {from("fe80::1"), "spoofed-source"},
		"a source in the overlay":           {from("fd12:340a:aaaa:aaaa:0100:0064:0a00:0002"), "overlay-address"},
		"a tenant in the overlay":           {to("fd12:340b:bbbb:bbbb:0100:0064:0a00:0004"), "overlay-address"},
		"a node in the overlay":             {to("fd12:340b:bbbb:bbbb::1"), "overlay-address"},
		"the mesh in the overlay":           {to("fd12:34ff::1"), "overlay-address"},
		"multicast":                         {to("ff02::fb"), "multicast"},
		"the loopback":                      {to("::1"), "multicast"},
		"an IPv4 address in disguise":       {to("::ffff:10.0.0.3"), "multicast"},
		"a link-local address":              {to("fe80::3"), "no-route"},
		"an address of nobody":              {to("fd00:64::99"), "no-route"},
		"its own address":                   {to("fd00:64::2"), "no-route"},
		"a nested network of its own":       {to("fd00:9::8"), "no-route"},
		"the gateway by UDP":                {to("fd00:64::1"), "gateway"},
		"a routing header":                  {behind(good, routing), "source-routing"},
		"a routing header further back":     {behind(good, destination, routing), "source-routing"},
		"options that go on too long":       {behind(good, slices.Repeat([]extensionHeader{destination}, 9)...), "extension-headers"},
		"hop-by-hop options that come late": {behind(good, destination, hopByHop), "extension-headers"},
		"options that are longer":           {edit(behind(good, destination), func(p []byte) { p[41] = 200 }), "extension-headers"},
		"an extension header of nothing":    {ipv6Packet(webAddr6, dbAddr6, 60, nil), "extension-headers"},
		"fragments of fragments":            {behind(good, fragment6(0, true, 1), fragment6(0, false, 1)), "extension-headers"},
		"a chain over two fragments":        {behind(ipv6Packet(webAddr6, dbAddr6, 60, nil), fragment6(0, true, 1)), "extension-headers"},
		"a first fragment that is short":    {behind(ipv6Packet(webAddr6, dbAddr6, 6, make([]byte, 16)), fragment6(0, true, 1)), "fragment-short"},
		"a fragment of an odd size":         {behind(ipv6Packet(webAddr6, dbAddr6, 17, make([]byte, 15)), fragment6(0, true, 1)), "malformed"},
		"an echo reply to nothing":          {echo6(webAddr6, dbAddr6, 129, 5), "no-flow"},
		"a fragment too far out":            {behind(ipv6Packet(webAddr6, dbAddr6, 17, make([]byte, 16)), fragment6(0xfff8, false, 1)), "malformed"},
	} {
		t.Run(name, func(t *testing.T) { b.drop(t, b.dp.fromEndpoint, frame6(c.packet), 0, c.reason) })
	}
	b.redirect(t, b.dp.fromEndpoint, frame6(behind(good, slices.Repeat([]extensionHeader{destination}, 8)...)))
	b.drop(t, b.dp.fromEndpoint, edit(frame6(good), func(f []byte) { f[11]++ }), 0, "spoofed-mac")
	b.drop(t, b.dp.fromEndpoint, edit(frame6(good), func(f []byte) { copy(f, dbMAC) }), 0, "not-gateway")
}

func TestPortsBehindExtensionHeadersAreJudged(t *testing.T) {
	b := newDualBench(t)
	b.rules(allowAll, allowWeb)
	for i, headers := range [][]extensionHeader{
		{},
		{hopByHop},
		{destination},
		{hopByHop, destination},
		{authentication},
		{fragment6(0, false, 1)},
		{destination, fragment6(0, true, 2), destination},
	} {
		for j, dst := range []netip.Addr{dbAddr6, farAddr6} {
			from := uint16(1000 + 10*i + j)
			b.drop(t, b.dp.fromEndpoint, frame6(behind(padded(syn6(webAddr6, dst, from, 22)), headers...)), 0, "no-egress-rule")
			b.redirect(t, b.dp.fromEndpoint, frame6(behind(padded(syn6(webAddr6, dst, from, 80)), headers...)))
		}
	}
}

// padded makes the payload of an IPv6 packet one of whole fragments' length.
func padded(packet []byte) []byte {
	for (len(packet)-40)%8 != 0 {
		packet = append(packet, 0)
	}
	packet[5] = byte(len(packet) - 40)
	return packet
}

func TestEveryReasonToDropIPv6OfATunnel(t *testing.T) {
	b := newDualBench(t)
	good := turned(b.redirect(t, b.dp.fromEndpoint, frame6(syn6(webAddr6, farAddr6, 80, 40000))))
	whole := turned(b.redirect(t, b.dp.fromEndpoint, frame6(udp6(webAddr6, farNested6, 53, 40000))))
	copy(whole[62:], farNested6.AsSlice())
	copy(whole[78:], webAddr6.AsSlice())
	inner := func(change func([]byte)) []byte { return edit(whole, func(f []byte) { change(f[54:]) }) }
	nd := turned(b.redirect(t, b.dp.fromEndpoint, frame6(echo6(webAddr6, farAddr6, 128, 1))))
	for name, c := range map[string]struct {
		packet []byte
		gso    uint32
		reason string
	}{
		"an unknown token":                  {edit(good, func(f []byte) { f[50]++ }), 0, "no-route"},
		"a token of another VPC":            {edit(good, func(f []byte) { f[33], f[49] = otherVNI, otherVNI }), 0, "no-route"},
		"an unknown token of the sender":    {edit(good, func(f []byte) { f[34]++ }), 0, "not-owner"},
		"a sender of another VPC":           {edit(good, func(f []byte) { f[33] = otherVNI }), 0, "not-owner"},
		"a sender of another kind":          {edit(good, func(f []byte) { f[30] = 3 }), 0, "not-owner"},
		"a token of this node":              {edit(good, func(f []byte) { copy(f[34:38], good[50:54]) }), 0, "not-owner"},
		"a routing header":                  {withExtension(good, 43), 0, "source-routing"},
		"extension headers that are cut":    {edit(good, func(f []byte) { f[20] = 60; f[55] = 200 }), 0, "extension-headers"},
		"a neighbour's solicitation":        {edit(nd, func(f []byte) { f[54] = 135 }), 0, "neighbor-discovery"},
		"a router's advertisement":          {edit(nd, func(f []byte) { f[54] = 134 }), 0, "neighbor-discovery"},
		"a redirect":                        {edit(nd, func(f []byte) { f[54] = 137 }), 0, "neighbor-discovery"},
		"whole, of another protocol":        {edit(whole, func(f []byte) { f[20] = 4 }), 0, "malformed"},
		"whole, that stands for many":       {whole, 4, "malformed"},
		"whole, of another length":          {inner(func(p []byte) { p[5]-- }), 0, "malformed"},
		"whole, without hops":               {inner(func(p []byte) { p[7] = 0 }), 0, "malformed"},
		"whole, of version 4":               {inner(func(p []byte) { p[0] = 0x45 }), 0, "malformed"},
		"whole, to an IPv4 address":         {inner(func(p []byte) { a := netip.AddrFrom4(webAddr.As4()).As16(); copy(p[24:], a[:]) }), 0, "malformed"},
		"whole, from an IPv4 address":       {inner(func(p []byte) { a := farAddr.As16(); copy(p[8:], a[:]) }), 0, "malformed"},
		"whole, from this node's addresses": {inner(func(p []byte) { copy(p[8:], dbAddr6.AsSlice()) }), 0, "not-owner"},
		"whole, from nobody":                {inner(func(p []byte) { p[23] = 0; p[9] = 0x99 }), 0, "not-owner"},
		"whole, to another node":            {inner(func(p []byte) { copy(p[24:], farAddr6.AsSlice()) }), 0, "no-route"},
	} {
		t.Run(name, func(t *testing.T) { b.drop(t, b.dp.fromTunnel, c.packet, c.gso, c.reason) })
	}
	b.redirect(t, b.dp.fromTunnel, whole)
}

// withExtension says that an overlay packet's transport is an extension header.
func withExtension(frame []byte, kind byte) []byte {
	return edit(frame, func(f []byte) { f[20], f[54], f[55] = kind, 6, 0 })
}
