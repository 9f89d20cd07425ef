package policy

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Flow is the first packet of a flow within one VPC.
type Flow struct {
	Source, Destination netip.Addr
	// Protocol is the IP protocol number.
	Protocol uint8
	// Port is the destination port of TCP and UDP, and for ICMP what [ICMPPort]
	// makes of type and code; other protocols have none.
	Port uint16
}

// String is the flow in one line, for instance
// "tcp 10.0.0.2 -> 10.0.0.3 port 80".
func (f Flow) String() string {
	route := fmt.Sprintf("%s -> %s", f.Source, f.Destination)
	switch f.Protocol {
	case protoTCP:
		return fmt.Sprintf("tcp %s port %d", route, f.Port)
	case protoUDP:
		return fmt.Sprintf("udp %s port %d", route, f.Port)
	case protoICMP:
		return fmt.Sprintf("icmp %s type %d code %d", route, f.Port>>8, f.Port&0xff)
	default:
		return fmt.Sprintf("protocol %d %s", f.Protocol, route)
	}
}

// Verdict is what one side's groups say of a flow.
type Verdict struct {
	Allowed bool
	// Rule permits the flow; it is zero if none does, and for the default that
	// lets everything out.
	Rule RuleRef
	// Why says it in a sentence without a full stop.
	Why string
}

// Explanation is what becomes of a flow.
type Explanation struct {
	// Allowed is true if both sides allow it.
	Allowed bool
	// Egress is the verdict of the source's groups, Ingress of the destination's.
	Egress, Ingress Verdict
}

// String is the explanation in one line.
func (e Explanation) String() string {
	word := "dropped"
	if e.Allowed {
		word = "allowed"
	}
	return fmt.Sprintf("%s: egress: %s; ingress: %s", word, e.Egress.Why, e.Ingress.Why)
}

// Explain tells what becomes of a flow, rule by rule, as the text of the rules
// says it. It is written for being right and not for being fast, and shares
// nothing with [Compile]. A VPC that is not valid has no meaning here.
func (v VPC) Explain(f Flow) Explanation {
	source, knownSource := v.host(f.Source)
	destination, knownDestination := v.host(f.Destination)
	e := Explanation{
		Egress:  Verdict{Why: fmt.Sprintf("%s is no address of this VPC's endpoints", f.Source)},
		Ingress: Verdict{Why: fmt.Sprintf("%s is no address of this VPC's endpoints", f.Destination)},
	}
	if knownSource && knownDestination {
		e.Egress = v.judge(source, destination, Egress, f)
		e.Ingress = v.judge(destination, source, Ingress, f)
	}
	if knownSource && !knownDestination {
		e.Egress.Why = e.Ingress.Why
	}
	if knownDestination && !knownSource {
		e.Ingress.Why = e.Egress.Why
	}
	e.Allowed = e.Egress.Allowed && e.Ingress.Allowed
	return e
}

func (v VPC) host(addr netip.Addr) (Host, bool) {
	i := slices.IndexFunc(v.Hosts, func(h Host) bool { return h.Addr == addr })
	if i < 0 {
		return Host{}, false
	}
	return v.Hosts[i], true
}

// judge is the verdict of one side, own, on a flow with the other.
func (v VPC) judge(own, other Host, dir Direction, f Flow) Verdict {
	var (
		asked   int
		permit  RuleRef
		because Rule
	)
	for _, g := range v.Groups {
		if !slices.Contains(own.Groups, g.Name) {
			continue
		}
		for _, r := range g.Rules {
			if r.Direction != dir {
				continue
			}
			asked++
			if !r.permits(f) || !v.isPeer(r.Peer, other) {
				continue
			}
			if ref := (RuleRef{Group: g.Name, ID: r.ID()}); permit == (RuleRef{}) || ref.before(permit) {
				permit, because = ref, r
			}
		}
	}
	switch {
	case permit != RuleRef{}:
		why := fmt.Sprintf("group %s rule %s permits it: %s", permit.Group, permit.ID, because)
		return Verdict{Allowed: true, Rule: permit, Why: why}
	case asked > 0:
		return Verdict{Why: fmt.Sprintf("none of the %d %s rules of %s permits it", asked, dir, describe(own))}
	case dir == Egress:
		return Verdict{Allowed: true, Why: fmt.Sprintf("%s has no egress rule, so everything goes out", describe(own))}
	default:
		return Verdict{Why: fmt.Sprintf("%s has no ingress rule, so nothing comes in", describe(own))}
	}
}

// before is the order in which rules are named where several permit.
func (r RuleRef) before(other RuleRef) bool {
	return cmp.Or(cmp.Compare(r.Group, other.Group), cmp.Compare(r.ID, other.ID)) < 0
}

// isPeer tells whether a rule means this host.
func (v VPC) isPeer(p Peer, other Host) bool {
	switch p.Kind {
	case PeerAny:
		return true
	case PeerCIDR:
		return p.CIDR.Contains(other.Addr)
	case PeerGroup:
		exists := slices.ContainsFunc(v.Groups, func(g Group) bool { return g.Name == p.Group })
		return exists && slices.Contains(other.Groups, p.Group)
	default:
		return false
	}
}

// permits tells whether protocol and port of a flow are the rule's.
func (r Rule) permits(f Flow) bool {
	switch r.Protocol {
	case ProtocolAny:
		return true
	case ProtocolICMP:
		return f.Protocol == protoICMP
	case ProtocolICMPv6:
		return f.Protocol == protoICMPv6
	case ProtocolSCTP:
		return f.Protocol == protoSCTP && hasPort(r.Ports, f.Port)
	case ProtocolTCP:
		return f.Protocol == protoTCP && hasPort(r.Ports, f.Port)
	case ProtocolUDP:
		return f.Protocol == protoUDP && hasPort(r.Ports, f.Port)
	default:
		return false
	}
}

func hasPort(ports []PortRange, port uint16) bool {
	return len(ports) == 0 || slices.ContainsFunc(ports, func(r PortRange) bool {
		return r.First <= port && port <= r.Last
	})
}

func describe(h Host) string {
	if len(h.Groups) == 0 {
		return fmt.Sprintf("%s (no groups)", h.Addr)
	}
	return fmt.Sprintf("%s (groups %s)", h.Addr, strings.Join(normalSet(h.Groups), ", "))
}
