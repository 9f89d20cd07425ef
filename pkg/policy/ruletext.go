package policy

import (
	"fmt"
	"strings"
)

// RuleText is a rule as people, the API and records write it.
type RuleText struct {
	// Direction is "ingress" or "egress".
	Direction string
	// Action is "allow" or "deny"; empty is allow.
	Action string
	// Priority is "0" to "65535"; empty is [DefaultPriority].
	Priority string
	// Protocol is "tcp", "udp", "sctp", "icmp", "icmpv6" or "any".
	Protocol string
	// Ports are ports, ranges or lists of them; none is every port.
	Ports []string
	// ICMP is a type, as "8", or type and code, as "3/4"; empty is every type.
	ICMP string
	// Peer is a CIDR, an address, "group:NAME" or "any".
	Peer string
	// Except are CIDRs or addresses inside Peer.
	Except      []string
	Description string
	Disabled    bool
}

// ParseRule reads a rule. The result is valid and canonical.
func ParseRule(t RuleText) (Rule, error) {
	r := Rule{Description: t.Description, Disabled: t.Disabled}
	var err error
	if r.Direction, err = ParseDirection(t.Direction); err != nil {
		return Rule{}, err
	}
	if r.Action, err = ParseAction(t.Action); err != nil {
		return Rule{}, err
	}
	if r.Priority, err = ParsePriority(t.Priority); err != nil {
		return Rule{}, err
	}
	if r.Protocol, err = ParseProtocol(t.Protocol); err != nil {
		return Rule{}, err
	}
	if len(t.Ports) > 0 {
		if r.Ports, err = ParsePorts(strings.Join(t.Ports, ",")); err != nil {
			return Rule{}, err
		}
	}
	if r.ICMP, err = ParseICMP(t.ICMP); err != nil {
		return Rule{}, err
	}
	if r.Peer, err = ParsePeer(t.Peer); err != nil {
		return Rule{}, err
	}
	if len(t.Except) > 0 && r.Peer.Kind != PeerCIDR {
		return Rule{}, fmt.Errorf("rule's peer: %s has exceptions: only a CIDR has them", r.Peer)
	}
	if r.Peer.Except, err = ParseExcept(r.Peer.CIDR, t.Except); err != nil {
		return Rule{}, err
	}
	if err := r.Validate(); err != nil {
		return Rule{}, err
	}
	return r, nil
}

// Text is the twin of [ParseRule]. What is as it is by default is empty.
func (r Rule) Text() RuleText {
	t := RuleText{
		Direction:   r.Direction.String(),
		Protocol:    r.Protocol.String(),
		ICMP:        r.ICMP.String(),
		Peer:        r.Peer.String(),
		Except:      FormatExcept(r.Peer.Except),
		Description: r.Description,
		Disabled:    r.Disabled,
	}
	if r.Action != Allow {
		t.Action = r.Action.String()
	}
	if r.Priority != (Priority{}) {
		t.Priority = r.Priority.String()
	}
	for _, p := range r.Ports {
		t.Ports = append(t.Ports, p.String())
	}
	return t
}
