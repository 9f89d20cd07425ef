package policy

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
)

// idDigits is the length of Rule.ID: 48 bits tell the rules of a group apart and
// can still be typed.
const idDigits = 12

// ParseRule reads a rule from its parts as people and the API write them: see
// [ParseDirection], [ParseProtocol], [ParsePorts] (each element may be a list;
// none means every port) and [ParsePeer]. The result is valid and canonical.
func ParseRule(direction, protocol string, ports []string, peer string) (Rule, error) {
	var (
		r   Rule
		err error
	)
	if r.Direction, err = ParseDirection(direction); err != nil {
		return Rule{}, err
	}
	if r.Protocol, err = ParseProtocol(protocol); err != nil {
		return Rule{}, err
	}
	if len(ports) > 0 {
		if r.Ports, err = ParsePorts(strings.Join(ports, ",")); err != nil {
			return Rule{}, err
		}
	}
	if r.Peer, err = ParsePeer(peer); err != nil {
		return Rule{}, err
	}
	return r, r.Validate()
}

// Validate checks that the rule says something that can be enforced, and says
// it in the canonical way: ports sorted and merged, CIDR masked.
func (r Rule) Validate() error {
	switch r.Direction {
	case Ingress, Egress:
	default:
		return fmt.Errorf("rule has direction %d: set ingress or egress", r.Direction)
	}
	switch r.Protocol {
	case ProtocolTCP, ProtocolUDP:
		if err := validatePorts(r.Ports); err != nil {
			return fmt.Errorf("rule: %w", err)
		}
	case ProtocolAny, ProtocolICMP:
		if len(r.Ports) > 0 {
			return fmt.Errorf("rule has ports for protocol %s: only tcp and udp have ports", r.Protocol)
		}
	default:
		return fmt.Errorf("rule has protocol %d: set tcp, udp, icmp or any", r.Protocol)
	}
	if err := r.Peer.validate(); err != nil {
		return fmt.Errorf("rule's peer: %w", err)
	}
	return nil
}

// String is the rule in one line, for instance
// "ingress tcp 80,8000-8100 from group:web". It is the same for rules that say
// the same.
func (r Rule) String() string {
	words := []string{r.Direction.String(), r.Protocol.String()}
	if len(r.Ports) > 0 {
		words = append(words, FormatPorts(mergePorts(r.Ports)))
	}
	preposition := "from"
	if r.Direction == Egress {
		preposition = "to"
	}
	peer := r.Peer
	if peer.Kind == PeerCIDR {
		peer.CIDR = peer.CIDR.Masked()
	}
	return strings.Join(append(words, preposition, peer.String()), " ")
}

// ID names the rule within its group: 12 hexadecimal digits that follow from
// what it says, so that the same rule has the same ID everywhere.
func (r Rule) ID() string {
	sum := sha256.Sum256([]byte("edgenet rule v1\x00" + r.String()))
	return hex.EncodeToString(sum[:])[:idDigits]
}

// Validate checks the group's name and each of its rules. Two equal rules are
// an error.
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
