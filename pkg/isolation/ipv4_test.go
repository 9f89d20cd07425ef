package isolation

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"
)

// fragments cuts an IPv4 packet after so many bytes of payload each.
func fragments(packet []byte, id uint16, cuts ...int) [][]byte {
	header, payload := int(packet[0]&15)*4, packet[int(packet[0]&15)*4:]
	var parts [][]byte
	for at := 0; at < len(payload); {
		size := len(payload) - at
		if len(cuts) > 0 {
			size, cuts = min(size, cuts[0]), cuts[1:]
		}
		p := append(bytes.Clone(packet[:header]), payload[at:at+size]...)
		binary.BigEndian.PutUint16(p[2:], uint16(len(p)))
		binary.BigEndian.PutUint16(p[4:], id)
		flags := uint16(at / 8)
		if at += size; at < len(payload) {
			flags |= 0x2000
		}
		binary.BigEndian.PutUint16(p[6:], flags)
		resum(p)
		parts = append(parts, p)
	}
	return parts
}

// udpPieces are the fragments of a datagram of 3,000 bytes from web.
func udpPieces(dst netip.Addr, port, id uint16) [][]byte {
	datagram := seal4(webAddr, dst, 17, udpDatagram(40000, port, string(bytes.Repeat([]byte("edgenet!"), 374))))
	return fragments(ipv4Packet(webAddr, dst, 17, datagram), id, 1376, 1376)
}

// passed says what a receiver on this host gets of a frame of web's.
func passed(frame []byte) []byte {
	want := edit(frame, func(b []byte) { b[22]--; resum(b[14:]) })
	copy(want, dbMAC)
	copy(want[6:], gatewayMAC)
	return want
}

func TestFragmentsAreJudgedByTheFirst(t *testing.T) {
	b := newBench(t)
	b.rules(allowAll, allowWeb)
	pieces := udpPieces(dbAddr, 80, 1)
	for i, p := range pieces {
		b.drop(t, b.dp.fromEndpoint, frame4(p), 0, "no-egress-rule")
		if i == 0 {
			continue
		}
		b.drop(t, b.dp.fromEndpoint, frame4(edit(p, func(h []byte) { h[5]++; resum(h) })), 0, "fragment-alone")
		b.drop(t, b.dp.fromEndpoint, frame4(edit(p, func(h []byte) { h[9] = 6; resum(h) })), 0, "fragment-alone")
	}
	b.rules(allowAll, allowAll)
	for _, p := range pieces {
		if got := b.redirect(t, b.dp.fromEndpoint, frame4(p)); !bytes.Equal(got, passed(frame4(p))) {
			t.Fatalf("delivered\n%x, want\n%x", got[:60], passed(frame4(p))[:60])
		}
	}
}

func TestFragmentsCannotHideThePort(t *testing.T) {
	b := newBench(t)
	segment := seal4(webAddr, dbAddr, 6, tcpSegment(1, 80, flagSYN, string(make([]byte, 44))))
	whole := ipv4Packet(webAddr, dbAddr, 6, segment)
	p := b.dp.fromEndpoint
	for name, c := range map[string]struct {
		packet []byte
		reason string
	}{
		"a first one of 8 bytes":                 {fragments(whole, 1, 8)[0], "fragment-short"},
		"a first one of 16 bytes":                {fragments(whole, 1, 16)[0], "fragment-short"},
		"a length that is no multiple of 8":      {edit(whole[:20+28], func(h []byte) { h[3], h[6] = 48, 0x20; resum(h) }), "malformed"},
		"no payload":                             {edit(whole[:20], func(h []byte) { h[3], h[6], h[7] = 20, 0, 9; resum(h) }), "malformed"},
		"an end beyond the largest packet":       {edit(whole, func(h []byte) { h[6], h[7] = 0x1f, 0xff; resum(h) }), "malformed"},
		"a later one of nothing that was seen":   {fragments(whole, 77, 32)[1], "fragment-alone"},
		"a first one without all of TCP's words": {fragments(edit(whole, func(h []byte) { h[32] = 0xb0 }), 1, 40)[0], "fragment-short"},
	} {
		t.Run(name, func(t *testing.T) { b.drop(t, p, frame4(c.packet), 0, c.reason) })
	}
	parts := fragments(whole, 5, 24, 8)
	for _, part := range parts {
		b.redirect(t, p, frame4(part))
	}
	for offset := range byte(3) {
		overlap := edit(parts[1], func(h []byte) { h[6], h[7] = 0x20, offset; resum(h) })
		if offset == 0 {
			b.drop(t, p, frame4(overlap), 0, "fragment-short")
			continue
		}
		b.drop(t, p, frame4(overlap), 0, "fragment-overlap")
	}
}

// onward turns what node a sends to node b into what node b would send back, so
// that the same bench can take it in.
func onward(frame []byte) []byte {
	return edit(frame, func(b []byte) {
		source, destination := bytes.Clone(b[22:38]), bytes.Clone(b[38:54])
		copy(b[22:], nodeB.Addr().AsSlice()[:8])
		copy(b[38:], nodeA.Addr().AsSlice()[:8])
		copy(b[30:34], source[8:12])
		copy(b[46:50], destination[8:12])
		copy(b[34:38], destination[12:])
		copy(b[50:54], source[12:])
	})
}

// back is an IPv4 packet as the other side would send it.
func back(packet []byte) []byte {
	return edit(packet, func(h []byte) {
		copy(h[12:], packet[16:20])
		copy(h[16:], packet[12:16])
		resum(h)
	})
}

func TestWhatIPv6HasNoHeaderForCrossesTheOverlay(t *testing.T) {
	b := newBench(t)
	options := withOptions(webAddr, farAddr)
	timestamps := edit(options, func(p []byte) { copy(p[20:], []byte{68, 4, 5, 0}); resum(p) })
	packets := append(udpPieces(farAddr, 53, 0xbeef), options, timestamps,
		ipv4Packet(webAddr, farAddr, 51, []byte("authentication")),
		edit(ipv4Packet(webAddr, farAddr, 51, []byte("authentication")), func(h []byte) { h[4], h[5] = 0xab, 0xcd; resum(h) }))
	for i, packet := range packets {
		out := b.redirect(t, b.dp.fromEndpoint, frame4(packet))
		words := packet[0] - 0x45
		if out[20] != 253 || out[30] != 0x10+words || out[46] != out[30] || len(out) != len(packet)+14+20 {
			t.Fatalf("packet %d crosses as %x", i, out[:60])
		}
		if !bytes.Equal(out[47:50], []byte{0, 0, testVNI}) {
			t.Fatalf("packet %d is of VPC %x", i, out[47:50])
		}
		got := b.redirect(t, b.dp.fromTunnel, onward(out))
		want := back(edit(packet, func(h []byte) { h[8]--; resum(h) }))
		if !bytes.Equal(got[14:], want) {
			t.Fatalf("packet %d arrives as\n%x, want\n%x", i, got[14:], want)
		}
	}
	// One that stands for many cannot: the tunnel could not cut it.
	b.drop(t, b.dp.fromEndpoint, frame4(options), 4, "ip-options")
}

func TestSourceRoutesAreRefused(t *testing.T) {
	b := newBench(t)
	with := func(dst netip.Addr, option ...byte) []byte {
		p := withOptions(webAddr, dst)
		extra := make([]byte, (len(option)+3)/4*4-4)
		p = slices.Insert(p, 20, extra...)
		copy(p[20:], append(option, make([]byte, 40)...)[:len(extra)+4])
		p[0] = 0x45 + byte(len(extra)/4) + 1
		binary.BigEndian.PutUint16(p[2:], uint16(len(p)))
		resum(p)
		return p
	}
	for name, c := range map[string]struct {
		option []byte
		reason string
	}{
		"a loose route":            {[]byte{131, 7, 4, 10, 0, 0, 3}, "source-routing"},
		"a strict route":           {[]byte{137, 7, 4, 10, 0, 0, 3}, "source-routing"},
		"a route behind padding":   {[]byte{1, 1, 1, 1, 131, 3, 4}, "source-routing"},
		"a route not to be kept":   {[]byte{3, 7, 4, 10, 0, 0, 3}, "source-routing"},
		"an option of no length":   {[]byte{7, 0, 4, 0}, "malformed"},
		"an option of one byte":    {[]byte{7, 1, 4, 0}, "malformed"},
		"an option that goes on":   {[]byte{7, 5, 4, 0}, "malformed"},
		"an option without a size": {[]byte{1, 1, 1, 7}, "malformed"},
	} {
		t.Run(name, func(t *testing.T) {
			b.drop(t, b.dp.fromEndpoint, frame4(with(dbAddr, c.option...)), 0, c.reason)
			out := b.redirect(t, b.dp.fromEndpoint, frame4(with(farAddr, append(bytes.Repeat([]byte{1}, len(c.option)), 0)[:len(c.option)]...)))
			forged := edit(onward(out), func(f []byte) { copy(f[54:], c.option) })
			b.drop(t, b.dp.fromTunnel, forged, 0, c.reason)
		})
	}
	// What follows the end of the list is nothing.
	b.redirect(t, b.dp.fromEndpoint, frame4(with(dbAddr, 0, 131, 3, 4)))
}

func TestATunnelBringsNoForgedFragments(t *testing.T) {
	b := newBench(t)
	options := onward(b.redirect(t, b.dp.fromEndpoint, frame4(withOptions(webAddr, farAddr))))
	pieces := udpPieces(farAddr, 53, 9)
	later := onward(b.redirect(t, b.dp.fromEndpoint, frame4(pieces[0])))
	for name, c := range map[string]struct {
		packet []byte
		gso    uint32
		reason string
	}{
		"another next header":            {edit(options, func(f []byte) { f[20] = 6 }), 0, "malformed"},
		"one that stands for many":       {options, 4, "malformed"},
		"more options than there can be": {edit(options, func(f []byte) { f[30], f[46] = 0x1b, 0x1b }), 0, "foreign-destination"},
		"options that are not there":     {edit(options, func(f []byte) { f[30], f[46] = 0x19, 0x19 }), 0, "malformed"},
		"a source of another kind":       {edit(options, func(f []byte) { f[30] = 1 }), 0, "not-owner"},
		"a later one without a first":    {edit(later, func(f []byte) { f[32] = 2 }), 0, "fragment-alone"},
		"one from another's address":     {edit(later, func(f []byte) { f[37] = 9 }), 0, "not-owner"},
	} {
		t.Run(name, func(t *testing.T) { b.drop(t, b.dp.fromTunnel, c.packet, c.gso, c.reason) })
	}
}

// Whoever begins packets that it does not finish takes the memory of them from
// itself, not from others.
func TestAFloodOfFragmentsLeavesOthersAlone(t *testing.T) {
	b := newBench(t)
	pieces := udpPieces(dbAddr, 80, 1)
	first := udpPieces(webAddr, 53, 0)[0][20:]
	src, dst := overlayAddr(nodeB, 0x10, testVNI, farAddr), overlayAddr(nodeA, 0x10, testVNI, dbAddr)
	binary.BigEndian.PutUint32(src[8:], 0x10<<24|0x100|17)
	b.redirect(t, b.dp.fromEndpoint, frame4(pieces[0]))
	refused := 0
	for id := range uint16(20000) {
		flooding := edit(overlay(src, dst, 253, first), func(f []byte) { binary.BigEndian.PutUint16(f[16:], id) })
		if verdict, _ := run(t, b.dp.fromTunnel, flooding, 0); verdict != redirect {
			refused++
		}
	}
	if refused > 0 {
		t.Errorf("%d first fragments were refused: that is no flood", refused)
	}
	for _, p := range pieces[1:] {
		if verdict, _ := run(t, b.dp.fromEndpoint, frame4(p), 0); verdict != redirect {
			t.Error("a later fragment of web's is dropped after a flood into db")
		}
	}
}
