package policy

import (
	"maps"
	"slices"
)

// fill makes the rows.
func (b *tableBuilder) fill(refs []RuleRef, hosts *hostIndex) {
	f := &filling{builder: b, old: b.table.Verdicts, rows: make(map[Match][]Interval, len(b.table.Verdicts))}
	for family := range b.rest {
		if b.rest[family] == nil {
			b.rest[family] = b.restOf(Identity(family))
		}
		for p, row := range b.rest[family].rows {
			if len(row) > 0 {
				f.put(Match{Identity: Identity(family), Protocol: matchProtocols[p]}, row)
			}
		}
	}
	hosts.visits++
	visit := hosts.visits
	meet := func(identities []*identity) {
		for _, id := range identities {
			if id.met != visit {
				id.met = visit
				f.tellApart(id, visit)
			}
		}
	}
	for _, sel := range b.apart {
		meet(sel.identities)
	}
	for family, around := range b.around {
		if around {
			meet(hosts.outsiders[family])
		}
	}
	maps.DeleteFunc(b.classes, func(_ string, c *class) bool { return c.met != visit })
	if f.changed || len(f.rows) != len(f.old) || len(refs) != len(b.table.Rules) {
		b.table = &Table{Verdicts: f.rows, Rules: refs}
	}
}

// filling is a table while its rows are made.
type filling struct {
	builder   *tableBuilder
	old, rows map[Match][]Interval
	changed   bool
}

// put adds a row: the very one that was there before, if it is the same.
func (f *filling) put(m Match, row []Interval) {
	if was := f.old[m]; len(was) > 0 && (sameMemory(was, row) || slices.Equal(was, row)) {
		row = was
	} else {
		f.changed = true
	}
	f.rows[m] = row
}

// tellApart adds the rows of an identity in which it differs from the rest.
func (f *filling) tellApart(id *identity, visit uint64) {
	own, rest := f.builder.classOf(id), f.builder.rest[id.id.Rest()]
	own.met = visit
	for p, row := range own.rows {
		if slices.Equal(row, rest.rows[p]) {
			continue
		}
		if len(row) == 0 {
			row = refusal
		}
		f.put(Match{Identity: id.id, Protocol: matchProtocols[p]}, row)
	}
}
