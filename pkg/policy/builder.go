package policy

import (
	"maps"
	"slices"
)

// tableBuilder makes one table, and makes it again when something that it
// follows from has changed. What did not change is taken over as it is.
type tableBuilder struct {
	set *ruleSet
	dir Direction
	id  ID
	// groups are those that contribute rules, lists are the rules that the table
	// has.
	groups []*compiledGroup
	lists  []*ruleList
	rules  []placedRule
	// open is true if what no rule matches is allowed.
	open bool
	// named has the places in rules of the rules of each peer; what is only an
	// exception, or a group that does not exist, has none.
	named map[*selector][]int32
	// excepted are the exceptions.
	excepted map[*selector]bool
	// anyPeer are the places of the rules whose peer is any.
	anyPeer []int32
	// apart are the selectors whose identities the table may tell from the rest.
	apart []*selector
	// around is true, for each family, if the rest is taken to be inside the
	// VPC's own CIDRs.
	around [2]bool

	classes map[string]*class
	rest    [2]*class
	table   *Table
	key     []byte
	buf     []*selector
}

// placedRule is a rule, and its index in Table.Rules.
type placedRule struct {
	*compiledRule
	index uint32
}

// staleness is what there is to do anew.
type staleness struct {
	// rules is true if the rules, or which of their groups exist, changed.
	rules bool
	// all is true if every class is concerned, else selectors are those that
	// classes must have to be.
	all       bool
	selectors map[*selector]bool
}

func (s *staleness) note(r *compiledRule) {
	s.rules = true
	if r.peer == nil {
		s.all = true
		return
	}
	s.selectors[r.peer] = true
	for _, sel := range r.except {
		s.selectors[sel] = true
	}
}

// update makes the table that of the groups and identities as they are. It tells
// whether it is another one than before, as it is if there is any difference.
func (b *tableBuilder) update(hosts *hostIndex, round uint64) bool {
	first, listed := b.table == nil, b.isListed()
	if !first && listed && b.set.turned != round && hosts.moved != round {
		return false
	}
	before := b.table
	s := &staleness{rules: first, all: first, selectors: make(map[*selector]bool)}
	if first {
		b.table = &Table{Rules: []RuleRef{{}}}
	}
	refs, arranged := b.table.Rules, false
	if first || !listed {
		refs, arranged = b.takeRules(s, round)
	}
	if b.set.turned == round {
		for sel := range b.named {
			if sel.turned[b.set.side] == round {
				s.rules, s.selectors[sel] = true, true
			}
		}
	}
	if s.rules {
		if !arranged {
			b.arrange()
		}
		b.forget(s)
	}
	if s.rules || hosts.moved == round && b.isMoved(hosts, round) {
		b.fill(refs, hosts)
	}
	return b.table != before
}

// takeRules takes over the rules of the groups, and returns the table's list of
// them. It tells whether all else is arranged already: most changes are of few
// rules.
func (b *tableBuilder) takeRules(s *staleness, round uint64) (refs []RuleRef, arranged bool) {
	e, small := editOf(b.lists, b.groups, b.dir)
	b.lists = b.lists[:0]
	for _, g := range b.groups {
		b.lists = append(b.lists, g.lists[b.dir])
	}
	crowded := len(b.table.Rules) > 2*len(b.rules)+few
	if small && !s.all && b.set.turned != round && !crowded && e.isPlain(b) {
		refs, arranged = b.edit(&e, s), true
	} else {
		refs = b.replaceRules(mergeLists(b.lists), s)
	}
	open := b.dir == Egress && !slices.ContainsFunc(b.lists, func(l *ruleList) bool { return l.allows })
	s.all = s.all || open != b.open
	b.open = open
	return refs, arranged
}

// isListed tells whether the rules are those of the groups.
func (b *tableBuilder) isListed() bool {
	return slices.EqualFunc(b.lists, b.groups, func(l *ruleList, g *compiledGroup) bool { return l == g.lists[b.dir] })
}

// isMoved tells whether an identity came or went that may want a row.
func (b *tableBuilder) isMoved(hosts *hostIndex, round uint64) bool {
	for family, around := range b.around {
		if around && hosts.outsideMoved[family] == round {
			return true
		}
	}
	return slices.ContainsFunc(b.apart, func(sel *selector) bool { return sel.moved == round })
}

// replaceRules takes over rules, notes which came and went, and returns the
// table's list of them. A rule that stays keeps its index in it, so that
// intervals stay as they are; the place of one that went is not used again
// until there are many.
func (b *tableBuilder) replaceRules(rules []*compiledRule, s *staleness) []RuleRef {
	refs := slices.Clone(b.table.Rules)
	if len(refs) > 2*len(rules)+few {
		refs = refs[:1]
		b.rules, b.table, s.all = nil, &Table{}, true
	}
	old := b.rules
	b.rules = make([]placedRule, 0, len(rules))
	for _, r := range rules {
		for len(old) > 0 && old[0].before(r) < 0 {
			s.note(old[0].compiledRule)
			old = old[1:]
		}
		if len(old) > 0 && old[0].before(r) == 0 {
			b.rules = append(b.rules, placedRule{r, old[0].index})
			old = old[1:]
			continue
		}
		s.note(r)
		b.rules = append(b.rules, placedRule{r, uint32(len(refs))})
		refs = append(refs, r.ref)
	}
	for _, r := range old {
		s.note(r.compiledRule)
	}
	return refs
}

// arrange sorts the rules by what they name.
func (b *tableBuilder) arrange() {
	counts := make(map[*selector]int, len(b.rules))
	b.named, b.excepted = make(map[*selector][]int32, len(b.rules)), make(map[*selector]bool)
	b.anyPeer, b.apart, b.around = nil, nil, [2]bool{}
	for i, r := range b.rules {
		if r.peer == nil {
			b.anyPeer = append(b.anyPeer, int32(i))
			continue
		}
		count, seen := counts[r.peer]
		if count++; !b.set.has(r.peer) {
			count = 0
		}
		counts[r.peer] = count
		b.noteApart(&r, seen)
		for _, sel := range r.except {
			b.excepted[sel] = true
			counts[sel] += 0
		}
	}
	b.place(counts)
}

// noteApart notes whose identities a rule may tell from the rest.
func (b *tableBuilder) noteApart(r *placedRule, seen bool) {
	switch {
	case !b.set.has(r.peer):
	case r.peer.universal:
		family := familyOf(r.peer.cidr.Addr())
		b.around[family] = b.around[family] || r.peer.cidr.Bits() > 0
		b.apart = append(b.apart, r.except...)
	case !seen:
		b.apart = append(b.apart, r.peer)
	}
}

// place makes the lists of places that were counted, all in one piece of memory.
func (b *tableBuilder) place(counts map[*selector]int) {
	memory := make([]int32, 0, len(b.rules))
	for sel, count := range counts {
		end := len(memory) + count
		b.named[sel] = memory[len(memory):len(memory):end]
		memory = memory[:end]
	}
	for i, r := range b.rules {
		if r.peer != nil && b.set.has(r.peer) {
			b.named[r.peer] = append(b.named[r.peer], int32(i))
		}
	}
}

// has tells whether rules that name the selector can mean anybody.
func (s *ruleSet) has(sel *selector) bool {
	return sel.group == "" || s.groups[sel.group] != nil
}

// forget drops the classes that are not right any more.
func (b *tableBuilder) forget(s *staleness) {
	if s.all {
		b.classes, b.rest = make(map[string]*class), [2]*class{}
		return
	}
	maps.DeleteFunc(b.classes, func(_ string, c *class) bool {
		return slices.ContainsFunc(c.selectors, func(sel *selector) bool { return s.selectors[sel] })
	})
	for sel := range s.selectors {
		if sel.universal {
			b.rest[familyOf(sel.cidr.Addr())] = nil
		}
	}
}
