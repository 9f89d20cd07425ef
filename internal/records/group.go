package records

import (
	"fmt"
	"strconv"

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
	for i, r := range g.GetRules() {
		rule, err := policy.ParseRule(r.text())
		if err != nil {
			return nil, fmt.Errorf("rule %d: %w", i+1, err)
		}
		rules = append(rules, rule)
	}
	return rules, nil
}

func (r *Rule) text() policy.RuleText {
	t := policy.RuleText{
		Direction: r.GetDirection(), Action: r.GetAction(), Protocol: r.GetProtocol(), ICMP: r.GetIcmp(),
		Peer: r.GetPeer(), Except: r.GetExcept(), Description: r.GetDescription(), Disabled: r.GetDisabled(),
	}
	if r.GetPorts() != "" {
		t.Ports = []string{r.GetPorts()}
	}
	if r.Priority != nil {
		t.Priority = strconv.FormatUint(uint64(r.GetPriority()), 10)
	}
	return t
}

// RuleText is the record's form of a rule. A rule that uses nothing new is
// written as it always was.
func RuleText(r policy.Rule) *Rule {
	t := r.Text()
	out := &Rule{
		Direction: t.Direction, Action: t.Action, Protocol: t.Protocol, Ports: policy.FormatPorts(r.Ports), Icmp: t.ICMP,
		Peer: t.Peer, Except: t.Except, Description: t.Description, Disabled: t.Disabled,
	}
	if t.Priority != "" {
		priority := uint32(r.Priority.Number())
		out.Priority = &priority
	}
	return out
}
