package isolation

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"
)

const (
	// probeHops is far from running out.
	probeHops = 64
	// probePayload makes a packet long enough for BPF_PROG_TEST_RUN.
	probePayload = 32
	flagsSYN     = 2
)

// packet is the IP packet of a probe. Its transport checksum is left out: nobody
// looks at it before it would be sent.
func (p *Probe) packet() []byte {
	segment := p.segment()
	if p.Source.Is6() {
		return append(p.header6(p.Source, p.Destination, p.Protocol, len(segment)), segment...)
	}
	b := []byte{0x45, 0, 0, 0, 0, 0, 0x40, 0, probeHops, p.Protocol, 0, 0}
	binary.BigEndian.PutUint16(b[2:], uint16(ipv4Header+len(segment)))
	b = append(append(b, p.Source.AsSlice()...), p.Destination.AsSlice()...)
	binary.BigEndian.PutUint16(b[10:], checksum(b))
	return append(b, segment...)
}

// header6 is an IPv6 header.
func (p *Probe) header6(source, destination netip.Addr, next uint8, payload int) []byte {
	b := []byte{0x60, 0, 0, 0, 0, 0, next, probeHops}
	binary.BigEndian.PutUint16(b[4:], uint16(payload))
	return append(append(b, source.AsSlice()...), destination.AsSlice()...)
}

// segment is what is behind the IP header: the beginning of a flow.
func (p *Probe) segment() []byte {
	b := make([]byte, probePayload)
	switch p.Protocol {
	case unix.IPPROTO_TCP:
		b[12], b[13] = 5<<4, flagsSYN
	case unix.IPPROTO_UDP:
		binary.BigEndian.PutUint16(b[4:], probePayload)
	case unix.IPPROTO_SCTP:
	case unix.IPPROTO_ICMP, unix.IPPROTO_ICMPV6:
		b[0], b[1] = p.Type, p.Code
		binary.BigEndian.PutUint16(b[4:], p.SourcePort)
		return b
	default:
		return b
	}
	binary.BigEndian.PutUint16(b, p.SourcePort)
	binary.BigEndian.PutUint16(b[2:], p.DestinationPort)
	return b
}

// overlay is the packet as a tunnel brings it, behind the Ethernet header that
// BPF_PROG_TEST_RUN wants.
func (p *Probe) overlay(node netip.Prefix) []byte {
	source, destination := p.Node.Addr().As16(), node.Addr().As16()
	kind := byte(edgenetKindTenant4)
	inside, next := p.segment(), p.Protocol
	if p.Source.Is6() {
		kind, inside, next = edgenetKindWhole6, p.packet(), unix.IPPROTO_IPV6
	}
	for _, end := range []struct {
		overlay *[16]byte
		tenant  netip.Addr
	}{{&source, p.Source}, {&destination, p.Destination}} {
		binary.BigEndian.PutUint32(end.overlay[8:], uint32(kind)<<24|p.VNI)
		if end.tenant.Is4() {
			copy(end.overlay[12:], end.tenant.AsSlice())
		}
	}
	b := make([]byte, etherHeader)
	binary.BigEndian.PutUint16(b[12:], unix.ETH_P_IPV6)
	b = append(b, p.header6(netip.AddrFrom16(source), netip.AddrFrom16(destination), next, len(inside))...)
	return append(b, inside...)
}

// checksum is the Internet checksum (RFC 1071) of an even number of bytes.
func checksum(b []byte) uint16 {
	var sum uint32
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
