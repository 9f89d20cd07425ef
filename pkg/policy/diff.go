package policy

import (
	"fmt"
	"maps"
	"slices"
)

// Difference is what a candidate's groups would change.
type Difference struct {
	// Rules are the rules that came, went, or were described otherwise, by group
	// and ID.
	Rules []RuleChange
	// Opened and Closed count the classes of flows that would be allowed and are
	// not, and that would be dropped and are not. A class is two sets of
	// addresses that no rule tells apart, an IP protocol (all that rules have no
	// name for are one), and ports on which the same rules decide.
	Opened, Closed int
	// Flows are some of them, one of a class.
	Flows []FlowChange
	// Partial is true if there was more to compare than [MaxPairs]: the counts
	// are then too low.
	Partial bool
}

// MaxPairs is how many pairs of classes of addresses a comparison looks at.
const MaxPairs = 250_000

// ChangeKind says what became of a rule.
type ChangeKind uint8

// The kinds of changes.
const (
	RuleAdded ChangeKind = iota + 1
	RuleRemoved
	// RuleChanged is a rule that says the same, but was enabled, disabled or
	// described otherwise.
	RuleChanged
)

// String is the kind in a word.
func (k ChangeKind) String() string {
	switch k {
	case RuleAdded:
		return "added"
	case RuleRemoved:
		return "removed"
	case RuleChanged:
		return "changed"
	default:
		return fmt.Sprintf("ChangeKind(%d)", uint8(k))
	}
}

// RuleChange is a rule of one of the sets that is not so in the other.
type RuleChange struct {
	Kind   ChangeKind
	Group  string
	Before Rule // zero if it was added
	After  Rule // zero if it was removed
	// Opened and Closed count the classes of flows whose fate changes because
	// this rule does, or does not any more, decide on one of their ends.
	Opened, Closed int
}

// Rule is the rule as it would be, or as it was.
func (c *RuleChange) Rule() Rule {
	if c.Kind == RuleRemoved {
		return c.Before
	}
	return c.After
}

// FlowChange is a flow whose fate changes.
type FlowChange struct {
	// Flow has the first port of those that change alike, up to LastPort.
	Flow     Flow
	LastPort uint16
	// Source and Destination are the endpoints' names.
	Source, Destination string
	// Before and After say what becomes of it, and why.
	Before, After Explanation
}

// Diff compares the groups with the candidate's, over all that the VPC's hosts
// could send one another. It gives at most the wanted number of flows. The cost
// is that of compiling all hosts' tables, and of the pairs of classes of hosts
// whose tables differ.
func (v VPC) Diff(flows int) (*Difference, error) {
	if v.Shadow == nil {
		v.Shadow = []Group{}
	}
	e, err := v.findEnds()
	if err != nil {
		return nil, fmt.Errorf("compare groups: %w", err)
	}
	d := &differ{
		ends: e, wanted: flows,
		out:    &Difference{Rules: diffGroups(v.Groups, v.Shadow)},
		rules:  make(map[RuleRef]*RuleChange),
		shown:  make(map[cause]int),
		differ: make(map[[2]*Table]bool),
	}
	for i := range d.out.Rules {
		r := &d.out.Rules[i]
		rule := r.Rule()
		d.rules[RuleRef{Group: r.Group, ID: rule.ID()}] = r
	}
	d.comparePairs()
	return d.out, nil
}

// diffGroups compares the rules of two sets of groups.
func diffGroups(before, after []Group) []RuleChange {
	type place struct{ group, id string }
	index := func(groups []Group) map[place]Rule {
		rules := make(map[place]Rule)
		for _, g := range groups {
			for _, r := range g.Rules {
				rules[place{g.Name, r.ID()}] = r
			}
		}
		return rules
	}
	old, next := index(before), index(after)
	found := make(map[place]RuleChange)
	for at, r := range old {
		now, stays := next[at]
		switch {
		case !stays:
			found[at] = RuleChange{Kind: RuleRemoved, Group: at.group, Before: r}
		case now.Disabled != r.Disabled || now.Description != r.Description:
			found[at] = RuleChange{Kind: RuleChanged, Group: at.group, Before: r, After: now}
		}
	}
	for at, r := range next {
		if _, was := old[at]; !was {
			found[at] = RuleChange{Kind: RuleAdded, Group: at.group, After: r}
		}
	}
	var changes []RuleChange
	for _, at := range slices.SortedFunc(maps.Keys(found), func(a, b place) int {
		return compareRefs(RuleRef{a.group, a.id}, RuleRef{b.group, b.id})
	}) {
		changes = append(changes, found[at])
	}
	return changes
}
