package daemon

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"google.golang.org/protobuf/proto"

	api "edgenet.dev/edgenet/api/edgenet/v1"
	"edgenet.dev/edgenet/internal/records"
	"edgenet.dev/edgenet/pkg/mesh"
	"edgenet.dev/edgenet/pkg/policy"
)

// AddRule adds a rule. One that says the same and is there already takes over
// whether it counts, and its description.
func (d *Daemon) AddRule(ctx context.Context, req *api.AddRuleRequest) (*api.Group, error) {
	name := req.GetGroup()
	rule, err := parseAPIRule(req.GetRule())
	if err != nil {
		return nil, invalid("add rule to group %s: %w", name, err)
	}
	asked := ruleChange{group: name, vpc: req.GetVpc(), force: req.GetForce(), words: fmt.Sprintf("add rule %q to group %s", rule, name)}
	return d.changeRules(ctx, asked, func(v *vpc, g *group) ([]policy.Rule, error) {
		if err := v.knowsPeer(rule); err != nil {
			return nil, fmt.Errorf("add rule to group %s: %w", name, err)
		}
		rules := slices.Clone(g.rules)
		if i := indexRule(rules, rule.ID()); i >= 0 {
			rules[i] = rule
			return rules, nil
		}
		return append(rules, rule), nil
	})
}

// RemoveRule removes a rule named by its id or by its content.
func (d *Daemon) RemoveRule(ctx context.Context, req *api.RemoveRuleRequest) (*api.Group, error) {
	name, id := req.GetGroup(), req.GetRule().GetId()
	if id == "" {
		rule, err := parseAPIRule(req.GetRule())
		if err != nil {
			return nil, invalid("remove rule from group %s: %w", name, err)
		}
		id = rule.ID()
	}
	asked := ruleChange{group: name, vpc: req.GetVpc(), force: req.GetForce(), words: fmt.Sprintf("remove rule %s from group %s", id, name)}
	return d.changeRules(ctx, asked, func(_ *vpc, g *group) ([]policy.Rule, error) {
		i := indexRule(g.rules, id)
		if i < 0 {
			return nil, notFound("remove rule from group %s: no rule %s; group show lists them", name, id)
		}
		return slices.Delete(slices.Clone(g.rules), i, i+1), nil
	})
}

// UpdateRule changes whether a rule counts, and its description.
func (d *Daemon) UpdateRule(ctx context.Context, req *api.UpdateRuleRequest) (*api.Group, error) {
	asked := ruleChange{
		group: req.GetGroup(), vpc: req.GetVpc(), force: req.GetForce(), words: fmt.Sprintf("change rule %s of group %s", req.GetId(), req.GetGroup()),
	}
	return d.changeRules(ctx, asked, func(_ *vpc, g *group) ([]policy.Rule, error) {
		i := indexRule(g.rules, req.GetId())
		if i < 0 {
			return nil, notFound("change rule of group %s: no rule %s; group show lists them", req.GetGroup(), req.GetId())
		}
		rules := slices.Clone(g.rules)
		if req.Disabled != nil {
			rules[i].Disabled = req.GetDisabled()
		}
		if req.Description != nil {
			rules[i].Description = req.GetDescription()
		}
		if err := rules[i].Validate(); err != nil {
			return nil, invalid("change rule %s of group %s: %w", req.GetId(), req.GetGroup(), err)
		}
		return rules, nil
	})
}

// knowsPeer refuses a rule about a group that is not there: it would match
// nothing.
func (v *vpc) knowsPeer(r policy.Rule) error {
	if r.Peer.Kind == policy.PeerGroup && v.groups[r.Peer.Group] == nil {
		return notFound("group %q of vpc %s: not found", r.Peer.Group, v.name)
	}
	return nil
}

// maxGroup is what the record of a group may have in bytes, with room for a
// batch.
const maxGroup = mesh.MaxPayload - 64

func indexRule(rules []policy.Rule, id string) int {
	return slices.IndexFunc(rules, func(r policy.Rule) bool { return r.ID() == id })
}

// ruleChange is what somebody asks to change about the rules of a group.
type ruleChange struct {
	group, vpc string
	// words say what it is; force makes it whatever it breaks.
	words string
	force bool
}

func (d *Daemon) changeRules(ctx context.Context, asked ruleChange, work func(*vpc, *group) ([]policy.Rule, error)) (*api.Group, error) {
	d.changing.Lock()
	defer d.changing.Unlock()
	name, vpcName := asked.group, asked.vpc
	v, g, err := d.snapshot().group(name, vpcName)
	if err != nil {
		return nil, err
	}
	rules, err := work(v, g)
	if err != nil {
		return nil, err
	}
	next := g.withRules(rules)
	if slices.EqualFunc(next.GetRules(), g.record.GetRules(), func(a, b *records.Rule) bool { return proto.Equal(a, b) }) {
		return g.api(v), nil
	}
	if err := v.hasRoom(map[string]*records.Group{name: next}); err != nil {
		return nil, fmt.Errorf("change group %s: %w", name, err)
	}
	if err := d.guardRules(ctx, change{vpc: v, words: asked.words, force: asked.force}, map[string][]policy.Rule{name: rules}, func() error {
		return d.putRecord(ctx, mesh.KindGroup, g.key(), next)
	}); err != nil {
		return nil, fmt.Errorf("change group %s: %w", name, err)
	}
	d.log.Info("group changed", "vpc", vpcName, "group", name, "rules", len(rules))
	return d.GetGroup(name, vpcName)
}

// withRules is the record of the group with other rules.
func (g *group) withRules(rules []policy.Rule) *records.Group {
	next := &records.Group{CreatedMs: g.record.GetCreatedMs()}
	for _, r := range rules {
		next.Rules = append(next.Rules, records.RuleText(r))
	}
	return next
}

// hasRoom tells whether the VPC may have these groups instead of those that it
// has. One that got too many rules from two authorities at once may get fewer,
// step by step.
func (v *vpc) hasRoom(next map[string]*records.Group) error {
	sum, before := 0, 0
	for name, g := range v.groups {
		before += len(g.rules)
		if _, changes := next[name]; !changes {
			sum += len(g.rules)
		}
	}
	for name, g := range next {
		sum += len(g.GetRules())
		if size := proto.Size(g); size > maxGroup {
			return precondition("group %s would have %d bytes; at most %d", name, size, maxGroup)
		}
	}
	if sum > records.MaxRules && sum >= before {
		return precondition("vpc %s would have %d rules; at most %d", v.name, sum, records.MaxRules)
	}
	return nil
}

func parseAPIRule(r *api.Rule) (policy.Rule, error) {
	t := policy.RuleText{
		Direction: r.GetDirection(), Action: r.GetAction(), Protocol: r.GetProtocol(), Ports: r.GetPorts(), ICMP: r.GetIcmp(),
		Peer: r.GetPeer(), Except: r.GetExcept(), Description: r.GetDescription(), Disabled: r.GetDisabled(),
	}
	if r.Priority != nil {
		t.Priority = strconv.FormatUint(uint64(r.GetPriority()), 10)
	}
	return policy.ParseRule(t)
}

func apiRule(r policy.Rule) *api.Rule {
	t, priority := r.Text(), uint32(r.Priority.Number())
	return &api.Rule{
		Id: r.ID(), Direction: t.Direction, Action: r.Action.String(), Priority: &priority, Protocol: t.Protocol,
		Ports: t.Ports, Icmp: t.ICMP, Peer: t.Peer, Except: t.Except, Description: t.Description, Disabled: t.Disabled,
	}
}
