package records

import (
	"fmt"

	"edgenet.dev/edgenet/pkg/mesh"
	"edgenet.dev/edgenet/pkg/tunnel"
)

// DecodeTunnels decodes a record that has passed Validate.
func DecodeTunnels(r mesh.Record) (tunnel.Policy, error) {
	t, err := decode(r.Payload, &Tunnels{})
	if err != nil {
		return tunnel.Policy{}, err
	}
	return t.Policy()
}

// Policy are the rules as pkg/tunnel has them.
func (t *Tunnels) Policy() (tunnel.Policy, error) {
	if n := len(t.GetRules()); n > tunnel.MaxRules {
		return tunnel.Policy{}, fmt.Errorf("%d rules: at most %d", n, tunnel.MaxRules)
	}
	rules := make([]tunnel.Rule, 0, len(t.GetRules()))
	for _, r := range t.GetRules() {
		rule, err := ParseTunnelRule(r.GetBetween(), r.GetTechnology())
		if err != nil {
			return tunnel.Policy{}, err
		}
		rules = append(rules, rule)
	}
	return tunnel.NewPolicy(rules)
}

// TunnelsOf is the record's form of a policy.
func TunnelsOf(p tunnel.Policy) *Tunnels {
	out := &Tunnels{}
	for _, r := range p.Rules() {
		out.Rules = append(out.Rules, &TunnelRule{Between: r.Between.String(), Technology: string(r.Technology)})
	}
	return out
}

// ParseTunnelRule parses a rule of the tunnel policy.
func ParseTunnelRule(between, technology string) (tunnel.Rule, error) {
	s, err := ParseTunnelSelector(between)
	if err != nil {
		return tunnel.Rule{}, err
	}
	t, err := tunnel.ParseTechnology(technology)
	return tunnel.Rule{Between: s, Technology: t}, err
}

// ParseTunnelSelector is tunnel.ParseSelector for roles that there are.
func ParseTunnelSelector(text string) (tunnel.Selector, error) {
	s, err := tunnel.ParseSelector(text)
	if err != nil {
		return s, err
	}
	if a, b, ok := s.Roles(); ok {
		for _, role := range []mesh.Role{mesh.Role(a), mesh.Role(b)} {
			switch role {
			case mesh.RoleEdge, mesh.RoleCloud, mesh.RoleGateway, mesh.RoleRelay, mesh.RoleAuthority:
			default:
				return s, fmt.Errorf("role %q: want edge, cloud, gateway, relay or authority", role)
			}
		}
	}
	return s, nil
}

func validateTunnels(r mesh.Record) error {
	t, err := decodeNew(r.Payload, &Tunnels{})
	if err != nil {
		return fmt.Errorf("tunnel policy: %w", err)
	}
	if _, err := t.Policy(); err != nil {
		return fmt.Errorf("tunnel policy: %w", err)
	}
	return nil
}
