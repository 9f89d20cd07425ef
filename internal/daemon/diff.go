package daemon

import (
	"fmt"

	api "edgenet.dev/edgenet/api/edgenet/v1"
	"edgenet.dev/edgenet/internal/records"
	"edgenet.dev/edgenet/pkg/policy"
)

// diffSamples is how many flows a comparison shows.
const diffSamples = 20

// DiffGroups tells what would change if groups had other rules, as this node
// knows rules and endpoints.
func (d *Daemon) DiffGroups(req *api.DiffGroupsRequest) (*api.DiffGroupsResponse, error) {
	wanted, err := parseGroupRules(req.GetGroups())
	if err != nil {
		return nil, fmt.Errorf("compare groups: %w", err)
	}
	v, err := d.candidate(req.GetVpc(), wanted)
	if err != nil {
		return nil, fmt.Errorf("compare groups: %w", err)
	}
	now := v.whole()
	then := withRules(now, wanted)
	now.Shadow = then.Groups
	difference, err := now.Diff(diffSamples)
	if err != nil {
		return nil, fmt.Errorf("compare groups: %w", err)
	}
	kept, err := d.tests(v)
	if err != nil {
		return nil, fmt.Errorf("compare groups: %w", err)
	}
	out := &api.DiffGroupsResponse{
		Allowed: uint64(difference.Opened), Dropped: uint64(difference.Closed), Partial: difference.Partial,
		Broken: brokenOf(runTests(v, then, kept)),
	}
	for i := range difference.Rules {
		out.Rules = append(out.Rules, apiRuleChange(&difference.Rules[i]))
	}
	for i := range difference.Flows {
		out.Samples = append(out.Samples, apiFlowChange(&difference.Flows[i]))
	}
	return out, nil
}

func apiRuleChange(c *policy.RuleChange) *api.RuleChange {
	out := &api.RuleChange{Group: c.Group, Change: c.Kind.String(), Allowed: uint64(c.Opened), Dropped: uint64(c.Closed)}
	if c.Kind != policy.RuleAdded {
		out.Before = apiRule(c.Before)
	}
	if c.Kind != policy.RuleRemoved {
		out.After = apiRule(c.After)
	}
	return out
}

func apiFlowChange(c *policy.FlowChange) *api.FlowChange {
	out := &api.FlowChange{
		Source: c.Flow.Source.String(), SourceEndpoint: c.Source,
		Destination: c.Flow.Destination.String(), DestinationEndpoint: c.Destination,
		Protocol: formatProtocol(c.Flow.Protocol),
		Before:   fate(c.Before), After: fate(c.After), BeforeWhy: why(c.Before), AfterWhy: why(c.After),
	}
	switch {
	case isICMP(c.Flow.Protocol):
		out.Icmp = formatICMP(c.Flow.Port)
	case hasPorts(c.Flow.Protocol):
		out.Port, out.LastPort = uint32(c.Flow.Port), uint32(c.LastPort)
	}
	return out
}

func fate(e policy.Explanation) string {
	if e.Allowed {
		return "allowed"
	}
	return "dropped"
}

// why is what decides: the side that drops, or else both.
func why(e policy.Explanation) string {
	switch {
	case !e.Egress.Allowed:
		return e.Egress.Why
	case !e.Ingress.Allowed:
		return e.Ingress.Why
	}
	return e.Egress.Why + "; " + e.Ingress.Why
}

// candidate checks rules that groups of a VPC may get.
func (d *Daemon) candidate(vpcName string, wanted map[string][]policy.Rule) (*vpc, error) {
	s := d.snapshot()
	next := make(map[string]*records.Group, len(wanted))
	for name, rules := range wanted {
		v, g, err := s.group(name, vpcName)
		if err != nil {
			return nil, err
		}
		for _, r := range rules {
			if err := v.knowsPeer(r); err != nil {
				return nil, fmt.Errorf("group %s: %w", name, err)
			}
		}
		next[name] = g.withRules(rules)
	}
	v, ok := s.vpcs[vpcName]
	if !ok {
		return nil, notFound("vpc %q: not found", vpcName)
	}
	return v, v.hasRoom(next)
}
