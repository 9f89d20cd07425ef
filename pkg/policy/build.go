package policy

import "slices"

// tableBuilder makes one table from its rules, which are in canonical order.
type tableBuilder struct {
	rules []compiledRule
	// anyPeer and byPeer are the numbers of the rules by what they name.
	anyPeer []uint32
	byPeer  map[selector][]uint32
	classes map[string]*class
	// used marks the rules that an interval names: rules that are wholly behind
	// others are no part of the table, nor of its ID.
	used []bool
}

// class is what the rules say of all identities that they do not tell apart.
type class struct {
	permits map[uint8][]Interval
	// digests are hashes of permits, so that each is hashed once only.
	digests map[uint8]uint64
}

// matchProtocols are the values of Match.Protocol, in the order of hashing.
var matchProtocols = []uint8{protoOther, protoICMP, protoTCP, protoUDP, protoICMPv6, protoSCTP}

func newTableBuilder(rules []compiledRule) *tableBuilder {
	b := &tableBuilder{
		rules:   rules,
		byPeer:  make(map[selector][]uint32),
		classes: make(map[string]*class),
		used:    make([]bool, len(rules)),
	}
	for i, r := range rules {
		switch {
		case r.rule.Peer.Kind == PeerAny:
			b.anyPeer = append(b.anyPeer, uint32(i))
		case r.peer != noSelector:
			b.byPeer[r.peer] = append(b.byPeer[r.peer], uint32(i))
		}
	}
	return b
}

// build returns the table and its ID.
func (b *tableBuilder) build(vni uint32, dir Direction, identities []identity) (*Table, ID) {
	perIdentity := make([]*class, len(identities))
	for i, identity := range identities {
		perIdentity[i] = b.classOf(identity)
	}
	table := &Table{Verdicts: make(map[Match][]Interval), Rules: b.renumber()}

	d := newDigest("policy v1")
	d.number(uint64(vni))
	d.number(uint64(dir))
	d.number(uint64(len(table.Rules)))
	for _, ref := range table.Rules {
		d.text(ref.Group)
		d.text(ref.ID)
	}
	for i, identity := range identities {
		for _, proto := range matchProtocols {
			intervals := perIdentity[i].permits[proto]
			if len(intervals) == 0 {
				continue
			}
			table.Verdicts[Match{Identity: identity.id, Protocol: proto}] = intervals
			d.number(uint64(identity.id))
			d.number(uint64(proto))
			d.number(perIdentity[i].digest(proto))
		}
	}
	return table, ID(d.sum64())
}

// classOf matches the rules against an identity, or finds that done for another
// identity with the same selectors, as far as these rules name them.
func (b *tableBuilder) classOf(of identity) *class {
	named := make([]selector, 0, len(of.selectors))
	for _, sel := range of.selectors {
		if _, ok := b.byPeer[sel]; ok {
			named = append(named, sel)
		}
	}
	key := string(appendKey(nil, named))
	if known, ok := b.classes[key]; ok {
		return known
	}
	numbers := slices.Clone(b.anyPeer)
	for _, sel := range named {
		numbers = append(numbers, b.byPeer[sel]...)
	}
	slices.Sort(numbers)

	spans := make(map[uint8][]Interval)
	for _, n := range numbers {
		for _, proto := range b.rules[n].rule.Protocol.matches() {
			spans[proto] = appendSpans(spans[proto], b.rules[n].rule.Ports, n)
		}
	}
	made := &class{permits: make(map[uint8][]Interval), digests: make(map[uint8]uint64)}
	for proto, overlapping := range spans {
		made.permits[proto] = flatten(overlapping)
		for _, interval := range made.permits[proto] {
			b.used[interval.Rule] = true
		}
	}
	b.classes[key] = made
	return made
}

// renumber makes intervals name rules by their place among the used ones.
func (b *tableBuilder) renumber() []RuleRef {
	var refs []RuleRef
	place := make([]uint32, len(b.rules))
	for i, used := range b.used {
		if used {
			place[i] = uint32(len(refs))
			refs = append(refs, b.rules[i].ref)
		}
	}
	for _, c := range b.classes {
		for _, intervals := range c.permits {
			for i := range intervals {
				intervals[i].Rule = place[intervals[i].Rule]
			}
		}
	}
	return refs
}

// digest must be called after renumbering only.
func (c *class) digest(proto uint8) uint64 {
	if sum, ok := c.digests[proto]; ok {
		return sum
	}
	d := newDigest("intervals v1")
	for _, interval := range c.permits[proto] {
		d.number(uint64(interval.First)<<48 | uint64(interval.Last)<<32 | uint64(interval.Rule))
	}
	c.digests[proto] = d.sum64()
	return c.digests[proto]
}
