package isolation

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"
)

// refused wants a packet to be dropped for a reason, and its sender to be told.
func (b *bench) refused(t *testing.T, frame []byte, gso uint32, reason string) []byte {
	t.Helper()
	before := b.drops(reason)
	verdict, out := run(t, b.dp.fromEndpoint, frame, gso)
	if n := b.drops(reason) - before; n != 1 || verdict != redirect {
		b.report()
		t.Fatalf("%d drops for %s, verdict %d", n, reason, verdict)
	}
	return out
}

// error4 is the gateway's error about an IPv4 packet.
func error4(packet []byte, kind, code byte, mtu uint16) []byte {
	quoted := bytes.Clone(packet[:min(len(packet), 512)])
	for len(quoted)%4 != 0 {
		quoted = append(quoted, 0)
	}
	m := icmpMessage(kind, code, 0, quoted)
	binary.BigEndian.PutUint16(m[4:], 0)
	binary.BigEndian.PutUint16(m[6:], mtu)
	m[2], m[3] = 0, 0
	binary.BigEndian.PutUint16(m[2:], ^uint16(sum(0, m)))
	p := ipv4Packet(gateway, netip.AddrFrom4([4]byte(packet[12:16])), 1, m)
	p[1], p[6], p[8] = 0, 0, 64
	resum(p)
	return etherFrame(webMAC, gatewayMAC, 0x0800, p)
}

func error6(packet []byte, kind byte, mtu uint32) []byte { return errorOf6(packet, kind, 0, mtu) }

func errorOf6(packet []byte, kind, code byte, mtu uint32) []byte {
	quoted := bytes.Clone(packet[:min(len(packet), 512)])
	for len(quoted)%4 != 0 {
		quoted = append(quoted, 0)
	}
	m := append(binary.BigEndian.AppendUint32([]byte{kind, code, 0, 0}, mtu), quoted...)
	to := netip.AddrFrom16([16]byte(packet[8:24]))
	p := ipv6Packet(gateway6, to, 58, seal6(gateway6, to, 58, m))
	copy(p, []byte{0x60, 0, 0, 0})
	p[7] = 64
	return etherFrame(webMAC, gatewayMAC, 0x86dd, p)
}

func TestTooBigPacketsAreAnswered(t *testing.T) {
	b := newDualBench(t)
	big6 := func(src, dst netip.Addr, size int) []byte {
		return ipv6Packet(src, dst, 17, seal6(src, dst, 17, udpDatagram(1, 53, string(make([]byte, size-48)))))
	}
	segments6 := ipv6Packet(webAddr6, farAddr6, 6, tcpSegment(1, 80, flagACK, string(make([]byte, 3000))))
	nodf := withHeader(udpOf(1420-20-28+1, farAddr), func(h []byte) { h[6] = 0 })
	for name, c := range map[string]struct {
		frame, want []byte
		gso         uint32
	}{
		"IPv4":                     {udpOf(1420-20-28+1, farAddr), error4(udpOf(1420-20-28+1, farAddr)[14:], 3, 4, 1400), 0},
		"IPv4 of any length":       {udpOf(1420-20-28+2, farAddr), error4(udpOf(1420-20-28+2, farAddr)[14:], 3, 4, 1400), 0},
		"IPv4 to be fragmented":    {nodf, error4(nodf[14:], 3, 4, 1400), 0},
		"IPv4 in segments":         {tcpOf(3000, farAddr), error4(tcpOf(3000, farAddr)[14:], 3, 4, 1400), 1420 - 40 - 20 + 1},
		"IPv6":                     {frame6(big6(webAddr6, farAddr6, 1421)), error6(big6(webAddr6, farAddr6, 1421), 2, 1420), 0},
		"IPv6 in segments":         {frame6(segments6), error6(segments6, 2, 1420), 1420 - 60 + 1},
		"IPv6 to a nested network": {frame6(big6(webAddr6, farNested6, 1381)), error6(big6(webAddr6, farNested6, 1381), 2, 1380), 0},
	} {
		t.Run(name, func(t *testing.T) {
			if got := b.refused(t, c.frame, c.gso, "packet-too-big"); !bytes.Equal(got, c.want) {
				t.Fatalf("error\n%x, want\n%x", got, c.want)
			}
		})
	}
	b.redirect(t, b.dp.fromEndpoint, udpOf(1420-20-28, farAddr))
	b.redirect(t, b.dp.fromEndpoint, frame6(big6(webAddr6, farAddr6, 1420)))
	b.redirect(t, b.dp.fromEndpoint, frame6(big6(webAddr6, farNested6, 1380)))
	b.redirect(t, b.dp.fromEndpoint, udpOf(1440, dbAddr))
}

// Who sends to a node that is dead is told at once, and no more when it is back.
func TestWhatIsForADeadNodeIsAnswered(t *testing.T) {
	b := newDualBench(t)
	alive := b.state.Nodes[nodeB]
	over6 := func(dst netip.Addr) []byte {
		return ipv6Packet(webAddr6, dst, 6, seal6(webAddr6, dst, 6, tcpSegment(1, 80, flagSYN, "")))
	}
	dead := alive
	dead.Dead = true
	for _, state := range []Node{dead, {Prefix: nodeB, Device: "lo", MTU: 1280, Assumed: true, Dead: true}} {
		b.state.Nodes[nodeB] = state
		b.refill()
		for name, c := range map[string]struct{ frame, want []byte }{
			"UDP":                      {udpOf(8, farAddr), error4(udpOf(8, farAddr)[14:], 3, 1, 0)},
			"TCP":                      {tcpOf(0, farAddr), error4(tcpOf(0, farAddr)[14:], 3, 1, 0)},
			"a ping":                   {echo4(farAddr, 8, 1), error4(echo4(farAddr, 8, 1)[14:], 3, 1, 0)},
			"IPv6":                     {frame6(over6(farAddr6)), errorOf6(over6(farAddr6), 1, 3, 0)},
			"IPv6 to a nested network": {frame6(over6(farNested6)), errorOf6(over6(farNested6), 1, 3, 0)},
		} {
			t.Run(name, func(t *testing.T) {
				if got := b.refused(t, c.frame, 0, "node-dead"); !bytes.Equal(got, c.want) {
					t.Fatalf("error\n%x, want\n%x", got, c.want)
				}
			})
		}
		b.redirect(t, b.dp.fromEndpoint, udpOf(8, dbAddr))
	}
	// It may come back before anybody knows what the path takes.
	b.state.Nodes[nodeB] = Node{Prefix: nodeB, Device: "lo", MTU: alive.MTU, Assumed: true}
	b.refill()
	b.redirect(t, b.dp.fromEndpoint, udpOf(8, farAddr))
	b.redirect(t, b.dp.fromEndpoint, frame6(over6(farAddr6)))
}

func TestTheLastHopIsTheGateway(t *testing.T) {
	b := newDualBench(t)
	last4 := func(frame []byte) []byte { return withHeader(frame, func(h []byte) { h[8] = 1 }) }
	last6 := func(packet []byte) []byte { return edit(packet, func(p []byte) { p[7] = 1 }) }
	for name, frame := range map[string][]byte{
		"UDP to a neighbour":  last4(udp4(dbAddr, 1, 33434)),
		"UDP to another node": last4(udp4(farAddr, 1, 33434)),
		"a ping":              last4(echo4(farAddr, 8, 1)),
		"another protocol":    last4(frame4(ipv4Packet(webAddr, farAddr, 47, []byte("x")))),
		"with options":        frame4(edit(withOptions(webAddr, farAddr), func(p []byte) { p[8] = 1; resum(p) })),
		"a first fragment":    frame4(edit(udpPieces(farAddr, 53, 3)[0], func(p []byte) { p[8] = 1; resum(p) })),
	} {
		t.Run(name, func(t *testing.T) {
			if got, want := b.refused(t, frame, 0, "ttl-expired"), error4(frame[14:], 11, 0, 0); !bytes.Equal(got, want) {
				t.Fatalf("error\n%x, want\n%x", got, want)
			}
		})
	}
	for name, packet := range map[string][]byte{
		"UDP over IPv6":         last6(udp6(webAddr6, farAddr6, 1, 33434)),
		"an IPv6 ping":          last6(echo6(webAddr6, dbAddr6, 128, 1)),
		"IPv6 behind options":   last6(behind(syn6(web26, farAddr6, 1, 80), hopByHop)),
		"from a nested network": last6(udp6(nested6, farAddr6, 1, 33434)),
	} {
		t.Run(name, func(t *testing.T) {
			if got, want := b.refused(t, frame6(packet), 0, "ttl-expired"), error6(packet, 3, 0); !bytes.Equal(got, want) {
				t.Fatalf("error\n%x, want\n%x", got, want)
			}
		})
	}
	// Nobody is told of what would go round, or nowhere.
	for name, frame := range map[string][]byte{
		"an error":         last4(frame4(ipv4Packet(webAddr, farAddr, 1, icmpMessage(3, 3, 0, ipv4Packet(farAddr, webAddr, 17, udpDatagram(1, 2, "")))))),
		"an error in IPv6": frame6(last6(ipv6Packet(webAddr6, farAddr6, 58, seal6(webAddr6, farAddr6, 58, icmpMessage(1, 4, 0, udp6(farAddr6, webAddr6, 1, 2)))))),
		"a later fragment": frame4(edit(udpPieces(farAddr, 53, 3)[1], func(p []byte) { p[8] = 1; resum(p) })),
	} {
		t.Run(name, func(t *testing.T) { b.drop(t, b.dp.fromEndpoint, frame, 0, "ttl-expired") })
	}
}

func TestTheGatewayAnswersPingsAndNothingElse(t *testing.T) {
	b := newDualBench(t)
	b.rules(nothing, nothing)
	answer4 := ipv4Packet(gateway, webAddr, 1, icmpMessage(0, 0, 7, []byte("hello")))
	if got := b.redirect(t, b.dp.fromEndpoint, echo4(gateway, 8, 7)); !bytes.Equal(got, etherFrame(webMAC, gatewayMAC, 0x0800, answer4)) {
		t.Fatalf("answer\n%x, want\n%x", got[14:], answer4)
	}
	for _, src := range []netip.Addr{webAddr6, web26, nested6} {
		answer6 := echo6(gateway6, src, 129, 7)
		if got := b.redirect(t, b.dp.fromEndpoint, frame6(echo6(src, gateway6, 128, 7))); !bytes.Equal(got, etherFrame(webMAC, gatewayMAC, 0x86dd, answer6)) {
			t.Fatalf("answer\n%x, want\n%x", got[14:], answer6)
		}
	}
	for name, frame := range map[string][]byte{
		"TCP":             tcp4(gateway, 1, 22, flagSYN),
		"UDP":             udp4(gateway, 1, 53),
		"an echo reply":   echo4(gateway, 0, 1),
		"IPv6 UDP":        frame6(udp6(webAddr6, gateway6, 1, 53)),
		"an echo reply 6": frame6(echo6(webAddr6, gateway6, 129, 1)),
		"a fragment":      frame4(fragments(ipv4Packet(webAddr, gateway, 1, icmpMessage(8, 0, 1, make([]byte, 40))), 1, 24)[0]),
	} {
		t.Run(name, func(t *testing.T) { b.drop(t, b.dp.fromEndpoint, frame, 0, "gateway") })
	}
}

// synWith is a SYN segment with TCP options.
func synWith(flags byte, options ...byte) []byte {
	s := tcpSegment(40000, 80, flags, string(options))
	s[12] = byte(5+len(options)/4) << 4
	return s
}

func TestWhatATCPConnectionTakesFitsTheTunnel(t *testing.T) {
	b := newDualBench(t)
	for name, c := range map[string]struct {
		flags         byte
		options, want []byte
	}{
		"a large one":       {flagSYN, []byte{2, 4, 5, 180}, []byte{2, 4, 5, 80}},
		"of the answer":     {flagSYN | flagACK, []byte{2, 4, 5, 180}, []byte{2, 4, 5, 80}},
		"behind others":     {flagSYN, []byte{1, 3, 3, 7, 2, 4, 255, 255, 4, 2, 1, 1}, []byte{1, 3, 3, 7, 2, 4, 5, 80, 4, 2, 1, 1}},
		"at an odd place":   {flagSYN, []byte{1, 2, 4, 5, 180, 0, 0, 0}, []byte{1, 2, 4, 5, 80, 0, 0, 0}},
		"a small one":       {flagSYN, []byte{2, 4, 2, 24}, []byte{2, 4, 2, 24}},
		"not of a SYN":      {flagACK, []byte{2, 4, 5, 180}, []byte{2, 4, 5, 180}},
		"behind the end":    {flagSYN, []byte{0, 0, 0, 0, 2, 4, 5, 180}, []byte{0, 0, 0, 0, 2, 4, 5, 180}},
		"behind nonsense":   {flagSYN, []byte{3, 0, 0, 0, 2, 4, 5, 180}, []byte{3, 0, 0, 0, 2, 4, 5, 180}},
		"that is cut off":   {flagSYN, []byte{1, 1, 2, 4}, []byte{1, 1, 2, 4}},
		"none":              {flagSYN, nil, nil},
		"of another length": {flagSYN, []byte{2, 6, 5, 180, 0, 0, 1, 1}, []byte{2, 6, 5, 180, 0, 0, 1, 1}},
		"at the very end":   {flagSYN, append(bytes.Repeat([]byte{1}, 36), 2, 4, 5, 180), append(bytes.Repeat([]byte{1}, 36), 2, 4, 5, 80)},
	} {
		t.Run(name, func(t *testing.T) {
			s := seal4(webAddr, farAddr, 6, synWith(c.flags, c.options...))
			out := b.redirect(t, b.dp.fromEndpoint, frame4(ipv4Packet(webAddr, farAddr, 6, s)))
			if !bytes.Equal(out[74:], c.want) || !sealed(out[14:], 6, out[54:]) {
				t.Errorf("IPv4: %x", out[54:])
			}
			s = seal6(webAddr6, farAddr6, 6, synWith(c.flags, c.options...))
			out = b.redirect(t, b.dp.fromEndpoint, frame6(ipv6Packet(webAddr6, farAddr6, 6, s)))
			if !bytes.Equal(out[74:], c.want) || !sealed(out[14:], 6, out[54:]) {
				t.Errorf("IPv6: %x", out[54:])
			}
			// Between two endpoints of one host there is no tunnel.
			s = seal4(webAddr, dbAddr, 6, synWith(c.flags, c.options...))
			if out = b.redirect(t, b.dp.fromEndpoint, frame4(ipv4Packet(webAddr, dbAddr, 6, s))); !bytes.Equal(out[34:], s) {
				t.Errorf("on one host: %x", out[34:])
			}
		})
	}
}
