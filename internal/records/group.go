package records

import (
	"fmt"

	"edgenet.dev/edgenet/pkg/mesh"
	"edgenet.dev/edgenet/pkg/policy"
)

// DecodeGroup decodes a record that has passed Validate.
func DecodeGroup(r mesh.Record) (*Group, error) { return decode(r.Payload, &Group{}) }

// PolicyRules are the group's rules as pkg/policy has them.
func (g *Group) PolicyRules() ([]policy.Rule, error) {
	if len(g.GetRules()) > MaxRules {
		return nil, fmt.Errorf("%d rules: at most %d", len(g.GetRules()), MaxRules)
	}
	rules := make([]policy.Rule, 0, len(g.GetRules()))
	for i, text := range g.GetRules() {
		var ports []string
		if text.GetPorts() != "" {
			ports = []string{text.GetPorts()}
		}
		rule, err := policy.ParseRule(policy.RuleText{
			Direction: text.GetDirection(), Protocol: text.GetProtocol(), Ports: ports, Peer: text.GetPeer(),
		})
		if err != nil {
			return nil, fmt.Errorf("rule %d: %w", i+1, err)
		}
		rules = append(rules, rule)
	}
	return rules, nil
}

// RuleText is the record's form of a rule.
func RuleText(r policy.Rule) *Rule {
	return &Rule{
		Direction: r.Direction.String(),
		Protocol:  r.Protocol.String(),
		Ports:     policy.FormatPorts(r.Ports),
		Peer:      r.Peer.String(),
	}
}

// DecodeEndpoint decodes a record that has passed Validate.
func DecodeEndpoint(r mesh.Record) (*Endpoint, error) { return decode(r.Payload, &Endpoint{}) }

// DecodeAnnouncement decodes what a node announced; peers are not trusted to
// announce well, so an error means no tunnel to that node.
func DecodeAnnouncement(b []byte) (*Announcement, error) {
	a, err := decode(b, &Announcement{})
	if err != nil {
		return nil, fmt.Errorf("announcement: %w", err)
	}
	w := a.GetWireguard()
	if w == nil {
		return nil, fmt.Errorf("announcement: names no tunnel")
	}
	if len(w.GetPublicKey()) != 32 || w.GetPort() == 0 || w.GetPort() > 65535 {
		return nil, fmt.Errorf("announcement: WireGuard key of %d bytes, port %d: want 32 and 1 to 65535", len(w.GetPublicKey()), w.GetPort())
	}
	return a, nil
}
