package policy

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"unicode"
	"unicode/utf8"
)

const (
	// idDigits is the length of Rule.ID: 48 bits tell the rules of a group apart
	// and can still be typed.
	idDigits = 12
	// MaxDescription is the length of a rule's description in bytes.
	MaxDescription = 255
)

// Validate checks that the rule says something that can be enforced, and says
// it in the canonical way: ports sorted and merged, CIDRs masked.
func (r Rule) Validate() error {
	switch r.Direction {
	case Ingress, Egress:
	default:
		return fmt.Errorf("rule has direction %d: set ingress or egress", r.Direction)
	}
	switch r.Action {
	case Allow, Deny:
	default:
		return fmt.Errorf("rule has action %d: set allow or deny", r.Action)
	}
	if err := r.validateProtocol(); err != nil {
		return err
	}
	if err := r.Peer.validate(); err != nil {
		return fmt.Errorf("rule's peer: %w", err)
	}
	return validateDescription(r.Description)
}

func (r Rule) validateProtocol() error {
	ports, icmp := false, false
	switch r.Protocol {
	case ProtocolTCP, ProtocolUDP, ProtocolSCTP:
		ports = true
	case ProtocolICMP, ProtocolICMPv6:
		icmp = true
	case ProtocolAny:
	default:
		return fmt.Errorf("rule has protocol %d: set tcp, udp, sctp, icmp, icmpv6 or any", r.Protocol)
	}
	if len(r.Ports) > 0 && !ports {
		return fmt.Errorf("rule has ports for protocol %s: only tcp, udp and sctp have ports", r.Protocol)
	}
	if r.ICMP != (ICMP{}) && !icmp {
		return fmt.Errorf("rule has an ICMP type for protocol %s: only icmp and icmpv6 have types", r.Protocol)
	}
	if err := validatePorts(r.Ports); err != nil {
		return fmt.Errorf("rule: %w", err)
	}
	if err := r.ICMP.validate(); err != nil {
		return fmt.Errorf("rule: %w", err)
	}
	return r.validateFamily()
}

// validateFamily refuses rules that no packet can match.
func (r Rule) validateFamily() error {
	if r.Peer.Kind != PeerCIDR {
		return nil
	}
	if r.Protocol == ProtocolICMP && r.Peer.CIDR.Addr().Is6() {
		return fmt.Errorf("rule for icmp has the IPv6 peer %s: write icmpv6", r.Peer)
	}
	if r.Protocol == ProtocolICMPv6 && r.Peer.CIDR.Addr().Is4() {
		return fmt.Errorf("rule for icmpv6 has the IPv4 peer %s: write icmp", r.Peer)
	}
	return nil
}

func validateDescription(s string) error {
	if len(s) > MaxDescription {
		return fmt.Errorf("rule's description has %d bytes: at most %d are possible", len(s), MaxDescription)
	}
	if !utf8.ValidString(s) {
		return fmt.Errorf("rule's description %q is not UTF-8", s)
	}
	for _, c := range s {
		if !unicode.IsPrint(c) {
			return fmt.Errorf("rule's description %q has %q: only printable characters are possible", s, c)
		}
	}
	return nil
}

// String is what the rule says in one line, for instance
// "ingress tcp 80,8000-8100 from group:web" or
// "ingress deny priority 10 icmp 8 from 10.0.0.0/8 except 10.1.0.0/16". What is
// as it is by default is left out; description and Disabled are no part of it.
// It is the same for rules that say the same.
func (r Rule) String() string { return string(r.appendText(nil)) }

func (r *Rule) appendText(b []byte) []byte {
	b = append(b, r.Direction.String()...)
	if r.Action != Allow {
		b = append(append(b, ' '), r.Action.String()...)
	}
	if r.Priority != (Priority{}) {
		b = strconv.AppendUint(append(b, " priority "...), uint64(r.Priority.Number()), 10)
	}
	b = append(append(b, ' '), r.Protocol.String()...)
	if len(r.Ports) > 0 {
		b = appendPorts(append(b, ' '), mergePorts(r.Ports))
	}
	if r.ICMP.HasType {
		b = append(append(b, ' '), r.ICMP.String()...)
	}
	if r.Direction == Egress {
		b = append(b, " to "...)
	} else {
		b = append(b, " from "...)
	}
	if r.Peer.Kind == PeerCIDR {
		b = r.Peer.CIDR.Masked().AppendTo(b)
	} else {
		b = append(b, r.Peer.String()...)
	}
	for i, cidr := range mergeExcept(r.Peer.Except) {
		if i == 0 {
			b = append(b, " except "...)
		} else {
			b = append(b, ',')
		}
		b = cidr.AppendTo(b)
	}
	return b
}

// ID names the rule within its group: 12 hexadecimal digits that follow from
// what it says, so that the same rule has the same ID everywhere.
func (r Rule) ID() string {
	sum := sha256.Sum256(r.appendText([]byte("edgenet rule v1\x00")))
	return hex.EncodeToString(sum[:idDigits/2])
}

// Validate checks the group's name and each of its rules. Two rules that say
// the same are an error.
func (g Group) Validate() error {
	if err := ValidateName(g.Name); err != nil {
		return fmt.Errorf("group: %w", err)
	}
	seen := make(map[string]bool, len(g.Rules))
	for _, r := range g.Rules {
		if err := r.Validate(); err != nil {
			return fmt.Errorf("group %s: %w", g.Name, err)
		}
		id := r.ID()
		if seen[id] {
			return fmt.Errorf("group %s: rule %s (%s) is there twice", g.Name, id, r)
		}
		seen[id] = true
	}
	return nil
}
