package frame

import (
	"encoding/binary"
	"net"
	"net/netip"
)

// EtherTypes and protocol numbers, as IANA lists them.
const (
	TypeIPv4 = 0x0800
	TypeARP  = 0x0806
	TypeIPv6 = 0x86dd

	ProtoICMP   = 1
	ProtoIPIP   = 4
	ProtoTCP    = 6
	ProtoUDP    = 17
	ProtoIPv6   = 41
	ProtoGRE    = 47
	ProtoICMPv6 = 58
)

// GatewayMAC is the address of every VPC's gateway.
var GatewayMAC = net.HardwareAddr{0x02, 0x65, 0x6e, 0x00, 0x00, 0x01}

// Broadcast is the Ethernet broadcast address.
var Broadcast = net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// Ethernet puts a header before a payload.
func Ethernet(to, from net.HardwareAddr, etherType uint16, payload []byte) []byte {
	bytes := append([]byte(nil), to...)
	bytes = append(bytes, from...)
	bytes = binary.BigEndian.AppendUint16(bytes, etherType)
	return append(bytes, payload...)
}

// IPv4 is a header; the rest follows from the payload.
type IPv4 struct {
	Src, Dst netip.Addr
	Protocol uint8
	// FragmentWord is flags and offset as on the wire; 0 means a whole packet
	// that may be cut.
	FragmentWord uint16
	// ID tells the fragments of one packet from those of others.
	ID uint16
	// Options as on the wire, a multiple of 4 bytes and at most 40.
	Options []byte
}

// Packet puts the header before a payload.
func (h IPv4) Packet(payload []byte) []byte {
	header := 20 + len(h.Options)
	bytes := make([]byte, 20, header+len(payload))
	bytes[0] = 0x40 | uint8(header/4)
	binary.BigEndian.PutUint16(bytes[2:], uint16(header+len(payload)))
	binary.BigEndian.PutUint16(bytes[4:], h.ID)
	binary.BigEndian.PutUint16(bytes[6:], h.FragmentWord)
	bytes[8], bytes[9] = 64, h.Protocol
	copy(bytes[12:16], h.Src.AsSlice())
	copy(bytes[16:20], h.Dst.AsSlice())
	bytes = append(bytes, h.Options...)
	binary.BigEndian.PutUint16(bytes[10:], fold(sum(0, bytes)))
	return append(bytes, payload...)
}

// UDP is a datagram with its checksum, for either family.
func UDP(src, dst netip.AddrPort, payload []byte) []byte {
	bytes := make([]byte, 8, 8+len(payload))
	binary.BigEndian.PutUint16(bytes[0:], src.Port())
	binary.BigEndian.PutUint16(bytes[2:], dst.Port())
	binary.BigEndian.PutUint16(bytes[4:], uint16(8+len(payload)))
	bytes = append(bytes, payload...)
	binary.BigEndian.PutUint16(bytes[6:], transportSum(src.Addr(), dst.Addr(), ProtoUDP, bytes))
	return bytes
}

// Flags of a TCP segment (RFC 9293, section 3.1).
const (
	FlagFIN = 0x01
	FlagSYN = 0x02
	FlagRST = 0x04
	FlagACK = 0x10
)

// TCP is a header without options; the rest follows from the payload.
type TCP struct {
	Src, Dst netip.AddrPort
	Flags    uint8
	// Sequence and Ack are the numbers of the first byte sent and expected.
	Sequence, Ack uint32
}

// Segment puts the header before a payload, with the checksum for either
// family.
func (h TCP) Segment(payload []byte) []byte {
	bytes := make([]byte, 20, 20+len(payload))
	binary.BigEndian.PutUint16(bytes[0:], h.Src.Port())
	binary.BigEndian.PutUint16(bytes[2:], h.Dst.Port())
	binary.BigEndian.PutUint32(bytes[4:], h.Sequence)
	binary.BigEndian.PutUint32(bytes[8:], h.Ack)
	bytes[12], bytes[13] = 5<<4, h.Flags
	binary.BigEndian.PutUint16(bytes[14:], 64240)
	bytes = append(bytes, payload...)
	binary.BigEndian.PutUint16(bytes[16:], transportSum(h.Src.Addr(), h.Dst.Addr(), ProtoTCP, bytes))
	return bytes
}

// TCPSyn is the first segment of a connection, with its checksum.
func TCPSyn(src, dst netip.AddrPort) []byte {
	return TCP{Src: src, Dst: dst, Flags: FlagSYN, Sequence: 0x65646765}.Segment(nil)
}

// VXLAN puts a VXLAN header before a frame.
func VXLAN(vni uint32, inner []byte) []byte {
	bytes := make([]byte, 8, 8+len(inner))
	bytes[0] = 0x08
	binary.BigEndian.PutUint32(bytes[4:], vni<<8)
	return append(bytes, inner...)
}

// ARP operations.
const (
	ARPRequest = 1
	ARPReply   = 2
)

// ARP is an ARP message for IPv4 over Ethernet.
func ARP(operation uint16, senderMAC net.HardwareAddr, sender netip.Addr, target netip.Addr) []byte {
	bytes := []byte{0, 1, 8, 0, 6, 4}
	bytes = binary.BigEndian.AppendUint16(bytes, operation)
	bytes = append(bytes, senderMAC...)
	bytes = append(bytes, sender.AsSlice()...)
	bytes = append(bytes, 0, 0, 0, 0, 0, 0)
	return append(bytes, target.AsSlice()...)
}

// transportSum is the checksum of a segment with its pseudo header. A zero is
// sent as all ones (RFC 768).
func transportSum(src, dst netip.Addr, protocol uint8, segment []byte) uint16 {
	total := sum(0, src.AsSlice())
	total = sum(total, dst.AsSlice())
	total += uint32(protocol) + uint32(len(segment))
	if result := fold(sum(total, segment)); result != 0 {
		return result
	}
	return 0xffff
}

// sum adds bytes as 16-bit words (RFC 1071).
func sum(total uint32, bytes []byte) uint32 {
	for ; len(bytes) > 1; bytes = bytes[2:] {
		total += uint32(binary.BigEndian.Uint16(bytes))
	}
	if len(bytes) == 1 {
		total += uint32(bytes[0]) << 8
	}
	return total
}

func fold(total uint32) uint16 {
	for total>>16 != 0 {
		total = total&0xffff + total>>16
	}
	return ^uint16(total)
}
