package policy

import (
	"cmp"
	"fmt"
	"slices"
)

// sides are the live groups and those of the candidate.
const (
	live = iota
	shadow
	sides
)

// compiledRule is a rule as tables need it, worked out once.
type compiledRule struct {
	ref  RuleRef
	rule Rule
	// peer is nil for any.
	peer   *selector
	except []*selector
}

// before is the order in which rules decide. It is 0 for one rule only: two of
// one group differ in their ID.
func (r *compiledRule) before(other *compiledRule) int {
	if r == other {
		return 0
	}
	return cmp.Or(
		r.rule.Priority.Compare(other.rule.Priority),
		cmp.Compare(other.rule.Action, r.rule.Action), // deny first
		cmp.Compare(r.ref.Group, other.ref.Group),
		cmp.Compare(r.ref.ID, other.ref.ID),
	)
}

// compiledGroup is a group, and what was worked out of its rules.
type compiledGroup struct {
	rules    []Rule
	compiled []*compiledRule // one for each
	lists    [Egress + 1]*ruleList
	seen     uint64
}

// ruleSet has the groups of one side.
type ruleSet struct {
	side   int
	groups map[string]*compiledGroup
	// turned is the last round in which a group came or went, version changes
	// when that or which groups have rules does.
	turned, version uint64
}

// update makes the set that of the given groups, whose names differ.
func (s *ruleSet) update(groups []Group, sels *selectors, round uint64) error {
	for i := range groups {
		g := &groups[i]
		have, ok := s.groups[g.Name]
		if !ok {
			if err := ValidateName(g.Name); err != nil {
				return fmt.Errorf("group: %w", err)
			}
			have = &compiledGroup{}
			s.groups[g.Name] = have
			s.turn(g.Name, sels, round)
		}
		have.seen = round
		if sameMemory(have.rules, g.Rules) {
			continue
		}
		contributed := have.contributes()
		if err := have.update(g, sels); err != nil {
			return fmt.Errorf("group %s: %w", g.Name, err)
		}
		if have.contributes() != contributed {
			s.version++
		}
	}
	if len(s.groups) == len(groups) {
		return nil
	}
	for name, g := range s.groups {
		if g.seen != round {
			g.release(g.compiled, sels)
			delete(s.groups, name)
			s.turn(name, sels, round)
		}
	}
	return nil
}

// turn notes that a group came or went, if rules name it.
func (s *ruleSet) turn(name string, sels *selectors, round uint64) {
	s.turned = round
	s.version++
	if sel, ok := sels.groups[name]; ok {
		sel.turned[s.side] = round
	}
}

// update takes over the rules of a group.
func (g *compiledGroup) update(from *Group, sels *selectors) error {
	twins := align(g.rules, from.Rules, (*Rule).same)
	compiled := make([]*compiledRule, len(from.Rules))
	kept := make([]bool, len(g.rules))
	var gone, born []*compiledRule
	for i := range from.Rules {
		if twin := twins[i]; twin >= 0 {
			compiled[i], kept[twin] = g.compiled[twin], true
			continue
		}
		if err := from.Rules[i].Validate(); err != nil {
			return err
		}
		compiled[i] = compileRule(from.Name, &from.Rules[i], sels)
		born = append(born, compiled[i])
	}
	for i, old := range g.compiled {
		if !kept[i] {
			gone = append(gone, old)
		}
	}
	if len(born) > 0 {
		if err := checkTwice(compiled); err != nil {
			return err
		}
	}
	g.release(gone, sels)
	g.rules, g.compiled = from.Rules, compiled
	for _, dir := range directions {
		g.lists[dir] = g.lists[dir].update(dir, gone, born)
	}
	return nil
}

// contributes tells, for each direction, whether the group has rules.
func (g *compiledGroup) contributes() (has [len(directions)]bool) {
	for i, dir := range directions {
		has[i] = g.lists[dir].has()
	}
	return has
}

func (g *compiledGroup) release(rules []*compiledRule, sels *selectors) {
	for _, r := range rules {
		if r.peer != nil {
			sels.release(r.peer)
		}
		for _, sel := range r.except {
			sels.release(sel)
		}
	}
}

// same tells whether two rules are equal in all but their description.
func (r *Rule) same(other *Rule) bool {
	return r.Direction == other.Direction && r.Action == other.Action && r.Priority == other.Priority &&
		r.Protocol == other.Protocol && r.ICMP == other.ICMP && r.Disabled == other.Disabled &&
		slices.Equal(r.Ports, other.Ports) && r.Peer.same(&other.Peer)
}

func (p *Peer) same(other *Peer) bool {
	return p.Kind == other.Kind && p.CIDR == other.CIDR && p.Group == other.Group && slices.Equal(p.Except, other.Except)
}

func compileRule(group string, r *Rule, sels *selectors) *compiledRule {
	made := &compiledRule{ref: RuleRef{Group: group, ID: r.ID()}, rule: *r}
	switch r.Peer.Kind {
	case PeerCIDR:
		made.peer = sels.retain(sels.cidr(r.Peer.CIDR))
	case PeerGroup:
		made.peer = sels.retain(sels.name(r.Peer.Group))
	case PeerAny:
	}
	for _, cidr := range r.Peer.Except {
		made.except = append(made.except, sels.retain(sels.cidr(cidr)))
	}
	return made
}

func checkTwice(rules []*compiledRule) error {
	ids := make(map[string]struct{}, len(rules))
	for _, r := range rules {
		if _, twice := ids[r.ref.ID]; twice {
			return fmt.Errorf("rule %s (%s) is there twice", r.ref.ID, r.rule)
		}
		ids[r.ref.ID] = struct{}{}
	}
	return nil
}
