package main

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	edgenetv1 "edgenet.dev/edgenet/api/edgenet/v1"
)

// deny is the action of a rule that is not to allow.
const deny = "deny"

// countRules counts the rules of one direction.
func countRules(g *edgenetv1.Group, direction string) string {
	n := 0
	for _, r := range g.GetRules() {
		if r.GetDirection() == direction {
			n++
		}
	}
	return strconv.Itoa(n)
}

// groupText is a group's rules, those first that decide first, and what holds
// where none matches.
func (s *session) groupText(g *edgenetv1.Group) string {
	text := details([]detail{
		{"Name", g.GetName()},
		{"VPC", g.GetVpc()},
		{"Created", s.when(g.GetCreated())},
		{"Ingress", permitted(g, "ingress", "nothing")},
		{"Egress", permitted(g, "egress", "everything")},
	})
	if len(g.GetRules()) == 0 {
		return text
	}
	rules := slices.SortedStableFunc(slices.Values(g.GetRules()), func(a, b *edgenetv1.Rule) int {
		return cmp.Or(
			-cmp.Compare(a.GetDirection(), b.GetDirection()), // ingress before egress
			cmp.Compare(a.GetPriority(), b.GetPriority()),
			-cmp.Compare(a.GetAction(), b.GetAction()), // deny before allow
		)
	})
	return text + "\n\n" + strings.TrimSuffix(table(rules, []column[*edgenetv1.Rule]{
		{"RULE", (*edgenetv1.Rule).GetId},
		{"DIRECTION", (*edgenetv1.Rule).GetDirection},
		{"PRIORITY", func(r *edgenetv1.Rule) string { return strconv.Itoa(int(r.GetPriority())) }},
		{"ACTION", ruleAction},
		{"PROTOCOL", (*edgenetv1.Rule).GetProtocol},
		{"PORTS", rulePorts},
		{"PEER", rulePeer},
		{"DESCRIPTION", (*edgenetv1.Rule).GetDescription},
	}), "\n")
}

// permitted says what of a direction passes by this group alone.
func permitted(g *edgenetv1.Group, direction, otherwise string) string {
	allows, denies := false, false
	for _, r := range g.GetRules() {
		if r.GetDirection() != direction || r.GetDisabled() {
			continue
		}
		allows = allows || r.GetAction() != deny
		denies = denies || r.GetAction() == deny
	}
	switch {
	case allows:
		return "only what rules allow"
	case denies && direction == "egress":
		return "everything that no rule denies"
	}
	return otherwise
}

func ruleAction(r *edgenetv1.Rule) string {
	if r.GetDisabled() {
		return r.GetAction() + " (disabled)"
	}
	return r.GetAction()
}

// rulePorts are the ports, or the type and code of ICMP.
func rulePorts(r *edgenetv1.Rule) string {
	switch kind, code, coded := strings.Cut(r.GetIcmp(), "/"); {
	case coded:
		return "type " + kind + " code " + code
	case kind != "":
		return "type " + kind
	case len(r.GetPorts()) == 0:
		return "all"
	}
	return list(r.GetPorts())
}

func rulePeer(r *edgenetv1.Rule) string {
	if len(r.GetExcept()) == 0 {
		return r.GetPeer()
	}
	return r.GetPeer() + " except " + list(r.GetExcept())
}
