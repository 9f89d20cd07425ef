package policy

import (
	"cmp"
	"encoding/binary"
	"net/netip"
	"slices"
)

// identity is what rules can tell a host by: the groups that it carries, as far
// as rules name them, and the smallest CIDR around it.
type identity struct {
	id     Identity
	groups []*selector // by their id
	owner  *selector
	// outside is true for what is in none of the VPC's own CIDRs.
	outside bool
	// seen is the last round in which a host had it, met the last visit of a
	// table's builder.
	seen, met uint64
}

// each calls f for each selector that the identity has.
func (i *identity) each(f func(*selector)) {
	for _, sel := range i.groups {
		f(sel)
	}
	for sel := i.owner; sel != nil; sel = sel.parent {
		f(sel)
	}
}

// identify finds or makes the identity of who carries groups in a CIDR.
func (x *hostIndex) identify(groups []string, owner *selector, sels *selectors, round uint64) *identity {
	x.buf = x.buf[:0]
	for _, name := range groups {
		if sel, ok := sels.groups[name]; ok {
			x.buf = append(x.buf, sel)
		}
	}
	slices.SortFunc(x.buf, func(a, b *selector) int { return cmp.Compare(a.id, b.id) })
	x.buf = slices.Compact(x.buf)
	x.key = binary.BigEndian.AppendUint64(x.key[:0], owner.id)
	x.key = appendKey(x.key, x.buf)
	if known, ok := x.byKey[string(x.key)]; ok {
		known.seen = round
		return known
	}
	made := &identity{groups: slices.Clone(x.buf), owner: owner, seen: round}
	// Whose groups have the number of others' by chance, or because somebody
	// looked for such, takes the next free one: identities count on this host alone.
	made.id = made.hash(x.vni)
	for x.taken[made.id] || made.id == made.id.Rest() {
		made.id += 2
	}
	made.outside = len(sels.declared) > 0
	x.moved = round
	made.each(func(sel *selector) {
		made.outside = made.outside && !sel.declared
		sel.moved = round
	})
	if made.outside {
		x.outsideMoved[made.id.Rest()] = round
	}
	x.taken[made.id] = true
	x.byKey[string(x.key)] = made
	return made
}

// hash names an identity by what its selectors stand for.
func (i *identity) hash(vni uint32) Identity {
	names := make([]string, len(i.groups))
	for n, sel := range i.groups {
		names[n] = sel.group
	}
	slices.Sort(names)
	d := newDigest("identity v2")
	d.number(uint64(vni))
	d.text(i.owner.cidr.String())
	for _, name := range names {
		d.text(name)
	}
	return Identity(d.sum64())&^1 | familyOf(i.owner.cidr.Addr())
}

// sweep forgets the identities that no host has any more.
func (x *hostIndex) sweep(round uint64) {
	for key, id := range x.byKey {
		if id.seen == round {
			continue
		}
		x.moved = round
		id.each(func(sel *selector) { sel.moved = round })
		if id.outside {
			x.outsideMoved[id.id.Rest()] = round
		}
		delete(x.byKey, key)
		delete(x.taken, id.id)
	}
}

// index tells each selector which identities have it.
func (x *hostIndex) index(sels *selectors) {
	for _, sel := range sels.groups {
		sel.identities = nil
	}
	x.outsiders = [2][]*identity{}
	// A counting sort by the place of the smallest CIDR: those inside a CIDR are
	// then in a row.
	begin := make([]int, len(sels.cidrs)+2)
	for _, id := range x.byKey {
		begin[id.owner.first+2]++
	}
	for i := 1; i < len(begin); i++ {
		begin[i] += begin[i-1]
	}
	ordered := make([]*identity, len(x.byKey))
	for _, id := range x.byKey {
		ordered[begin[id.owner.first+1]] = id
		begin[id.owner.first+1]++
		for _, sel := range id.groups {
			sel.identities = append(sel.identities, id)
		}
		if id.outside {
			x.outsiders[id.id.Rest()] = append(x.outsiders[id.id.Rest()], id)
		}
	}
	for _, sel := range sels.cidrs {
		sel.identities = ordered[begin[sel.first]:begin[sel.last+1]]
	}
}

// appendKey makes selectors usable as the key of a map.
func appendKey(key []byte, sels []*selector) []byte {
	for _, sel := range sels {
		key = binary.BigEndian.AppendUint64(key, sel.id)
	}
	return key
}

// familyOf is what identities of the address have as their Rest.
func familyOf(addr netip.Addr) Identity {
	if addr.Is4() {
		return Rest4
	}
	return Rest6
}
