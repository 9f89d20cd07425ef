package isolation

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"
)

var (
	vpc6     = netip.MustParsePrefix("fd00:64::/64")
	gateway6 = netip.MustParseAddr("fd00:64::1")
	webAddr6 = netip.MustParseAddr("fd00:64::2")
	dbAddr6  = netip.MustParseAddr("fd00:64::3")
	farAddr6 = netip.MustParseAddr("fd00:64::4")
	// web and far have more of each, and networks behind them.
	web2, web26 = netip.MustParseAddr("10.0.0.22"), netip.MustParseAddr("fd00:64::22")
	nested      = netip.MustParseAddr("10.9.0.7")
	nested6     = netip.MustParseAddr("fd00:9::7")
	farNested   = netip.MustParseAddr("10.8.0.7")
	farNested6  = netip.MustParseAddr("fd00:8::7")
)

// newDualBench is a bench whose tenant has both families, several addresses and
// nested networks.
func newDualBench(t testing.TB) *bench {
	t.Helper()
	b := newBench(t)
	networks := []Network{{vpc, gateway}, {vpc6, gateway6}}
	for key, more := range map[Key][]netip.Addr{webKey: {webAddr6, web2, web26}, dbKey: {dbAddr6}} {
		b.set(key, func(e *Endpoint) {
			e.Addresses, e.Networks = append(e.Addresses, more...), networks
		})
		for _, a := range more {
			b.state.Addresses[Address{testVNI, a}] = Location{Endpoint: key, Identity: someone}
		}
	}
	b.knows(testVNI, "fd00:64::4", nodeB)
	b.state.Routes = map[Route]Location{}
	for prefix, l := range map[string]Location{
		"10.9.0.0/24": {Endpoint: webKey, Identity: someone}, "fd00:9::/64": {Endpoint: webKey, Identity: someone},
		"10.7.0.1/32": {Endpoint: dbKey, Identity: someone}, "fd00:7::1/128": {Endpoint: dbKey, Identity: someone},
		"10.8.0.0/24": {Node: nodeB, Identity: someone}, "fd00:8::/64": {Node: nodeB, Identity: someone},
	} {
		b.state.Routes[Route{testVNI, netip.MustParsePrefix(prefix)}] = l
	}
	b.refill()
	return b
}

// ipv6Packet has traffic class 0xb8, flow label 0x12345 and hop limit 61.
func ipv6Packet(src, dst netip.Addr, next byte, payload []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, 6<<28|0xb8<<20|0x12345)
	b = binary.BigEndian.AppendUint16(b, uint16(len(payload)))
	b = append(append(append(b, next, 61), src.AsSlice()...), dst.AsSlice()...)
	return append(b, payload...)
}

func frame6(packet []byte) []byte { return etherFrame(gatewayMAC, webMAC, 0x86dd, packet) }

// seal6 makes a transport checksum right, ICMPv6's among them.
func seal6(src, dst netip.Addr, protocol byte, segment []byte) []byte {
	return seal(src.AsSlice(), dst.AsSlice(), protocol, segment)
}

func syn6(src, dst netip.Addr, srcPort, dstPort uint16) []byte {
	return ipv6Packet(src, dst, 6, seal6(src, dst, 6, tcpSegment(srcPort, dstPort, flagSYN, "hello!!")))
}

func udp6(src, dst netip.Addr, srcPort, dstPort uint16) []byte {
	return ipv6Packet(src, dst, 17, seal6(src, dst, 17, udpDatagram(srcPort, dstPort, "hello")))
}

func echo6(src, dst netip.Addr, kind byte, id uint16) []byte {
	return ipv6Packet(src, dst, 58, seal6(src, dst, 58, icmpMessage(kind, 0, id, []byte("hello"))))
}

// behind puts extension headers before a packet's transport header: pairs of a
// type and what the header says, its first two bytes left out.
func behind(packet []byte, headers ...extensionHeader) []byte {
	next, payload := packet[6], packet[40:]
	for i := len(headers) - 1; i >= 0; i-- {
		h := headers[i]
		size := byte((len(h.content)+2)/8 - 1)
		switch h.kind {
		case 44:
			size = 0
		case 51:
			size = byte((len(h.content)+2)/4 - 2)
		}
		payload = append(append([]byte{next, size}, h.content...), payload...)
		next = h.kind
	}
	out := append(bytes.Clone(packet[:40]), payload...)
	out[6] = next
	binary.BigEndian.PutUint16(out[4:], uint16(len(payload)))
	return out
}

type extensionHeader struct {
	kind    byte
	content []byte
}

var (
	hopByHop       = extensionHeader{0, []byte{1, 4, 0, 0, 0, 0}}
	destination    = extensionHeader{60, []byte{1, 4, 0, 0, 0, 0}}
	routing        = extensionHeader{43, []byte{4, 0, 0, 0, 0, 0}}
	authentication = extensionHeader{51, make([]byte, 22)}
)

// fragment6 is a fragment header: the offset in bytes, and whether more follow.
func fragment6(offset uint16, more bool, id uint32) extensionHeader {
	if more {
		offset |= 1
	}
	return extensionHeader{44, binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint16(nil, offset), id)}
}

// sealed says whether the transport checksum of an IPv6 packet is right.
func sealed(packet []byte, protocol byte, segment []byte) bool {
	return bytes.Equal(segment, seal(packet[8:24], packet[24:40], protocol, bytes.Clone(segment)))
}

// turned is an overlay packet with its addresses exchanged: what one node sends
// the other as the other would answer it.
func turned(frame []byte) []byte {
	return edit(frame, func(b []byte) { copy(b[22:38], frame[38:54]); copy(b[38:54], frame[22:38]) })
}

// arrived is an IPv6 packet of web's to far as web gets it when turned.
func arrived(packet []byte) []byte {
	got := edit(packet, func(p []byte) { copy(p[8:24], packet[24:40]); copy(p[24:40], packet[8:24]); p[7]-- })
	return etherFrame(webMAC, gatewayMAC, 0x86dd, got)
}
