package isolation

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"
)

// canRun says whether BPF_PROG_TEST_RUN takes a packet at all.
func canRun(packet []byte) bool {
	return len(packet) >= 14+41 && len(packet) <= 1514
}

// owners are the addresses and networks of somebody.
type owners []netip.Prefix

func owning(prefixes ...string) (o owners) {
	for _, p := range prefixes {
		o = append(o, netip.MustParsePrefix(p))
	}
	return o
}

func (o owners) have(a netip.Addr) bool {
	return slices.ContainsFunc(o, func(p netip.Prefix) bool { return p.Contains(a) })
}

var (
	ofWeb     = owning("10.0.0.2/32", "10.0.0.22/32", "10.9.0.0/24", "fd00:64::2/128", "fd00:64::22/128", "fd00:9::/64")
	ofDB      = owning("10.0.0.3/32", "10.7.0.1/32", "fd00:64::3/128", "fd00:7::1/128")
	ofFar     = owning("10.0.0.4/32", "10.8.0.0/24", "fd00:64::4/128", "fd00:8::/64")
	ofGateway = owning("10.0.0.1/32", "fd00:64::1/128")
)

// parsed is a packet as somebody would read it who is in no hurry.
type parsed struct {
	src, dst netip.Addr
	protocol byte
	offset   int // of a fragment, bytes
	payload  []byte
}

// parse reads an IP packet of either family; it is false for one that hosts
// would not take.
func parse(p []byte) (parsed, bool) {
	switch {
	case len(p) >= 20 && p[0]>>4 == 4 && p[0]&15 >= 5:
		header := int(p[0]&15) * 4
		if length := int(p[2])<<8 | int(p[3]); length != len(p) || length < header {
			return parsed{}, false
		}
		src, dst := netip.AddrFrom4([4]byte(p[12:])), netip.AddrFrom4([4]byte(p[16:]))
		return parsed{src, dst, p[9], (int(p[6])<<8 | int(p[7])) & 0x1fff * 8, p[header:]}, true
	case len(p) >= 40 && p[0]>>4 == 6 && int(p[4])<<8|int(p[5]) == len(p)-40:
		return parse6(parsed{netip.AddrFrom16([16]byte(p[8:])), netip.AddrFrom16([16]byte(p[24:])), p[6], 0, p[40:]})
	default:
		return parsed{}, false
	}
}

// parse6 follows extension headers, however many.
func parse6(p parsed) (parsed, bool) {
	for slices.Contains([]byte{0, 43, 44, 51, 60}, p.protocol) && p.offset == 0 {
		if len(p.payload) < 8 {
			return p, false
		}
		size := int(p.payload[1])*8 + 8
		switch p.protocol {
		case 44:
			size, p.offset = 8, (int(p.payload[2])<<8|int(p.payload[3]))&^7
		case 51:
			size = int(p.payload[1])*4 + 8
		}
		if size > len(p.payload) || p.protocol == 43 {
			return p, false
		}
		p.protocol, p.payload = p.payload[0], p.payload[size:]
	}
	return p, true
}

// permitted says whether allowWeb lets a packet pass, or may have let pass the
// first fragment of it.
func (p parsed) permitted() bool {
	switch {
	case p.offset != 0:
		return p.protocol == 1 || p.protocol == 6 && p.offset >= 20 || p.dst.Is6()
	case p.protocol == 6 && len(p.payload) >= 20:
		port := int(p.payload[2])<<8 | int(p.payload[3])
		return port == 80 || port >= 8000 && port <= 8100
	case p.protocol == 1 && len(p.payload) >= 8:
		return slices.Contains([]byte{3, 8, 11, 12}, p.payload[0])
	case p.protocol == 58 && len(p.payload) >= 8: // an error about a flow that passes
		return p.payload[0] >= 1 && p.payload[0] <= 4
	default:
		return false
	}
}

// check wants a packet to be from one to another, and permitted.
func check(t *testing.T, packet []byte, from, to owners) {
	t.Helper()
	p, ok := parse(packet)
	if !ok || !from.have(p.src) || !to.have(p.dst) || !p.permitted() {
		t.Fatalf("passed: %+v %v %x", p, ok, packet)
	}
}

// checkAnswer wants a frame to be the gateway's to web.
func checkAnswer(t *testing.T, frame []byte) {
	t.Helper()
	if !bytes.Equal(frame[6:12], gatewayMAC) {
		t.Fatalf("answer from another MAC: %x", frame)
	}
	if bytes.Equal(frame[12:14], []byte{8, 6}) {
		if target, ok := netip.AddrFromSlice(frame[38:42]); !ok || !ofWeb.have(target) && !target.IsUnspecified() {
			t.Fatalf("ARP answer %x", frame)
		}
		return
	}
	p, ok := parse(frame[14:])
	neighbour := ok && p.protocol == 58 && p.payload[0] == 136
	if !ok || p.protocol != 1 && p.protocol != 58 || !ofGateway.have(p.src) && !neighbour {
		t.Fatalf("answer %+v %x", p, frame)
	}
	if !ofWeb.have(p.dst) && (!neighbour || !p.dst.IsLinkLocalUnicast() && p.dst != allNodes) {
		t.Fatalf("answer to %v: %x", p.dst, frame)
	}
}

// checkOverlay wants an overlay packet to be web's to far.
func checkOverlay(t *testing.T, packet []byte, tokens map[[4]byte]netip.Addr) {
	t.Helper()
	kind := packet[32]
	src, dst := overlayAddr(nodeA, kind, testVNI, netip.Addr{}), overlayAddr(nodeB, kind, testVNI, netip.Addr{})
	if int(packet[4])<<8|int(packet[5]) != len(packet)-40 || !bytes.Equal(packet[24:36], dst[:12]) || !bytes.Equal(packet[8:17], src[:9]) {
		t.Fatalf("forwarded %x", packet)
	}
	if kind < 0x10 && !bytes.Equal(packet[17:20], src[9:12]) {
		t.Fatalf("forwarded for another VPC: %x", packet)
	}
	tenant := bytes.Clone(packet)
	switch {
	case kind == 1 || kind >= 0x10 && kind <= 0x1a:
		tenant = ipv4Packet(netip.AddrFrom4([4]byte(packet[20:])), netip.AddrFrom4([4]byte(packet[36:])), packet[6], packet[40:])
		if kind >= 0x10 {
			tenant[0] += kind - 0x10
			tenant[9] = packet[19]
			offset := (int(packet[17])<<16 | int(packet[18])<<8) >> 9 & 0x1fff
			tenant[6], tenant[7] = byte(offset>>8), byte(offset)
		}
	case kind == 2:
		from, to := tokens[[4]byte(packet[20:])].As16(), tokens[[4]byte(packet[36:])].As16()
		copy(tenant[8:], from[:])
		copy(tenant[24:], to[:])
	case kind == 3 && packet[6] == 41:
		tenant = packet[40:]
	default:
		t.Fatalf("forwarded as kind %d: %x", kind, packet)
	}
	check(t, tenant, ofWeb, ofFar)
}

// tokenNames are the addresses of tokens, as the kernel knows them.
func (b *bench) tokenNames() map[[4]byte]netip.Addr {
	var (
		key     edgenetTokenKey
		address edgenetIp
		names   = map[[4]byte]netip.Addr{}
	)
	for entries := b.dp.maps.Tokens.Iterate(); entries.Next(&key, &address); {
		names[[4]byte(binary.NativeEndian.AppendUint32(nil, key.Token))] = netip.AddrFrom16(address.Bytes)
	}
	return names
}

// seeds are packets of every sort, from an address of web's of each family.
func seeds(src4, dst4, src6, dst6 netip.Addr) [][]byte {
	tcp := ipv4Packet(src4, dst4, 6, seal4(src4, dst4, 6, tcpSegment(40000, 80, flagSYN, string(make([]byte, 44)))))
	syn := padded(syn6(src6, dst6, 40000, 80))
	all := [][]byte{
		tcp, withOptions(src4, dst4), syn, udp6(src6, dst6, 1, 53), echo6(src6, dst6, 128, 1),
		ipv4Packet(src4, dst4, 17, seal4(src4, dst4, 17, udpDatagram(40000, 80, "hi"))),
		ipv4Packet(src4, dst4, 1, icmpMessage(8, 0, 1, []byte("hi"))),
		ipv4Packet(src4, dst4, 1, icmpMessage(3, 3, 0, ipv4Packet(dst4, src4, 17, udpDatagram(1, 2, "")))),
		ipv6Packet(src6, dst6, 58, seal6(src6, dst6, 58, icmpMessage(1, 4, 0, syn6(dst6, src6, 80, 40000)))),
		behind(syn, hopByHop, destination), behind(syn, routing), behind(syn, authentication, destination),
		behind(syn, fragment6(0, true, 1)), behind(syn, fragment6(8, false, 1)), behind(syn, destination, fragment6(0, true, 2), destination),
		behind(syn, slices.Repeat([]extensionHeader{destination}, 9)...),
	}
	return append(all, fragments(tcp, 1, 24, 8)...)
}

// Whatever web sends: what leaves is web's, goes to its own VPC, and hides
// nothing from its rules.
func FuzzFromEndpoint(f *testing.F) {
	b := newDualBench(f)
	b.rules(allowAll, allowWeb)
	tokens := b.tokenNames()
	for _, dst := range [][2]netip.Addr{{dbAddr, dbAddr6}, {farAddr, farAddr6}, {farNested, farNested6}, {gateway, gateway6}} {
		for _, packet := range append(seeds(webAddr, dst[0], webAddr6, dst[1]), seeds(nested, dst[0], nested6, dst[1])...) {
			f.Add(frameOf(packet))
			f.Add(frameOf(edit(packet, func(p []byte) {
				if p[0]>>4 == 4 {
					p[8] = 1
				} else {
					p[7] = 1
				}
			})))
		}
	}
	f.Add(append(arpFrame(1, webMAC, webMAC, webAddr, gateway), make([]byte, 18)...))
	f.Add(nd(webAddr6, allNodes, 135, gateway6))
	f.Add(nd(netip.IPv6Unspecified(), allNodes, 135, dbAddr6))
	f.Add(frame6(ipv6Packet(webAddr6, netip.MustParseAddr("fd12:340b:bbbb:bbbb:100:64:a00:4"), 17, udpDatagram(1, 2, ""))))
	f.Fuzz(func(t *testing.T, packet []byte) {
		if !canRun(packet) {
			return
		}
		// Blind changes would not get past the checksum.
		if n := int(packet[14]&15) * 4; packet[12] == 8 && packet[13] == 0 && n >= 20 && 14+n <= len(packet) {
			resum(packet[14:])
		}
		verdict, out := run(t, b.dp.fromEndpoint, packet, 0)
		switch {
		case verdict == shot:
		case verdict != redirect:
			t.Fatalf("verdict %d", verdict)
		case bytes.Equal(out[:6], webMAC):
			checkAnswer(t, out)
		case bytes.Equal(out[:6], dbMAC):
			check(t, out[14:], ofWeb, ofDB)
		default:
			checkOverlay(t, out[14:], tokens)
		}
	})
}

func frameOf(packet []byte) []byte {
	if packet[0]>>4 == 4 {
		return frame4(packet)
	}
	return frame6(packet)
}

// Whatever a tunnel brings: what is delivered is for this node, from the owner
// of its source, of one VPC, and hides nothing from the rules.
func FuzzFromTunnel(f *testing.F) {
	b := newDualBench(f)
	b.rules(allowAll, allowAll)
	for _, dst := range [][2]netip.Addr{{farAddr, farAddr6}, {farNested, farNested6}} {
		for _, packet := range seeds(webAddr, dst[0], webAddr6, dst[1]) {
			verdict, out := run(f, b.dp.fromEndpoint, frameOf(packet), 0)
			if verdict == redirect {
				f.Add(turned(out))
				f.Add(onward(out))
			}
		}
	}
	f.Add(fromFar(6, tcpSegment(40000, 80, flagSYN, "hi")))
	f.Add(overlay(overlayAddr(nodeB, 1, otherVNI, farAddr), overlayAddr(nodeA, 1, otherVNI, dbAddr), 6, tcpSegment(1, 80, flagSYN, "")))
	one := netip.MustParseAddr("0.0.0.1")
	hostA, hostB := overlayAddr(nodeA, 0, 0, one), overlayAddr(nodeB, 0, 0, one)
	f.Add(overlay(hostB, hostA, 58, make([]byte, 8)))
	f.Add(overlay(hostB, hostA, 58, append([]byte{128, 1}, make([]byte, 100)...)))
	for _, key := range []Key{webKey, dbKey} {
		b.set(key, func(e *Endpoint) { e.Ingress, e.Egress = allowWeb, nothing })
	}
	b.refill()
	f.Fuzz(func(t *testing.T, packet []byte) {
		if !canRun(packet) {
			return
		}
		verdict, out := run(t, b.dp.fromTunnel, packet, 0)
		switch verdict {
		case shot:
		case pass:
			if packet[20] != 58 || !bytes.Equal(packet[38:54], hostA) {
				t.Fatalf("passed to the host: %x", packet)
			}
		case redirect:
			if bytes.Equal(packet[38:54], hostA) {
				checkNodeAnswer(t, packet, out)
				return
			}
			if !bytes.Equal(packet[38:46], nodeA.Addr().AsSlice()[:8]) || !bytes.Equal(packet[22:30], nodeB.Addr().AsSlice()[:8]) {
				t.Fatalf("delivered from or for another node: %x", packet)
			}
			switch {
			case bytes.Equal(packet[47:50], []byte{0, 0, otherVNI}):
				// The other tenant's rules are other ones.
				if p, ok := parse(out[14:]); !ok || p.dst != dbAddr || p.src != netip.MustParseAddr("10.0.0.5") {
					t.Fatalf("delivered %x", out)
				}
			case bytes.Equal(out[:6], webMAC):
				check(t, out[14:], ofFar, ofWeb)
			default:
				check(t, out[14:], ofFar, ofDB)
			}
		default:
			t.Fatalf("verdict %d", verdict)
		}
	})
}

// checkNodeAnswer wants no more than an answer to the node that asked.
func checkNodeAnswer(t *testing.T, packet, out []byte) {
	t.Helper()
	if !bytes.Equal(out[22:38], packet[38:54]) || !bytes.Equal(out[38:54], packet[22:38]) || len(out) > len(packet) {
		t.Fatalf("a node is answered %x to %x", out, packet)
	}
}
