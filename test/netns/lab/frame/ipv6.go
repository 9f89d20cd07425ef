package frame

import (
	"encoding/binary"
	"net"
	"net/netip"
)

// Extension headers, by the protocol number that leads to them (RFC 8200).
const (
	ProtoHopByHop    = 0
	ProtoRouting     = 43
	ProtoFragment    = 44
	ProtoDestination = 60
)

// IPv6 puts a header without extensions before a payload.
func IPv6(src, dst netip.Addr, next uint8, payload []byte) []byte {
	return ipv6(src, dst, next, 64, payload)
}

func ipv6(src, dst netip.Addr, next, hops uint8, payload []byte) []byte {
	bytes := make([]byte, 40, 40+len(payload))
	bytes[0] = 0x60
	binary.BigEndian.PutUint16(bytes[4:], uint16(len(payload)))
	bytes[6], bytes[7] = next, hops
	copy(bytes[8:24], src.AsSlice())
	copy(bytes[24:40], dst.AsSlice())
	return append(bytes, payload...)
}

// Options6 puts an empty options header, hop-by-hop or for the destination,
// before what it leads to.
func Options6(next uint8, payload []byte) []byte {
	return append([]byte{next, 0, 1, 4, 0, 0, 0, 0}, payload...)
}

// Routing6 puts a routing header of type 0 that names one more station before
// what it leads to.
func Routing6(next uint8, station netip.Addr, payload []byte) []byte {
	bytes := append([]byte{next, 2, 0, 1, 0, 0, 0, 0}, station.AsSlice()...)
	return append(bytes, payload...)
}

// Fragment6 puts a fragment header before a piece. The offset is in bytes, a
// multiple of 8.
func Fragment6(next uint8, offset uint16, more bool, id uint32, piece []byte) []byte {
	word := offset
	if more {
		word |= 1
	}
	bytes := binary.BigEndian.AppendUint16([]byte{next, 0}, word)
	return append(binary.BigEndian.AppendUint32(bytes, id), piece...)
}

// Advertisement is a whole packet in which src says to dst that target is at the
// MAC, whatever was known before (RFC 4861, section 4.4).
func Advertisement(src, dst, target netip.Addr, mac net.HardwareAddr) []byte {
	body := append([]byte{0x20, 0, 0, 0}, target.AsSlice()...)
	return discovery(src, dst, 136, append(append(body, 2, 1), mac...))
}

// Solicitation is a whole packet in which src asks dst for the MAC of target, and
// says that its own is this (section 4.3).
func Solicitation(src, dst, target netip.Addr, mac net.HardwareAddr) []byte {
	body := append([]byte{0, 0, 0, 0}, target.AsSlice()...)
	return discovery(src, dst, 135, append(append(body, 1, 1), mac...))
}

// RouterAdvertisement is a whole packet in which src says to dst that it is the
// router for the next half hour, at the MAC (section 4.2).
func RouterAdvertisement(src, dst netip.Addr, mac net.HardwareAddr) []byte {
	body := []byte{64, 0, 0x07, 0x08, 0, 0, 0, 0, 0, 0, 0, 0}
	return discovery(src, dst, 134, append(append(body, 1, 1), mac...))
}

// Redirect is a whole packet in which src says to dst that the way to target is by
// the station (section 4.5).
func Redirect(src, dst, station, target netip.Addr) []byte {
	body := append([]byte{0, 0, 0, 0}, station.AsSlice()...)
	return discovery(src, dst, 137, append(body, target.AsSlice()...))
}

// discovery is a message of neighbour discovery: its hop limit proves that no
// router has passed it on.
func discovery(src, dst netip.Addr, kind uint8, body []byte) []byte {
	bytes := append([]byte{kind, 0, 0, 0}, body...)
	binary.BigEndian.PutUint16(bytes[2:], transportSum(src, dst, ProtoICMPv6, bytes))
	return ipv6(src, dst, ProtoICMPv6, 255, bytes)
}
