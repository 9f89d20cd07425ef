package isolation

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"

	"edgenet.dev/edgenet/pkg/policy"
)

const (
	etherHeader = 14
	ipv4Header  = 20
	ipv6Header  = 40
	// mostExtensions is how many headers are looked behind.
	mostExtensions = 8
)

// read finds in the beginning of a packet, which may be anything, who it was
// from and for. link is the length of its link header.
func (e *Event) read(packet []byte, link int) {
	if len(packet) <= link {
		return
	}
	// What comes out of a tunnel is IP, also where its header does not say so.
	if link == etherHeader && e.Direction != policy.Ingress {
		switch binary.BigEndian.Uint16(packet[12:]) {
		case unix.ETH_P_IP, unix.ETH_P_IPV6:
		default:
			return
		}
	}
	e.readIP(packet[link:])
}

// linkOf is how long the link header of a packet of a tunnel is: none, unless there
// is a whole packet behind one.
func linkOf(packet []byte, length int) int {
	if len(packet) < etherHeader+ipv6Header {
		return 0
	}
	b := packet[etherHeader:]
	if b[0]>>4 == 6 && etherHeader+ipv6Header+int(binary.BigEndian.Uint16(b[4:])) == length {
		return etherHeader
	}
	return 0
}

func (e *Event) readIP(b []byte) {
	switch {
	case b[0]>>4 == 4 && len(b) >= ipv4Header:
		e.readIPv4(b)
	case b[0]>>4 == 6 && len(b) >= ipv6Header:
		e.readIPv6(b)
	}
}

func (e *Event) readIPv4(b []byte) {
	e.Source, e.Destination = addr4(b[12:]), addr4(b[16:])
	e.Protocol = b[9]
	header := int(b[0]&15) * 4
	if header >= ipv4Header && header <= len(b) && binary.BigEndian.Uint16(b[6:])&0x1fff == 0 {
		e.readPorts(b[header:])
	}
}

func (e *Event) readIPv6(b []byte) {
	source, destination := addr6(b[8:]), addr6(b[24:])
	e.Source, e.Destination, e.Protocol = source, destination, b[6]
	b = b[ipv6Header:]
	if inside, ok := overlayIPv4(source, destination); ok {
		e.Source, e.Destination = inside[0], inside[1]
		// Of what is not whole the protocol stands elsewhere.
		if kindOf(source) == edgenetKindTenant4 {
			e.readPorts(b)
		}
		return
	}
	for range mostExtensions {
		switch e.Protocol {
		case unix.IPPROTO_HOPOPTS, unix.IPPROTO_ROUTING, unix.IPPROTO_DSTOPTS, unix.IPPROTO_FRAGMENT:
		case unix.IPPROTO_IPV6:
			if len(b) >= ipv6Header && b[0]>>4 == 6 {
				e.Source, e.Destination, e.Protocol = addr6(b[8:]), addr6(b[24:]), b[6]
				b = b[ipv6Header:]
				continue
			}
			return
		default:
			e.readPorts(b)
			return
		}
		length := 8
		if len(b) >= 2 && e.Protocol != unix.IPPROTO_FRAGMENT {
			length = (int(b[1]) + 1) * 8
		}
		if len(b) < length || (e.Protocol == unix.IPPROTO_FRAGMENT && binary.BigEndian.Uint16(b[2:])&^7 != 0) {
			return
		}
		e.Protocol, b = b[0], b[length:]
	}
}

func (e *Event) readPorts(b []byte) {
	switch e.Protocol {
	case unix.IPPROTO_TCP, unix.IPPROTO_UDP, unix.IPPROTO_SCTP:
		if len(b) >= 4 {
			e.SourcePort, e.DestinationPort = binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
		}
	case unix.IPPROTO_ICMP, unix.IPPROTO_ICMPV6:
		if len(b) >= 6 {
			e.SourcePort, e.DestinationPort = binary.BigEndian.Uint16(b[4:]), binary.BigEndian.Uint16(b[4:])
		}
	}
}

// The kinds of an overlay address that hold a tenant's IPv4 address: KIND_TENANT4
// and KIND_OPTIONS4 in bpf/types.h, the latter with up to ten words of options.
const (
	edgenetKindTenant4  = 0x01
	edgenetKindOptions4 = 0x10
	// KIND_WHOLE6: an IPv6 packet with its header.
	edgenetKindWhole6 = 0x03
)

// overlayIPv4 are the tenant's addresses in the overlay's, if it is IPv4.
func overlayIPv4(source, destination netip.Addr) (addrs [2]netip.Addr, ok bool) {
	s, d := source.As16(), destination.As16()
	kind := kindOf(destination)
	if s[0] != 0xfd || d[0] != 0xfd || kindOf(source) != kind {
		return addrs, false
	}
	if kind != edgenetKindTenant4 && (kind < edgenetKindOptions4 || kind > edgenetKindOptions4+10) {
		return addrs, false
	}
	return [2]netip.Addr{addr4(s[12:]), addr4(d[12:])}, true
}

// kindOf is the kind of an overlay address, whichever half of its node's /64 it is
// in.
func kindOf(addr netip.Addr) byte { return addr.As16()[8] &^ upperBit }

// upperBit tells the halves of a /64 apart, in the first byte behind it: UPPER in
// bpf/parse.h.
const upperBit = 0x80

func addr4(b []byte) netip.Addr { return netip.AddrFrom4([4]byte(b[:4])) }

func addr6(b []byte) netip.Addr { return netip.AddrFrom16([16]byte(b[:16])) }
