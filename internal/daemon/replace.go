package daemon

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"google.golang.org/protobuf/proto"

	api "edgenet.dev/edgenet/api/edgenet/v1"
	"edgenet.dev/edgenet/internal/records"
	"edgenet.dev/edgenet/pkg/mesh"
	"edgenet.dev/edgenet/pkg/policy"
)

// ReplaceGroups gives groups of one VPC new rules, all in one change.
func (d *Daemon) ReplaceGroups(ctx context.Context, req *api.ReplaceGroupsRequest) ([]*api.Group, error) {
	wanted, err := parseGroupRules(req.GetGroups())
	if err != nil {
		return nil, fmt.Errorf("replace rules: %w", err)
	}
	d.changing.Lock()
	defer d.changing.Unlock()
	s := d.snapshot()
	next := make(map[string]*records.Group, len(wanted))
	for name, rules := range wanted {
		v, g, err := s.group(name, req.GetVpc())
		if err != nil {
			return nil, fmt.Errorf("replace rules: %w", err)
		}
		for _, r := range rules {
			if err := v.knowsPeer(r); err != nil {
				return nil, fmt.Errorf("replace rules of group %s: %w", name, err)
			}
		}
		next[name] = g.withRules(rules)
	}
	v := s.vpcs[req.GetVpc()]
	if err := v.hasRoom(next); err != nil {
		return nil, fmt.Errorf("replace rules: %w", err)
	}
	asked := change{vpc: v, words: "replace the rules of " + wordsOf(wanted), force: req.GetForce()}
	if err := d.guardRules(ctx, asked, wanted, func() error { return d.putGroups(ctx, v, next) }); err != nil {
		return nil, fmt.Errorf("replace rules: %w", err)
	}
	d.log.Info("groups replaced", "vpc", v.name, "groups", len(next))
	s = d.snapshot()
	out := make([]*api.Group, 0, len(next))
	for _, name := range slices.Sorted(maps.Keys(next)) {
		v, g, err := s.group(name, req.GetVpc())
		if err != nil {
			return nil, err
		}
		out = append(out, g.api(v))
	}
	return out, nil
}

// putGroups stores groups so that they come into force together.
func (d *Daemon) putGroups(ctx context.Context, v *vpc, next map[string]*records.Group) error {
	var batch *records.Batch
	if len(next) > 1 {
		batch = &records.Batch{Id: uint64(d.mesh.Now()), Size: uint32(len(next))}
	}
	recs := make([]mesh.Record, 0, len(next))
	for _, name := range slices.Sorted(maps.Keys(next)) {
		next[name].Batch = batch
		payload, err := proto.MarshalOptions{Deterministic: true}.Marshal(next[name])
		if err != nil {
			return fmt.Errorf("encode group %s: %w", name, err)
		}
		recs = append(recs, mesh.Record{Kind: mesh.KindGroup, Key: records.GroupKey(v.vni(), name), Payload: payload})
	}
	return d.mesh.PutAll(ctx, recs)
}

// parseGroupRules reads the rules of groups, each of which may be named once.
func parseGroupRules(groups []*api.GroupRules) (map[string][]policy.Rule, error) {
	if len(groups) == 0 {
		return nil, invalid("no group is named")
	}
	wanted := make(map[string][]policy.Rule, len(groups))
	for _, g := range groups {
		if _, twice := wanted[g.GetName()]; twice {
			return nil, invalid("group %q is there twice", g.GetName())
		}
		rules := make([]policy.Rule, 0, len(g.GetRules()))
		for i, text := range g.GetRules() {
			rule, err := parseAPIRule(text)
			if err != nil {
				return nil, invalid("group %s: rule %d: %w", g.GetName(), i+1, err)
			}
			rules = append(rules, rule)
		}
		if err := (policy.Group{Name: g.GetName(), Rules: rules}).Validate(); err != nil {
			return nil, invalid("%w", err)
		}
		wanted[g.GetName()] = rules
	}
	return wanted, nil
}
