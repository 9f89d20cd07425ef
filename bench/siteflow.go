package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"

	"edgenet.dev/edgenet/bench/progrun"
	"edgenet.dev/edgenet/pkg/isolation"
	"edgenet.dev/edgenet/pkg/policy"
	"edgenet.dev/edgenet/test/netns/lab/frame"
)

// siteFlow is a TCP connection between a site's container and a remote host.
type siteFlow struct {
	// direction is in which it begins, as the container sees it.
	direction policy.Direction
	door
	// source is the port of the side that begins.
	source uint16
}

// The first sequence numbers of the two sides of every connection.
const (
	callerISN uint32 = 1000
	calledISN uint32 = 70000
)

// sitePacket is a packet and the program that gets it.
type sitePacket struct {
	program *progrun.Program
	ifindex uint32
	bytes   []byte
}

// syn opens the connection.
func (s *site) syn(f siteFlow) sitePacket {
	return s.packet(f, true, frame.TCP{Flags: frame.FlagSYN, Sequence: callerISN}, nil)
}

// data is a small packet of an open connection, from who began it.
func (s *site) data(f siteFlow) sitePacket {
	const flags = frame.FlagACK
	return s.packet(f, true, frame.TCP{Flags: flags, Sequence: callerISN + 1, Ack: calledISN + 1}, make([]byte, 32))
}

// establish takes a connection through its handshake.
func (s *site) establish(f siteFlow) error {
	const synAck = frame.FlagSYN | frame.FlagACK
	for _, packet := range []sitePacket{
		s.syn(f),
		s.packet(f, false, frame.TCP{Flags: synAck, Sequence: calledISN, Ack: callerISN + 1}, nil),
		s.packet(f, true, frame.TCP{Flags: frame.FlagACK, Sequence: callerISN + 1, Ack: calledISN + 1}, nil),
	} {
		if _, err := packet.pass(); err != nil {
			return fmt.Errorf("establish %+v: %w", f, err)
		}
	}
	return nil
}

// packet is one of the connection's, from the side that began it or from the
// other: out of the container, or out of the tunnel.
func (s *site) packet(f siteFlow, fromCaller bool, segment frame.TCP, payload []byte) sitePacket {
	own, far := s.load.own, f.peer
	ownPort, farPort := f.source, f.port
	if f.direction == policy.Ingress {
		ownPort, farPort = f.port, f.source
	}
	if fromCaller == (f.direction == policy.Egress) {
		segment.Src, segment.Dst = netip.AddrPortFrom(own, ownPort), netip.AddrPortFrom(far, farPort)
		packet := frame.IPv4{Src: own, Dst: far, Protocol: frame.ProtoTCP}.Packet(segment.Segment(payload))
		return sitePacket{
			s.programs["from_endpoint"], s.ifindex,
			frame.Ethernet(frame.GatewayMAC, siteMAC, frame.TypeIPv4, packet),
		}
	}
	from, to := overlay(farPrefix, s.load.vni, far), overlay(sitePrefix, s.load.vni, own)
	segment.Src, segment.Dst = netip.AddrPortFrom(from, farPort), netip.AddrPortFrom(to, ownPort)
	packet := frame.IPv6(from, to, frame.ProtoTCP, segment.Segment(payload))
	return sitePacket{s.programs["from_tunnel"], 1, frame.Ethernet(siteMAC, frame.GatewayMAC, frame.TypeIPv6, packet)}
}

// forgetUnanswered has the datapath forget the UDP flows that nobody answered.
func (s *site) forgetUnanswered(ctx context.Context) error {
	return s.within(func() error {
		_, err := s.datapath.FlushFlows(ctx, isolation.FlowFilter{State: "udp-unreplied"})
		return err
	})
}

// overlay is where a tenant's IPv4 address is on the overlay
// (docs/architecture.md).
func overlay(node netip.Prefix, vni uint32, tenant netip.Addr) netip.Addr {
	const kindTenant4 = 1
	bytes := node.Addr().As16()
	binary.BigEndian.PutUint32(bytes[8:], kindTenant4<<24|vni)
	copy(bytes[12:], tenant.AsSlice())
	return netip.AddrFrom16(bytes)
}

// pass runs the program on the packet, which it has to let through, and returns
// the nanoseconds that it took.
func (p sitePacket) pass() (float64, error) {
	verdict, took, err := p.program.Run(p.bytes, p.ifindex)
	if err != nil {
		return 0, err
	}
	if verdict != progrun.Redirect {
		return 0, fmt.Errorf("the datapath returned %d for a packet that it should let through", verdict)
	}
	return float64(took.Nanoseconds()), nil
}
