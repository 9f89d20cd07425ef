package daemon

import (
	"fmt"
	"math"
	"strconv"

	api "edgenet.dev/edgenet/api/edgenet/v1"
	"edgenet.dev/edgenet/internal/records"
	"edgenet.dev/edgenet/pkg/policy"
)

// parseProtocol reads a protocol's name or number.
func parseProtocol(s string) (uint8, error) {
	if n, ok := protocolNumbers[s]; ok {
		return n, nil
	}
	n, err := strconv.ParseUint(s, 10, 8)
	if err != nil {
		return 0, fmt.Errorf("protocol %q: want tcp, udp, sctp, icmp, icmpv6 or a number up to 255", s)
	}
	return uint8(n), nil
}

// firstPacket is the first packet of a flow.
type firstPacket struct {
	policy.Flow
	sourcePort uint16
}

// echoRequests are the types of an echo request.
var echoRequests = map[uint8]uint8{ipICMP: 8, ipICMPv6: 128}

// ephemeral is the source port of a packet for which none was named.
const ephemeral = 49152

// parseTraced reads all of a traced packet but its addresses.
func parseTraced(req *api.TraceRequest) (firstPacket, error) {
	var p firstPacket
	protocol, err := parseProtocol(req.GetProtocol())
	if err != nil {
		return p, err
	}
	p.Protocol = protocol
	if !hasPorts(protocol) && (req.GetPort() != 0 || req.GetSourcePort() != 0) {
		return p, fmt.Errorf("protocol %s has no ports", req.GetProtocol())
	}
	if !isICMP(protocol) && (req.IcmpType != nil || req.GetIcmpCode() != 0) {
		return p, fmt.Errorf("protocol %s has no ICMP type and code", req.GetProtocol())
	}
	switch {
	case isICMP(protocol):
		kind := uint32(echoRequests[protocol])
		if req.IcmpType != nil {
			kind = req.GetIcmpType()
		}
		if kind > math.MaxUint8 || req.GetIcmpCode() > math.MaxUint8 {
			return p, fmt.Errorf("ICMP type %d, code %d: want 0 to 255", kind, req.GetIcmpCode())
		}
		p.Port = policy.ICMPPort(uint8(kind), uint8(req.GetIcmpCode()))
	case hasPorts(protocol):
		if req.GetPort() == 0 || req.GetPort() > math.MaxUint16 {
			return p, fmt.Errorf("port %d: want 1 to 65535", req.GetPort())
		}
		if req.GetSourcePort() > math.MaxUint16 {
			return p, fmt.Errorf("source port %d: want 1 to 65535", req.GetSourcePort())
		}
		p.Port, p.sourcePort = uint16(req.GetPort()), uint16(req.GetSourcePort())
		if p.sourcePort == 0 {
			p.sourcePort = ephemeral
		}
	}
	return p, nil
}

// api is the packet in the API's words.
func (p firstPacket) api() *api.TracedPacket {
	out := &api.TracedPacket{
		Source: p.Source.String(), Destination: p.Destination.String(), Protocol: formatProtocol(p.Protocol),
		SourcePort: uint32(p.sourcePort),
	}
	if isICMP(p.Protocol) {
		out.Icmp = formatICMP(p.Port)
	} else {
		out.Port = uint32(p.Port)
	}
	return out
}

// parsePacket is the twin of api. It comes from another node.
func parsePacket(in *api.TracedPacket) (firstPacket, error) {
	var p firstPacket
	var err error
	if p.Source, err = records.ParseAddress(in.GetSource()); err != nil {
		return p, fmt.Errorf("source: %w", err)
	}
	if p.Destination, err = records.ParseAddress(in.GetDestination()); err != nil {
		return p, fmt.Errorf("destination: %w", err)
	}
	if p.Protocol, err = parseProtocol(in.GetProtocol()); err != nil {
		return p, err
	}
	if in.GetPort() > math.MaxUint16 || in.GetSourcePort() > math.MaxUint16 {
		return p, fmt.Errorf("port %d, source port %d: want at most 65535", in.GetPort(), in.GetSourcePort())
	}
	p.Port, p.sourcePort = uint16(in.GetPort()), uint16(in.GetSourcePort())
	if isICMP(p.Protocol) {
		icmp, err := policy.ParseICMP(in.GetIcmp())
		if err != nil || !icmp.HasCode {
			return p, fmt.Errorf("ICMP type and code %q: want for instance 8/0", in.GetIcmp())
		}
		p.Port = policy.ICMPPort(icmp.Type, icmp.Code)
	}
	return p, nil
}
