package wgcrowd

import (
	"encoding/binary"
	"net/netip"
)

// Sizes and numbers of IPv6 (RFC 8200) and ICMPv6 (RFC 4443), in bytes.
const (
	headerSize   = 40
	echoSize     = 8
	typeRequest  = 128
	typeReply    = 129
	protocolICMP = 58
	hopLimit     = 64
)

// echoRequest is an IPv6 packet of a size in bytes, at least that of its headers.
func echoRequest(from, to netip.Addr, size int) []byte {
	packet := make([]byte, max(size, headerSize+echoSize))
	packet[0] = 6 << 4
	binary.BigEndian.PutUint16(packet[4:], uint16(len(packet)-headerSize))
	packet[6], packet[7] = protocolICMP, hopLimit
	copy(packet[8:], from.AsSlice())
	copy(packet[24:], to.AsSlice())
	packet[headerSize] = typeRequest
	binary.BigEndian.PutUint16(packet[headerSize+2:], checksum(packet))
	return packet
}

// checksum is the one that ICMPv6 has over its message and a pseudo header
// (RFC 4443, section 2.3): the addresses, the length and the protocol.
func checksum(packet []byte) uint16 {
	sum := uint32(len(packet)-headerSize) + protocolICMP
	for i := 8; i+1 < len(packet); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(packet[i:]))
	}
	if len(packet)%2 != 0 {
		sum += uint32(packet[len(packet)-1]) << 8
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// isEchoReply tells an answer from what the kernel sends by itself.
func isEchoReply(packet []byte) bool {
	return len(packet) >= headerSize+echoSize && packet[6] == protocolICMP && packet[headerSize] == typeReply
}
