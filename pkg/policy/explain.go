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
	// Protocol is the IP protocol number, or 0 for any that rules have no name
	// for.
	Protocol uint8
	// Port is the destination port of TCP, UDP and SCTP, and for ICMP and ICMPv6
	// what [ICMPPort] makes of type and code; other protocols have none.
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
	case protoSCTP:
		return fmt.Sprintf("sctp %s port %d", route, f.Port)
	case protoICMP:
		return fmt.Sprintf("icmp %s type %d code %d", route, f.Port>>8, f.Port&0xff)
	case protoICMPv6:
		return fmt.Sprintf("icmpv6 %s type %d code %d", route, f.Port>>8, f.Port&0xff)
	case protoOther:
		return "another protocol " + route
	default:
		return fmt.Sprintf("protocol %d %s", f.Protocol, route)
	}
}

// Verdict is what one side's groups say of a flow.
type Verdict struct {
	Allowed bool
	// Rule decides on the flow; it is zero for the default.
	Rule RuleRef
	// Text is what the rule says; it is empty for the default.
	Text string
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

// Candidate is the VPC as it would be if its candidate's groups were in force.
func (v VPC) Candidate() VPC {
	v.Groups, v.Shadow = v.Shadow, nil
	return v
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
	switch {
	case knownSource && knownDestination:
		e.Egress = v.judge(source, destination, Egress, f)
		e.Ingress = v.judge(destination, source, Ingress, f)
	case knownSource:
		e.Egress.Why = e.Ingress.Why
	case knownDestination:
		e.Ingress.Why = e.Egress.Why
	}
	e.Allowed = e.Egress.Allowed && e.Ingress.Allowed
	return e
}

// party is one end of a flow.
type party struct {
	addr   netip.Addr
	groups []string
}

// host finds who has an address: the host with the address itself, or else with
// the longest prefix around it.
func (v VPC) host(addr netip.Addr) (party, bool) {
	longest := -1
	found := party{addr: addr}
	for i := range v.Hosts {
		h := &v.Hosts[i]
		if h.Addr == addr {
			found.groups = h.Groups
			return found, true
		}
		if h.Prefix.Contains(addr) && h.Prefix.Bits() > longest {
			longest, found.groups = h.Prefix.Bits(), h.Groups
		}
	}
	return found, longest >= 0
}

// judge is the verdict of one side, own, on a flow with the other.
func (v VPC) judge(own, other party, dir Direction, f Flow) Verdict {
	var (
		asked, allowing int
		best            *Rule
		ref             RuleRef
	)
	for _, g := range v.Groups {
		if !slices.Contains(own.groups, g.Name) {
			continue
		}
		for i := range g.Rules {
			r := &g.Rules[i]
			if r.Direction != dir || r.Disabled {
				continue
			}
			asked++
			if r.Action == Allow {
				allowing++
			}
			if !r.meansPacket(f) || !v.meansPeer(r.Peer, other) {
				continue
			}
			if this := (RuleRef{Group: g.Name, ID: r.ID()}); best == nil || outranks(r, this, best, ref) {
				best, ref = r, this
			}
		}
	}
	switch {
	case best != nil && best.Action == Allow:
		return Verdict{Allowed: true, Rule: ref, Text: best.String(), Why: fmt.Sprintf("group %s rule %s permits it: %s", ref.Group, ref.ID, best)}
	case best != nil:
		return Verdict{Rule: ref, Text: best.String(), Why: fmt.Sprintf("group %s rule %s denies it: %s", ref.Group, ref.ID, best)}
	case dir == Egress && asked == 0:
		return Verdict{Allowed: true, Why: fmt.Sprintf("%s has no egress rule, so everything goes out", describe(own))}
	case dir == Egress && allowing == 0:
		return Verdict{Allowed: true, Why: fmt.Sprintf("%s has no egress rule that permits anything, so all that none denies goes out", describe(own))}
	case asked > 0:
		return Verdict{Why: fmt.Sprintf("none of the %d %s rules of %s permits it", asked, dir, describe(own))}
	default:
		return Verdict{Why: fmt.Sprintf("%s has no ingress rule, so nothing comes in", describe(own))}
	}
}

// outranks tells whether a rule decides before another one: by its number, then
// as a denial, then by the names that stand for it.
func outranks(r *Rule, ref RuleRef, other *Rule, otherRef RuleRef) bool {
	if a, b := r.Priority.Number(), other.Priority.Number(); a != b {
		return a < b
	}
	if r.Action != other.Action {
		return r.Action == Deny
	}
	return cmp.Or(cmp.Compare(ref.Group, otherRef.Group), cmp.Compare(ref.ID, otherRef.ID)) < 0
}

// meansPeer tells whether the other side of a flow is a rule's peer.
func (v VPC) meansPeer(p Peer, other party) bool {
	switch p.Kind {
	case PeerAny:
		return true
	case PeerCIDR:
		excepted := slices.ContainsFunc(p.Except, func(e netip.Prefix) bool { return e.Contains(other.addr) })
		return p.CIDR.Contains(other.addr) && !excepted
	case PeerGroup:
		exists := slices.ContainsFunc(v.Groups, func(g Group) bool { return g.Name == p.Group })
		return exists && slices.Contains(other.groups, p.Group)
	default:
		return false
	}
}

// meansPacket tells whether protocol and port of a flow are the rule's.
func (r *Rule) meansPacket(f Flow) bool {
	switch r.Protocol {
	case ProtocolAny:
		return true
	case ProtocolICMP:
		return f.Protocol == protoICMP && r.meansICMP(f.Port)
	case ProtocolICMPv6:
		return f.Protocol == protoICMPv6 && r.meansICMP(f.Port)
	case ProtocolTCP:
		return f.Protocol == protoTCP && r.meansPort(f.Port)
	case ProtocolUDP:
		return f.Protocol == protoUDP && r.meansPort(f.Port)
	case ProtocolSCTP:
		return f.Protocol == protoSCTP && r.meansPort(f.Port)
	default:
		return false
	}
}

func (r *Rule) meansPort(port uint16) bool {
	return len(r.Ports) == 0 || slices.ContainsFunc(r.Ports, func(p PortRange) bool {
		return p.First <= port && port <= p.Last
	})
}

func (r *Rule) meansICMP(port uint16) bool {
	icmpType, code := uint8(port>>8), uint8(port)
	return (!r.ICMP.HasType || r.ICMP.Type == icmpType) && (!r.ICMP.HasCode || r.ICMP.Code == code)
}

func describe(p party) string {
	if len(p.groups) == 0 {
		return fmt.Sprintf("%s (no groups)", p.addr)
	}
	return fmt.Sprintf("%s (groups %s)", p.addr, strings.Join(normalSet(p.groups), ", "))
}
