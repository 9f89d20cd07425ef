package daemon

import (
	"context"
	"fmt"
	"slices"

	api "edgenet.dev/edgenet/api/edgenet/v1"
	"edgenet.dev/edgenet/internal/records"
	"edgenet.dev/edgenet/pkg/mesh"
	"edgenet.dev/edgenet/pkg/tunnel"
)

// TunnelPolicy returns the rules of the mesh's tunnel policy.
func (d *Daemon) TunnelPolicy() ([]*api.TunnelRule, error) {
	p, err := tunnelPolicy(d.mesh)
	if err != nil {
		return nil, err
	}
	out := []*api.TunnelRule{}
	for _, r := range p.Rules() {
		out = append(out, apiTunnelRule(r))
	}
	return out, nil
}

func apiTunnelRule(r tunnel.Rule) *api.TunnelRule {
	return &api.TunnelRule{Between: r.Between.String(), Technology: string(r.Technology)}
}

// SetTunnelRule adds a rule to the tunnel policy, or changes it. The same again
// changes nothing.
func (d *Daemon) SetTunnelRule(ctx context.Context, req *api.SetTunnelRuleRequest) (*api.TunnelRule, error) {
	rule, err := records.ParseTunnelRule(req.GetRule().GetBetween(), req.GetRule().GetTechnology())
	if err != nil {
		return nil, invalid("set tunnel policy: %w", err)
	}
	d.changing.Lock()
	defer d.changing.Unlock()
	if err := d.checkNodes(rule.Between); err != nil {
		return nil, fmt.Errorf("set tunnel policy: %w", err)
	}
	now, err := tunnelPolicy(d.mesh)
	if err != nil {
		return nil, fmt.Errorf("set tunnel policy: %w", err)
	}
	next, err := now.With(rule)
	if err != nil {
		return nil, precondition("set tunnel policy: %w", err)
	}
	if slices.Equal(now.Rules(), next.Rules()) {
		return apiTunnelRule(rule), nil
	}
	if err := d.changeTunnels(ctx, now, next, "set tunnel policy "+rule.String(), req.GetForce()); err != nil {
		return nil, fmt.Errorf("set tunnel policy: %w", err)
	}
	return apiTunnelRule(rule), nil
}

// RemoveTunnelRule removes a rule of the tunnel policy.
func (d *Daemon) RemoveTunnelRule(ctx context.Context, req *api.RemoveTunnelRuleRequest) error {
	between, err := records.ParseTunnelSelector(req.GetBetween())
	if err != nil {
		return invalid("remove tunnel policy: %w", err)
	}
	d.changing.Lock()
	defer d.changing.Unlock()
	now, err := tunnelPolicy(d.mesh)
	if err != nil {
		return fmt.Errorf("remove tunnel policy: %w", err)
	}
	next, there := now.Without(between)
	if !there {
		return notFound("remove tunnel policy: there is no rule for %s; tunnel policy show has them", between)
	}
	if err := d.changeTunnels(ctx, now, next, "remove tunnel policy "+between.String(), req.GetForce()); err != nil {
		return fmt.Errorf("remove tunnel policy: %w", err)
	}
	return nil
}

// checkNodes refuses names of nodes that nobody has: a rule for one would be in
// force nowhere, and nobody would notice.
func (d *Daemon) checkNodes(s tunnel.Selector) error {
	a, b, ok := s.Nodes()
	if !ok {
		return nil
	}
	for _, name := range []string{a, b} {
		if n, known := d.mesh.Node(name); !known || n.State.Gone() || n.Name != name {
			return notFound("node %q: not found", name)
		}
	}
	return nil
}

// changeTunnels makes a change of the policy and keeps note of it.
func (d *Daemon) changeTunnels(ctx context.Context, now, next tunnel.Policy, words string, force bool) error {
	if cut := cutOff(d.mesh.Nodes(), now, next); cut.pairs > 0 {
		if !force {
			return precondition("it would leave %s without a tunnel, as %s: %w; nothing was changed; force overrides",
				cut.count(), cut.example, cut.why)
		}
		words = fmt.Sprintf("%s, forced: %s without a tunnel", words, cut.count())
	}
	err := d.noted(ctx, change{words: words}, nil, func() error {
		return d.putRecord(ctx, mesh.KindTunnels, mesh.PolicyKey, records.TunnelsOf(next))
	})
	if err == nil {
		d.log.Info("tunnel policy changed", "change", words, "who", Caller(ctx))
	}
	return err
}

// AwaitTunnelRule waits until a rule of the policy is known here, or, without a
// technology, until there is none for these pairs.
func (d *Daemon) AwaitTunnelRule(ctx context.Context, want *api.TunnelRule) {
	between, err := records.ParseTunnelSelector(want.GetBetween())
	if err != nil {
		return
	}
	d.await(ctx, func() bool {
		p, err := tunnelPolicy(d.mesh)
		if err != nil {
			return false
		}
		rules := p.Rules()
		i := slices.IndexFunc(rules, func(r tunnel.Rule) bool { return r.Between == between })
		if i < 0 {
			return want.GetTechnology() == ""
		}
		return string(rules[i].Technology) == want.GetTechnology()
	})
}
