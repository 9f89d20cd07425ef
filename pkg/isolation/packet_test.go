package isolation

import (
	"encoding/binary"
	"net/netip"
)

// The packets of the tests are made by hand, byte by byte.

var (
	webAddr = netip.MustParseAddr("10.0.0.2")
	dbAddr  = netip.MustParseAddr("10.0.0.3")
	farAddr = netip.MustParseAddr("10.0.0.4")
	webMAC  = mustMAC("0a:00:00:00:00:02")
	dbMAC   = mustMAC("0a:00:00:00:00:03")
)

// sum is the Internet checksum's sum (RFC 1071), not inverted.
func sum(start uint32, b []byte) uint32 {
	for len(b) > 1 {
		start += uint32(binary.BigEndian.Uint16(b))
		b = b[2:]
	}
	if len(b) == 1 {
		start += uint32(b[0]) << 8
	}
	for start > 0xffff {
		start = start>>16 + start&0xffff
	}
	return start
}

// ipv4 is an IPv4 packet: DF set, identification 0.
func ipv4Packet(src, dst netip.Addr, protocol byte, payload []byte) []byte {
	s, d := src.As4(), dst.As4()
	h := []byte{0x45, 0xb8, 0, 0, 0, 0, 0x40, 0, 61, protocol, 0, 0}
	h = append(append(h, s[:]...), d[:]...)
	binary.BigEndian.PutUint16(h[2:], uint16(20+len(payload)))
	resum(h)
	return append(h, payload...)
}

// resum makes an IPv4 header's checksum right.
func resum(h []byte) {
	h[10], h[11] = 0, 0
	binary.BigEndian.PutUint16(h[10:], ^uint16(sum(0, h[:int(h[0]&15)*4])))
}

// pseudo is the sum of a pseudo header.
func pseudo(src, dst []byte, protocol byte, length int) uint32 {
	return sum(sum(sum(uint32(protocol), src), dst), binary.BigEndian.AppendUint32(nil, uint32(length)))
}

// checksumAt is where the transport checksum is, -1 if there is none with a
// pseudo header.
func checksumAt(protocol byte) int {
	switch protocol {
	case 6:
		return 16
	case 17, 33, 136:
		return 6
	case 58:
		return 2
	default:
		return -1
	}
}

// seal makes the transport checksum right for addresses of either family.
func seal(src, dst []byte, protocol byte, segment []byte) []byte {
	at := checksumAt(protocol)
	if at < 0 {
		return segment
	}
	segment[at], segment[at+1] = 0, 0
	c := ^uint16(sum(pseudo(src, dst, protocol, len(segment)), segment))
	binary.BigEndian.PutUint16(segment[at:], c)
	return segment
}

func seal4(src, dst netip.Addr, protocol byte, segment []byte) []byte {
	return seal(src.AsSlice(), dst.AsSlice(), protocol, segment)
}

const (
	flagFIN = 1
	flagSYN = 2
	flagRST = 4
	flagACK = 16
)

// tcpSegment is of a connection in which both sides begin with the same number
// and confirm no more than each other's SYN.
func tcpSegment(src, dst uint16, flags byte, content string) []byte {
	return tcpSegmentAt(src, dst, flags, 0x01020304, 0x01020305, content)
}

func tcpSegmentAt(src, dst uint16, flags byte, sequence, ack uint32, content string) []byte {
	b := binary.BigEndian.AppendUint16(nil, src)
	b = binary.BigEndian.AppendUint16(b, dst)
	b = binary.BigEndian.AppendUint32(b, sequence)
	b = binary.BigEndian.AppendUint32(b, ack)
	b = append(b, 5<<4, flags, 0xff, 0xff, 0, 0, 0, 0)
	return append(b, content...)
}

func udpDatagram(src, dst uint16, content string) []byte {
	b := binary.BigEndian.AppendUint16(nil, src)
	b = binary.BigEndian.AppendUint16(b, dst)
	b = binary.BigEndian.AppendUint16(b, uint16(8+len(content)))
	return append(append(b, 0, 0), content...)
}

func icmpMessage(kind, code byte, id uint16, content []byte) []byte {
	b := []byte{kind, code, 0, 0}
	b = binary.BigEndian.AppendUint16(b, id)
	b = append(append(b, 0, 1), content...)
	binary.BigEndian.PutUint16(b[2:], ^uint16(sum(0, b)))
	return b
}

func etherFrame(dst, src []byte, kind uint16, payload []byte) []byte {
	b := append(append([]byte{}, dst...), src...)
	return append(binary.BigEndian.AppendUint16(b, kind), payload...)
}

// tcp4, udp4 and echo4 are frames from web to the gateway.
func tcp4(dst netip.Addr, srcPort, dstPort uint16, flags byte) []byte {
	return frame4(ipv4Packet(webAddr, dst, 6, seal4(webAddr, dst, 6, tcpSegment(srcPort, dstPort, flags, "hello!!"))))
}

func udp4(dst netip.Addr, srcPort, dstPort uint16) []byte {
	return frame4(ipv4Packet(webAddr, dst, 17, seal4(webAddr, dst, 17, udpDatagram(srcPort, dstPort, "hello"))))
}

func echo4(dst netip.Addr, kind byte, id uint16) []byte {
	return frame4(ipv4Packet(webAddr, dst, 1, icmpMessage(kind, 0, id, []byte("hello"))))
}

func frame4(packet []byte) []byte { return etherFrame(gatewayMAC, webMAC, 0x0800, packet) }

// overlayAddr is where an address of a VPC is on a node.
func overlayAddr(node netip.Prefix, kind byte, vni uint32, addr netip.Addr) []byte {
	b := node.Addr().As16()
	binary.BigEndian.PutUint32(b[8:], uint32(kind)<<24|vni)
	if addr.IsValid() {
		a := addr.As4()
		copy(b[12:], a[:])
	}
	return b[:]
}

// overlay is an IPv6 packet behind an Ethernet header, which tunnels lack and
// BPF_PROG_TEST_RUN cannot do without.
func overlay(src, dst []byte, protocol byte, segment []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, 6<<28|0xb8<<20)
	b = binary.BigEndian.AppendUint16(b, uint16(len(segment)))
	b = append(append(append(b, protocol, 61), src...), dst...)
	return etherFrame(make([]byte, 6), make([]byte, 6), 0x86dd, append(b, segment...))
}

// fromFar is a packet of the tenant's at farAddr on node b to web.
func fromFar(protocol byte, segment []byte) []byte {
	src, dst := overlayAddr(nodeB, 1, testVNI, farAddr), overlayAddr(nodeA, 1, testVNI, webAddr)
	return overlay(src, dst, protocol, seal(src, dst, protocol, segment))
}

func arpFrame(operation uint16, srcMAC, senderMAC []byte, sender, target netip.Addr) []byte {
	b := binary.BigEndian.AppendUint16([]byte{0, 1, 8, 0, 6, 4}, operation)
	b = append(append(b, senderMAC...), sender.AsSlice()...)
	b = append(append(b, 0, 0, 0, 0, 0, 0), target.AsSlice()...)
	return etherFrame([]byte{255, 255, 255, 255, 255, 255}, srcMAC, 0x0806, b)
}
