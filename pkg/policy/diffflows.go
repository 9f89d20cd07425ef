package policy

import (
	"cmp"
	"math"
)

// perCause is how many flows are shown of those that change for one reason.
const perCause = 3

// differ compares what becomes of flows.
type differ struct {
	*ends
	out    *Difference
	wanted int
	rules  map[RuleRef]*RuleChange
	shown  map[cause]int
	// differ remembers which pairs of tables decide otherwise at all.
	differ map[[2]*Table]bool
	pairs  int
}

// cause is why the fate of a flow changes: the rules that decided and will.
type cause struct{ before, after [2]RuleRef }

func compareRefs(a, b RuleRef) int {
	return cmp.Or(cmp.Compare(a.Group, b.Group), cmp.Compare(a.ID, b.ID))
}

// comparePairs goes through all pairs of classes in which a table changes that
// has a say in it.
func (d *differ) comparePairs() {
	members := make([][]*end, len(d.classes))
	for i := range d.all {
		members[d.all[i].class] = append(members[d.all[i].class], &d.all[i])
	}
	receives := make([]bool, len(d.classes))
	for t := range d.classes {
		receives[t] = d.changes(t, Ingress)
	}
	for s := range d.classes {
		sends := d.changes(s, Egress)
		for t := range d.classes {
			if !sends && !receives[t] || d.classes[s].identity.Rest() != d.classes[t].identity.Rest() {
				continue
			}
			if d.pairs++; d.pairs > MaxPairs {
				d.out.Partial = true
				return
			}
			source, destination := pickPair(members[s], members[t])
			if source != nil {
				d.comparePair(source, destination)
			}
		}
	}
}

// pickPair finds two ends of different endpoints.
func pickPair(sources, destinations []*end) (source, destination *end) {
	for _, d := range destinations {
		if d.endpoint() != sources[0].endpoint() {
			return sources[0], d
		}
	}
	for _, s := range sources {
		if s.endpoint() != destinations[0].endpoint() {
			return s, destinations[0]
		}
	}
	return nil, nil
}

// changes tells whether a class has another table than before.
func (d *differ) changes(class int, dir Direction) bool {
	tables := &d.classes[class].tables
	pair := [2]*Table{tables[live][dir], tables[shadow][dir]}
	differ, known := d.differ[pair]
	if !known {
		differ = !sameVerdicts(pair[0], pair[1])
		d.differ[pair] = differ
	}
	return differ
}

// sameVerdicts tells whether two tables allow the same, whatever the rules.
func sameVerdicts(a, b *Table) bool {
	for _, t := range [2]*Table{a, b} {
		for m := range t.Verdicts {
			// The row of the rest is asked for by nobody, but compared here.
			one, other := a.Verdicts[m], b.Verdicts[m]
			if m.Identity != m.Identity.Rest() {
				one, other = a.Row(m), b.Row(m)
			}
			same := true
			sweep([][]Interval{one, other}, 0, math.MaxUint16, func(_, _ uint16, at [sweptRows]int) bool {
				same = allows(one, at[0]) == allows(other, at[1])
				return same
			})
			if !same {
				return false
			}
		}
	}
	return true
}

// comparePair compares what becomes of all flows of one class of sources to one
// of destinations.
func (d *differ) comparePair(source, destination *end) {
	for _, protocol := range protocolsOf(source.identity.Rest()) {
		var rows [4][]Interval
		for side := range sides {
			rows[2*side], rows[2*side+1] = d.rowsOf(side, source.class, destination.class, protocol)
		}
		last := uint16(math.MaxUint16)
		if protocol == protoOther {
			last = 0 // they have no ports
		}
		sweep(rows[:], 0, last, func(first, last uint16, at [sweptRows]int) bool {
			before := allows(rows[0], at[0]) && allows(rows[1], at[1])
			after := allows(rows[2], at[2]) && allows(rows[3], at[3])
			if before != after {
				d.note(source, destination, protocol, first, last, rows[:], at)
			}
			return true
		})
	}
}

// note counts a class of flows whose fate changes, for the rules that are why,
// and keeps one of it.
func (d *differ) note(source, destination *end, protocol uint8, first, last uint16, rows [][]Interval, at [sweptRows]int) {
	var why cause
	s, t := &d.classes[source.class].tables, &d.classes[destination.class].tables
	opened := !allows(rows[0], at[0]) || !allows(rows[1], at[1])
	for k, tables := range [2]*policiesOf{s, t} {
		dir := [2]Direction{Egress, Ingress}[k]
		why.before[k] = tables[live][dir].ref(rows[k], at[k])
		why.after[k] = tables[shadow][dir].ref(rows[k+2], at[k+2])
		if allows(rows[k], at[k]) == allows(rows[k+2], at[k+2]) {
			continue
		}
		for _, ref := range []RuleRef{why.before[k], why.after[k]} {
			if r := d.rules[ref]; r != nil {
				r.count(opened)
			}
		}
	}
	if opened {
		d.out.Opened++
	} else {
		d.out.Closed++
	}
	if len(d.out.Flows) < d.wanted && d.shown[why] < perCause {
		d.shown[why]++
		d.show(source, destination, protocol, first, last)
	}
}

func (c *RuleChange) count(opened bool) {
	if opened {
		c.Opened++
	} else {
		c.Closed++
	}
}

func (d *differ) show(source, destination *end, protocol uint8, first, last uint16) {
	from, _ := d.sample(source, source.part)
	to, _ := d.sample(destination, destination.part)
	flow := Flow{Source: from, Destination: to, Protocol: protocol, Port: first}
	d.out.Flows = append(d.out.Flows, FlowChange{
		Flow: flow, LastPort: last, Source: source.endpoint(), Destination: destination.endpoint(),
		Before: d.vpc.Explain(flow), After: d.vpc.Candidate().Explain(flow),
	})
}
