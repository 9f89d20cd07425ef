package policy

import (
	"cmp"
	"slices"
)

// edit is a change of some of the rules of a table.
type edit struct {
	// born are in the order in which rules decide.
	gone, born []*compiledRule
}

// editOf finds what is different between the lists that a table's rules were
// taken from and those that they are to be taken from: of the same groups, one
// after another. It is false where the difference is not one of few rules.
func editOf(before []*ruleList, groups []*compiledGroup, dir Direction) (e edit, ok bool) {
	if len(before) != len(groups) {
		return e, false
	}
	for i, g := range groups {
		if before[i] != g.lists[dir] && !e.add(before[i].all(), g.lists[dir].all()) {
			return e, false
		}
	}
	slices.SortFunc(e.born, (*compiledRule).before)
	return e, true
}

// add notes what is different between two lists, unless that is much.
func (e *edit) add(old, now []*compiledRule) bool {
	for len(old) > 0 || len(now) > 0 {
		switch order := compareFirst(old, now); {
		case order == 0 && old[0] == now[0]:
			old, now = old[1:], now[1:]
			continue
		case order <= 0: // what is the same but for its description is another
			e.gone, old = append(e.gone, old[0]), old[1:]
		default:
			e.born, now = append(e.born, now[0]), now[1:]
		}
		if len(e.gone)+len(e.born) > few {
			return false
		}
	}
	return true
}

// compareFirst compares the first rules of two lists; none comes last.
func compareFirst(old, now []*compiledRule) int {
	switch {
	case len(now) == 0:
		return -1
	case len(old) == 0:
		return 1
	}
	return old[0].before(now[0])
}

// isPlain tells whether the rest of what a builder knows stays as it is: no rule
// of the edit has exceptions, is excepted from, or names everybody of a family.
func (e *edit) isPlain(b *tableBuilder) bool {
	special := func(r *compiledRule) bool {
		return len(r.except) > 0 || r.peer != nil && (r.peer.universal || b.excepted[r.peer] || !b.set.has(r.peer))
	}
	return !slices.ContainsFunc(e.gone, special) && !slices.ContainsFunc(e.born, special)
}

// cut is a place in a list of rules at which one goes, or another comes before.
type cut struct {
	at   int
	born *compiledRule
}

// cuts finds the places, in order.
func (e *edit) cuts(rules []placedRule) []cut {
	cuts := make([]cut, 0, len(e.gone)+len(e.born))
	find := func(r *compiledRule) int {
		at, _ := slices.BinarySearchFunc(rules, r, func(a placedRule, r *compiledRule) int { return a.before(r) })
		return at
	}
	for _, r := range e.born {
		cuts = append(cuts, cut{find(r), r})
	}
	for _, r := range e.gone {
		cuts = append(cuts, cut{find(r), nil})
	}
	slices.SortStableFunc(cuts, func(a, b cut) int { return cmp.Compare(a.at, b.at) })
	return cuts
}

// edit changes some of the rules, and all that was worked out of them. It returns
// the table's list of rules.
func (b *tableBuilder) edit(e *edit, s *staleness) []RuleRef {
	refs := slices.Clone(b.table.Rules)
	next, moved := make([]placedRule, 0, len(b.rules)+len(e.born)), make([]int32, 0, len(b.rules))
	keep := func(until int) {
		for i := len(moved); i < until; i++ {
			moved = append(moved, int32(len(next)))
			next = append(next, b.rules[i])
		}
	}
	var born []int32
	for _, c := range e.cuts(b.rules) {
		keep(c.at)
		if c.born == nil {
			s.note(b.rules[c.at].compiledRule)
			moved = append(moved, -1)
			continue
		}
		s.note(c.born)
		born = append(born, int32(len(next)))
		next, refs = append(next, placedRule{c.born, uint32(len(refs))}), append(refs, c.born.ref)
	}
	keep(len(b.rules))
	b.rules = next
	b.move(moved)
	for _, place := range born {
		b.enlist(place)
	}
	return refs
}

// move takes the rules that are named to their new places, -1 for those that are
// gone.
func (b *tableBuilder) move(moved []int32) {
	follow := func(places []int32) []int32 {
		left := places[:0]
		for _, place := range places {
			if moved[place] >= 0 {
				left = append(left, moved[place])
			}
		}
		return left
	}
	b.anyPeer = follow(b.anyPeer)
	for sel, places := range b.named {
		left := follow(places)
		switch {
		case len(left) == len(places):
		case len(left) > 0:
			b.named[sel] = left
		default:
			delete(b.named, sel)
			b.apart = slices.DeleteFunc(b.apart, func(other *selector) bool { return other == sel })
		}
	}
}

// enlist notes what the rule at a place names.
func (b *tableBuilder) enlist(place int32) {
	peer := b.rules[place].peer
	if peer == nil {
		b.anyPeer = append(b.anyPeer, place)
		return
	}
	if _, named := b.named[peer]; !named {
		b.apart = append(b.apart, peer)
	}
	b.named[peer] = append(slices.Clip(b.named[peer]), place)
}
