package isolation

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"
)

func TestEveryReasonToDropWhatAnEndpointSends(t *testing.T) {
	b := newBench(t)
	good := tcp4(dbAddr, 40000, 80, flagSYN)
	for name, c := range map[string]struct {
		packet []byte
		gso    uint32
		reason string
	}{
		"an unknown protocol":             {etherFrame(gatewayMAC, webMAC, 0x88cc, make([]byte, 60)), 0, "unsupported-protocol"},
		"IP version 5":                    {withHeader(good, func(h []byte) { h[0] = 0x55 }), 0, "malformed"},
		"a short header length":           {edit(good, func(b []byte) { b[14] = 0x44 }), 0, "malformed"},
		"a length beyond the frame":       {withHeader(good, func(h []byte) { h[3]++ }), 0, "malformed"},
		"a length of nothing":             {withHeader(good, func(h []byte) { h[3] = 0 }), 0, "malformed"},
		"a wrong header checksum":         {edit(good, func(b []byte) { b[24]++ }), 0, "malformed"},
		"no time to live":                 {withHeader(good, func(h []byte) { h[8] = 0 }), 0, "malformed"},
		"the reserved flag":               {withHeader(good, func(h []byte) { h[6] |= 0x80 }), 0, "malformed"},
		"a TCP header that is cut off":    {frame4(ipv4Packet(webAddr, dbAddr, 6, make([]byte, 19))), 0, "malformed"},
		"a TCP data offset of 16 bytes":   {edit(good, func(b []byte) { b[46] = 0x40 }), 0, "malformed"},
		"a TCP data offset beyond":        {edit(good, func(b []byte) { b[46] = 0xf0 }), 0, "malformed"},
		"a UDP header that is cut off":    {frame4(ipv4Packet(webAddr, dbAddr, 17, make([]byte, 7))), 0, "malformed"},
		"an ICMP header that is cut off":  {frame4(ipv4Packet(webAddr, dbAddr, 1, make([]byte, 7))), 0, "malformed"},
		"another's address":               {withHeader(good, func(h []byte) { h[15] = 9 }), 0, "spoofed-source"},
		"the neighbour's address":         {withHeader(good, func(h []byte) { h[15] = 3 }), 0, "spoofed-source"},
		"no address":                      {withHeader(good, func(h []byte) { copy(h[12:], []byte{0, 0, 0, 0}) }), 0, "spoofed-source"},
		"another's MAC":                   {edit(good, func(b []byte) { b[11]++ }), 0, "spoofed-mac"},
		"the gateway's MAC":               {edit(good, func(b []byte) { copy(b[6:], gatewayMAC) }), 0, "spoofed-mac"},
		"a MAC that is not the gateway's": {edit(good, func(b []byte) { copy(b, dbMAC) }), 0, "not-gateway"},
		"a broadcast frame":               {edit(good, func(b []byte) { copy(b, []byte{255, 255, 255, 255, 255, 255}) }), 0, "not-gateway"},
		"a multicast address":             {udp4(netip.MustParseAddr("224.0.0.251"), 5353, 5353), 0, "multicast"},
		"the broadcast address":           {udp4(netip.MustParseAddr("255.255.255.255"), 68, 67), 0, "multicast"},
		"network zero":                    {udp4(netip.MustParseAddr("0.0.0.1"), 1, 1), 0, "multicast"},
		"an address that nobody has":      {tcp4(netip.MustParseAddr("10.0.0.9"), 1, 80, flagSYN), 0, "no-route"},
		"another tenant's address":        {tcp4(netip.MustParseAddr("10.0.0.5"), 1, 80, flagSYN), 0, "no-route"},
		"its own address":                 {tcp4(webAddr, 1, 80, flagSYN), 0, "no-route"},
		"a node that no tunnel leads to":  {tcp4(netip.MustParseAddr("10.0.0.6"), 1, 80, flagSYN), 0, "no-tunnel"},
		"an echo reply to nothing":        {echo4(dbAddr, 0, 5), 0, "no-flow"},
		"padding on a large packet":       {append(tcpOf(3000, farAddr), 0), 1000, "malformed"},
		"ARP for another address":         {arpFrame(1, webMAC, webMAC, dbAddr, gateway), 0, "spoofed-source"},
		"ARP of another MAC":              {arpFrame(1, webMAC, dbMAC, webAddr, gateway), 0, "spoofed-mac"},
		"ARP from another MAC":            {arpFrame(1, dbMAC, dbMAC, webAddr, gateway), 0, "spoofed-mac"},
		"ARP of another network":          {edit(arpFrame(1, webMAC, webMAC, webAddr, gateway), func(b []byte) { b[15] = 6 }), 0, "malformed"},
		"ARP that is cut off":             {arpFrame(1, webMAC, webMAC, webAddr, gateway)[:41], 0, "malformed"},
	} {
		t.Run(name, func(t *testing.T) {
			b.drop(t, b.dp.fromEndpoint, c.packet, c.gso, c.reason)
		})
	}
}

func withOptions(src, dst netip.Addr) []byte {
	p := ipv4Packet(src, dst, 6, append([]byte{1, 1, 1, 1}, seal4(src, dst, 6, tcpSegment(1, 80, flagSYN, ""))...))
	p[0] = 0x46
	resum(p)
	return p
}

func udpOf(payload int, dst netip.Addr) []byte {
	return frame4(ipv4Packet(webAddr, dst, 17, seal4(webAddr, dst, 17, udpDatagram(1, 53, string(make([]byte, payload))))))
}

func tcpOf(payload int, dst netip.Addr) []byte {
	return frame4(ipv4Packet(webAddr, dst, 6, seal4(webAddr, dst, 6, tcpSegment(1, 80, flagSYN, string(make([]byte, payload))))))
}

func TestAnUnknownDeviceIsCutOff(t *testing.T) {
	b := newBench(t)
	delete(b.state.Endpoints, webKey)
	delete(b.wires, webKey)
	b.refill()
	b.drop(t, b.dp.fromEndpoint, tcp4(dbAddr, 1, 80, flagSYN), 0, "unknown-endpoint")
}

func TestASupersededEndpointIsCutOff(t *testing.T) {
	b := newBench(t)
	b.set(webKey, func(e *Endpoint) { e.Superseded = true })
	b.refill()
	b.drop(t, b.dp.fromEndpoint, tcp4(dbAddr, 1, 80, flagSYN), 0, "superseded")
	b.drop(t, b.dp.fromEndpoint, arpFrame(1, webMAC, webMAC, webAddr, gateway), 0, "superseded")
	b.drop(t, b.dp.fromTunnel, fromFar(6, tcpSegment(1, 80, flagSYN, "")), 0, "superseded")
}

func TestARPIsAnsweredForEveryAddressButTheOwn(t *testing.T) {
	b := newBench(t)
	for _, target := range []netip.Addr{gateway, dbAddr, netip.MustParseAddr("192.0.2.1")} {
		got := b.redirect(t, b.dp.fromEndpoint, arpFrame(1, webMAC, webMAC, webAddr, target))
		want := etherFrame(webMAC, gatewayMAC, 0x0806, append(append(append(append(
			[]byte{0, 1, 8, 0, 6, 4, 0, 2}, gatewayMAC...), target.AsSlice()...), webMAC...), webAddr.AsSlice()...))
		if !bytes.Equal(got, want) {
			t.Errorf("answer for %v:\n%x, want\n%x", target, got, want)
		}
	}
	probe := arpFrame(1, webMAC, webMAC, netip.IPv4Unspecified(), dbAddr)
	b.redirect(t, b.dp.fromEndpoint, probe)
	for name, packet := range map[string][]byte{
		"probe for the own address": arpFrame(1, webMAC, webMAC, netip.IPv4Unspecified(), webAddr),
		"announcement":              arpFrame(1, webMAC, webMAC, webAddr, webAddr),
		"answer":                    arpFrame(2, webMAC, webMAC, webAddr, gateway),
	} {
		if verdict, _ := run(t, b.dp.fromEndpoint, packet, 0); verdict != shot {
			t.Errorf("%s: verdict %d", name, verdict)
		}
	}
	if drops := b.status0(webKey); len(drops) != 0 {
		t.Errorf("ARP counted as lost: %v", drops)
	}
}

// status0 are an endpoint's drops, read from its account: it has no device.
func (b *bench) status0(key Key) map[string]uint64 {
	b.t.Helper()
	for _, e := range b.dp.tables.endpoints.have {
		if keyOf(&e) == key {
			c, err := b.dp.counters(e.Slot)
			if err != nil {
				b.t.Fatal(err)
			}
			return c.Drops
		}
	}
	b.t.Fatal("no such endpoint")
	return nil
}

func TestTheFirstMACIsLearnedAndSticks(t *testing.T) {
	b := newBench(t)
	unlearned := b.wires[webKey]
	unlearned.mac = nil
	b.wires[webKey] = unlearned
	b.refill()

	p := b.dp.fromEndpoint
	b.drop(t, b.dp.fromTunnel, fromFar(6, tcpSegment(1, 80, flagSYN, "")), 0, "unknown-mac")
	b.drop(t, p, withHeader(tcp4(dbAddr, 1, 80, flagSYN), func(h []byte) { h[15] = 3 }), 0, "spoofed-source")
	b.drop(t, p, edit(tcp4(dbAddr, 1, 80, flagSYN), func(f []byte) { copy(f[6:], gatewayMAC) }), 0, "spoofed-mac")
	b.redirect(t, p, arpFrame(1, webMAC, webMAC, webAddr, gateway))
	b.drop(t, p, edit(tcp4(dbAddr, 1, 80, flagSYN), func(f []byte) { f[11]++ }), 0, "spoofed-mac")
	got := b.redirect(t, b.dp.fromTunnel, fromFar(6, tcpSegment(1, 80, flagSYN, "")))
	if !bytes.Equal(got[:6], webMAC) {
		t.Errorf("delivered to %x", got[:6])
	}
}

func TestLocalDeliveryTakesAHopAndChangesTheMACs(t *testing.T) {
	b := newBench(t)
	sent := tcp4(dbAddr, 40000, 80, flagSYN)
	got := b.redirect(t, b.dp.fromEndpoint, sent)
	want := withHeader(sent, func(h []byte) { h[8]-- })
	copy(want, dbMAC)
	copy(want[6:], gatewayMAC)
	if !bytes.Equal(got, want) {
		t.Errorf("delivered\n%x, want\n%x", got, want)
	}
}

func TestEthernetPaddingIsCutOff(t *testing.T) {
	b := newBench(t)
	sent := tcp4(farAddr, 40000, 80, flagSYN)
	got := b.redirect(t, b.dp.fromEndpoint, append(bytes.Clone(sent), make([]byte, 9)...))
	if len(got) != len(sent)+20 {
		t.Errorf("%d bytes, want %d", len(got), len(sent)+20)
	}
}

func TestTranslationToTheOverlay(t *testing.T) {
	b := newBench(t)
	src, dst := overlayAddr(nodeA, 1, testVNI, webAddr), overlayAddr(nodeB, 1, testVNI, farAddr)
	for name, c := range map[string]struct {
		packet []byte
		label  uint32
	}{
		"TCP":                 {tcp4(farAddr, 40000, 80, flagSYN), 0},
		"UDP":                 {udp4(farAddr, 40000, 53), 0},
		"UDP, no checksum":    {edit(udp4(farAddr, 40000, 53), func(f []byte) { f[40], f[41] = 0, 0 }), 0},
		"ICMP":                {echo4(farAddr, 8, 9), 0},
		"another protocol":    {frame4(ipv4Packet(webAddr, farAddr, 47, []byte("gre-like"))), 0},
		"may be fragmented":   {withHeader(udp4(farAddr, 40000, 53), func(h []byte) { h[4], h[5], h[6] = 0xab, 0xcd, 0 }), 0x4abcd},
		"a forgotten DF's id": {withHeader(udp4(farAddr, 40000, 53), func(h []byte) { h[4], h[5] = 0xab, 0xcd }), 0},
	} {
		t.Run(name, func(t *testing.T) {
			got := b.redirect(t, b.dp.fromEndpoint, c.packet)[14:]
			want := binary.BigEndian.AppendUint32(nil, 6<<28|0xb8<<20|c.label)
			want = binary.BigEndian.AppendUint16(want, uint16(len(c.packet)-34))
			want = append(append(append(want, c.packet[23], 60), src...), dst...)
			if !bytes.Equal(got[:40], want) {
				t.Fatalf("header\n%x, want\n%x", got[:40], want)
			}
			segment := bytes.Clone(c.packet[34:])
			if name != "UDP, no checksum" {
				segment = seal(src, dst, c.packet[23], segment)
			}
			if !bytes.Equal(got[40:], segment) {
				t.Fatalf("transport\n%x, want\n%x", got[40:], segment)
			}
		})
	}
}
