package policy

import (
	"math"
	"slices"
)

// matchProtocols are the values of Match.Protocol.
var matchProtocols = [...]uint8{protoOther, protoICMP, protoTCP, protoUDP, protoICMPv6, protoSCTP}

// refusal is the row of an identity that no rule matches, where the rest has
// one.
var refusal = []Interval{{First: 0, Last: math.MaxUint16, Action: Deny}}

// class is what the rules say of all identities that they do not tell apart.
type class struct {
	// selectors are those of them that rules name.
	selectors []*selector
	// rows has the intervals for each of matchProtocols.
	rows [len(matchProtocols)][]Interval
	// met is the last visit of the table's builder.
	met uint64
}

// classOf matches the rules against an identity, or finds that done for another
// one that has the same selectors, as far as these rules name them.
func (b *tableBuilder) classOf(of *identity) *class {
	b.buf = b.buf[:0]
	of.each(func(sel *selector) {
		if _, ok := b.named[sel]; ok {
			b.buf = append(b.buf, sel)
		}
	})
	b.key = appendKey(b.key[:0], b.buf)
	if known, ok := b.classes[string(b.key)]; ok {
		return known
	}
	made := &class{selectors: slices.Clone(b.buf)}
	places := slices.Clone(b.anyPeer)
	for _, sel := range made.selectors {
		for _, place := range b.named[sel] {
			if !isExcepted(b.rules[place].except, made.selectors) {
				places = append(places, place)
			}
		}
	}
	made.rows = b.decide(places)
	b.classes[string(b.key)] = made
	return made
}

func isExcepted(except, selectors []*selector) bool {
	return slices.ContainsFunc(except, func(sel *selector) bool { return slices.Contains(selectors, sel) })
}

// restOf is the class of everything of a family that the rules do not tell
// apart: it has the CIDRs around all of the VPC's own.
func (b *tableBuilder) restOf(family Identity) *class {
	places := slices.Clone(b.anyPeer)
	for sel, named := range b.named {
		if sel.universal && familyOf(sel.cidr.Addr()) == family {
			places = append(places, named...)
		}
	}
	return &class{rows: b.decide(places)}
}

// decide finds out which of some rules decides on which ports.
func (b *tableBuilder) decide(places []int32) (rows [len(matchProtocols)][]Interval) {
	slices.Sort(places)
	// Nothing comes to bear behind a rule that matches every protocol.
	end := slices.IndexFunc(places, func(i int32) bool { return b.rules[i].rule.Protocol == ProtocolAny })
	last := int32(len(b.rules)) // the default
	if end >= 0 {
		last, places = places[end], places[:end]
	}
	var common []Interval
	if end >= 0 || b.open {
		common = []Interval{b.interval(0, math.MaxUint16, last)}
	}
	for p, protocol := range matchProtocols {
		var spans []Interval
		for _, i := range places {
			if r := &b.rules[i].rule; r.Protocol.matches(protocol) {
				spans = appendSpans(spans, r, uint32(i))
			}
		}
		if len(spans) == 0 {
			rows[p] = common
			continue
		}
		if common != nil {
			spans = append(spans, Interval{First: 0, Last: math.MaxUint16, Rule: uint32(last)})
		}
		rows[p] = flatten(spans)
		for i, flat := range rows[p] {
			rows[p][i] = b.interval(flat.First, flat.Last, int32(flat.Rule))
		}
	}
	return rows
}

// interval is what the rule at a place says; behind all rules is the default.
func (b *tableBuilder) interval(first, last uint16, place int32) Interval {
	if int(place) == len(b.rules) {
		return Interval{First: first, Last: last, Action: Allow}
	}
	r := b.rules[place]
	return Interval{First: first, Last: last, Rule: r.index, Action: r.rule.Action}
}
