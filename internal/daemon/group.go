package daemon

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	api "edgenet.dev/edgenet/api/edgenet/v1"
	"edgenet.dev/edgenet/internal/records"
	"edgenet.dev/edgenet/pkg/mesh"
	"edgenet.dev/edgenet/pkg/policy"
)

// CreateGroup makes an empty group. The same again changes nothing.
func (d *Daemon) CreateGroup(ctx context.Context, name, vpcName string) (*api.Group, error) {
	if err := policy.ValidateName(name); err != nil {
		return nil, invalid("create group: %w", err)
	}
	d.changing.Lock()
	defer d.changing.Unlock()
	v, ok := d.snapshot().vpcs[vpcName]
	if !ok {
		return nil, notFound("create group %s: vpc %q: not found", name, vpcName)
	}
	if g, there := v.groups[name]; there {
		return g.api(v), nil
	}
	record := &records.Group{CreatedMs: time.Now().UnixMilli()}
	if err := d.putRecord(ctx, mesh.KindGroup, records.GroupKey(v.vni(), name), record); err != nil {
		return nil, fmt.Errorf("create group %s: %w", name, err)
	}
	d.log.Info("group created", "vpc", vpcName, "group", name)
	return d.GetGroup(name, vpcName)
}

// ListGroups returns the groups of one VPC, or of all if vpcName is empty.
func (d *Daemon) ListGroups(vpcName string) ([]*api.Group, error) {
	s := d.snapshot()
	if _, ok := s.vpcs[vpcName]; !ok && vpcName != "" {
		return nil, notFound("vpc %q: not found", vpcName)
	}
	out := []*api.Group{}
	for _, name := range slices.Sorted(maps.Keys(s.vpcs)) {
		if vpcName != "" && name != vpcName {
			continue
		}
		v := s.vpcs[name]
		for _, g := range slices.Sorted(maps.Keys(v.groups)) {
			out = append(out, v.groups[g].api(v))
		}
	}
	return out, nil
}

// GetGroup returns one group.
func (d *Daemon) GetGroup(name, vpcName string) (*api.Group, error) {
	v, g, err := d.snapshot().group(name, vpcName)
	if err != nil {
		return nil, err
	}
	return g.api(v), nil
}

func (s *snapshot) group(name, vpcName string) (*vpc, *group, error) {
	v, ok := s.vpcs[vpcName]
	if !ok {
		return nil, nil, notFound("vpc %q: not found", vpcName)
	}
	g, ok := v.groups[name]
	if !ok {
		return nil, nil, notFound("group %q of vpc %s: not found", name, vpcName)
	}
	return v, g, nil
}

// DeleteGroup removes a group that nothing refers to.
func (d *Daemon) DeleteGroup(ctx context.Context, name, vpcName string) error {
	d.changing.Lock()
	defer d.changing.Unlock()
	s := d.snapshot()
	v, _, err := s.group(name, vpcName)
	if err != nil {
		return err
	}
	for _, other := range v.groups {
		for _, r := range other.rules {
			if other.name != name && r.Peer.Kind == policy.PeerGroup && r.Peer.Group == name {
				return precondition("delete group %s: rule %s of group %s names it; remove that first", name, r.ID(), other.name)
			}
		}
	}
	for _, e := range s.endpoints {
		if e.vni == v.vni() && slices.Contains(e.record.GetGroups(), name) {
			return precondition("delete group %s: endpoint %s on node %s carries it; detach it first", name, e.name, s.nodes[e.node].Name)
		}
	}
	if err := d.mesh.Delete(ctx, mesh.KindGroup, records.GroupKey(v.vni(), name)); err != nil {
		return fmt.Errorf("delete group %s: %w", name, err)
	}
	d.log.Info("group deleted", "vpc", vpcName, "group", name)
	return nil
}

// AddRule adds a rule. One that is there already changes nothing.
func (d *Daemon) AddRule(ctx context.Context, name, vpcName string, text *api.Rule) (*api.Group, error) {
	rule, err := parseAPIRule(text)
	if err != nil {
		return nil, invalid("add rule to group %s: %w", name, err)
	}
	return d.changeRules(ctx, name, vpcName, func(v *vpc, g *group) ([]policy.Rule, error) {
		if rule.Peer.Kind == policy.PeerGroup && v.groups[rule.Peer.Group] == nil {
			return nil, notFound("add rule to group %s: group %q of vpc %s: not found", name, rule.Peer.Group, vpcName)
		}
		if indexRule(g.rules, rule.ID()) >= 0 {
			return g.rules, nil
		}
		if len(g.rules) >= records.MaxRules {
			return nil, precondition("add rule to group %s: has %d rules; at most %d", name, len(g.rules), records.MaxRules)
		}
		return append(slices.Clone(g.rules), rule), nil
	})
}

// RemoveRule removes a rule named by its id or by its content.
func (d *Daemon) RemoveRule(ctx context.Context, name, vpcName string, text *api.Rule) (*api.Group, error) {
	id := text.GetId()
	if id == "" {
		rule, err := parseAPIRule(text)
		if err != nil {
			return nil, invalid("remove rule from group %s: %w", name, err)
		}
		id = rule.ID()
	}
	return d.changeRules(ctx, name, vpcName, func(_ *vpc, g *group) ([]policy.Rule, error) {
		i := indexRule(g.rules, id)
		if i < 0 {
			return nil, notFound("remove rule from group %s: no rule %s; group show lists them", name, id)
		}
		return slices.Delete(slices.Clone(g.rules), i, i+1), nil
	})
}

func indexRule(rules []policy.Rule, id string) int {
	return slices.IndexFunc(rules, func(r policy.Rule) bool { return r.ID() == id })
}

func (d *Daemon) changeRules(ctx context.Context, name, vpcName string, change func(*vpc, *group) ([]policy.Rule, error)) (*api.Group, error) {
	d.changing.Lock()
	defer d.changing.Unlock()
	v, g, err := d.snapshot().group(name, vpcName)
	if err != nil {
		return nil, err
	}
	rules, err := change(v, g)
	if err != nil {
		return nil, err
	}
	next := &records.Group{CreatedMs: g.record.GetCreatedMs()}
	for _, r := range rules {
		next.Rules = append(next.Rules, records.RuleText(r))
	}
	if proto.Equal(next, g.record) {
		return g.api(v), nil
	}
	if err := d.putRecord(ctx, mesh.KindGroup, records.GroupKey(v.vni(), name), next); err != nil {
		return nil, fmt.Errorf("change group %s: %w", name, err)
	}
	d.log.Info("group changed", "vpc", vpcName, "group", name, "rules", len(rules))
	return d.GetGroup(name, vpcName)
}

func parseAPIRule(r *api.Rule) (policy.Rule, error) {
	return policy.ParseRule(policy.RuleText{
		Direction: r.GetDirection(), Protocol: r.GetProtocol(), Ports: r.GetPorts(), Peer: r.GetPeer(),
	})
}
