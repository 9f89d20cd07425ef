package policy

import (
	"net/netip"
	"slices"
	"sort"
)

// selector is something that rules name the other side by: a group, or a CIDR
// (of a peer or an exception), or a CIDR of the VPC itself. It lives as long as
// something names it.
type selector struct {
	// id is never given out twice by a compiler.
	id    uint64
	group string
	cidr  netip.Prefix
	// refs counts the rules that name it.
	refs int
	// declared is true for a CIDR of the VPC itself.
	declared bool
	// universal is true for a CIDR around all of the VPC's own of its family.
	universal bool

	// parent is the smallest CIDR around a CIDR, first and last its place and
	// that of the last CIDR inside it in selectors.cidrs.
	parent      *selector
	first, last int
	// identities are those that have it.
	identities []*identity

	// moved is the round in which an identity that has it came or went.
	moved uint64
	// turned is, for each side, the round in which its group came or went.
	turned [sides]uint64
}

// selectors are all that the rules of a VPC name.
type selectors struct {
	nextID uint64
	groups map[string]*selector
	byCIDR map[netip.Prefix]*selector
	// declared are the VPC's own CIDRs.
	declared []*selector
	// cidrs are sorted, so that each stands before those inside it.
	cidrs []*selector
	// starts are the first addresses of ranges that have the same smallest CIDR
	// around them, in order; owners are those CIDRs.
	starts []netip.Addr
	owners []*selector

	// What came and went since the last settle.
	bornNames, bornCIDRs []*selector
	idle                 []*selector
}

func newSelectors(declared []netip.Prefix) *selectors {
	s := &selectors{groups: make(map[string]*selector), byCIDR: make(map[netip.Prefix]*selector)}
	// Every address has a CIDR around it.
	for _, root := range []string{"0.0.0.0/0", "::/0"} {
		s.cidr(netip.MustParsePrefix(root)).refs++
	}
	for _, cidr := range declared {
		sel := s.cidr(cidr)
		sel.refs++
		sel.declared = true
		s.declared = append(s.declared, sel)
	}
	return s
}

// name is the selector of a group; it is made if need be.
func (s *selectors) name(group string) *selector {
	sel, ok := s.groups[group]
	if !ok {
		s.nextID++
		sel = &selector{id: s.nextID, group: group}
		s.groups[group] = sel
		s.bornNames = append(s.bornNames, sel)
	}
	return sel
}

// cidr is the selector of a CIDR; it is made if need be.
func (s *selectors) cidr(cidr netip.Prefix) *selector {
	sel, ok := s.byCIDR[cidr]
	if !ok {
		s.nextID++
		sel = &selector{id: s.nextID, cidr: cidr}
		s.byCIDR[cidr] = sel
		s.bornCIDRs = append(s.bornCIDRs, sel)
	}
	return sel
}

// retain gives a rule to a selector.
func (s *selectors) retain(sel *selector) *selector {
	sel.refs++
	return sel
}

// release takes a rule from a selector, which may end it at the next settle.
func (s *selectors) release(sel *selector) {
	sel.refs--
	if sel.refs == 0 {
		s.idle = append(s.idle, sel)
	}
}

// changes are the selectors that came or went in a round.
type changes struct {
	names map[string]bool
	cidrs []netip.Prefix
}

// settle drops the selectors that nothing names any more, and puts the CIDRs in
// order.
func (s *selectors) settle() changes {
	var changed changes
	gone := make(map[*selector]bool)
	for _, sel := range s.idle {
		if sel.refs == 0 {
			gone[sel] = true
		}
	}
	reordered := false
	note := func(sel *selector) {
		if sel.group == "" {
			changed.cidrs = append(changed.cidrs, sel.cidr)
			reordered = true
			return
		}
		if changed.names == nil {
			changed.names = make(map[string]bool)
		}
		changed.names[sel.group] = true
	}
	for sel := range gone {
		note(sel)
		if sel.group == "" {
			delete(s.byCIDR, sel.cidr)
		} else {
			delete(s.groups, sel.group)
		}
	}
	for _, sel := range slices.Concat(s.bornNames, s.bornCIDRs) {
		if !gone[sel] {
			note(sel)
		}
	}
	if reordered {
		s.reorder(gone)
	}
	s.bornNames, s.bornCIDRs, s.idle = nil, nil, nil
	return changed
}

// few is the number of changes up to which it pays to look at each by itself.
const few = 16

// reorder sorts the CIDRs anew, without those that are gone.
func (s *selectors) reorder(gone map[*selector]bool) {
	if len(gone) > 0 {
		s.cidrs = slices.DeleteFunc(s.cidrs, func(sel *selector) bool { return gone[sel] })
	}
	byCIDR := func(a, b *selector) int { return a.cidr.Compare(b.cidr) }
	born := slices.DeleteFunc(s.bornCIDRs, func(sel *selector) bool { return gone[sel] })
	if len(born) <= few {
		for _, sel := range born {
			at, _ := slices.BinarySearchFunc(s.cidrs, sel, byCIDR)
			s.cidrs = slices.Insert(s.cidrs, at, sel)
		}
	} else {
		s.cidrs = append(s.cidrs, born...)
		slices.SortFunc(s.cidrs, byCIDR)
	}
	s.nest()
	for _, sel := range s.cidrs {
		sel.universal = sel.cidr.Bits() == 0 || s.holdsAllDeclared(sel)
	}
}

// holdsAllDeclared tells whether the VPC has CIDRs of the family, and all of
// them are inside this one.
func (s *selectors) holdsAllDeclared(sel *selector) bool {
	some := false
	for _, own := range s.declared {
		if own.cidr.Addr().Is4() != sel.cidr.Addr().Is4() {
			continue
		}
		if own.cidr.Bits() < sel.cidr.Bits() || !sel.cidr.Contains(own.cidr.Addr()) {
			return false
		}
		some = true
	}
	return some
}

// nest finds what is inside what, and makes the ranges.
func (s *selectors) nest() {
	s.starts, s.owners = s.starts[:0], s.owners[:0]
	var open []*selector
	shut := func(next int) {
		top := open[len(open)-1]
		open = open[:len(open)-1]
		top.last = next - 1
		if after := lastAddr(top.cidr).Next(); after.IsValid() && top.parent != nil {
			s.begin(after, top.parent)
		}
	}
	for i, sel := range s.cidrs {
		for len(open) > 0 && !open[len(open)-1].cidr.Contains(sel.cidr.Addr()) {
			shut(i)
		}
		sel.first, sel.parent = i, nil
		if len(open) > 0 {
			sel.parent = open[len(open)-1]
		}
		s.begin(sel.cidr.Addr(), sel)
		open = append(open, sel)
	}
	for len(open) > 0 {
		shut(len(s.cidrs))
	}
}

// begin makes a range begin at start, instead of one that begins there already.
func (s *selectors) begin(start netip.Addr, owner *selector) {
	if n := len(s.starts); n > 0 && s.starts[n-1] == start {
		s.owners[n-1] = owner
		return
	}
	s.starts, s.owners = append(s.starts, start), append(s.owners, owner)
}

// owner is the smallest CIDR around an address.
func (s *selectors) owner(addr netip.Addr) *selector {
	after := sort.Search(len(s.starts), func(i int) bool { return s.starts[i].Compare(addr) > 0 })
	return s.owners[after-1]
}

// around is the smallest CIDR around a prefix, or the prefix itself.
func (s *selectors) around(prefix netip.Prefix) *selector {
	sel := s.owner(prefix.Addr())
	for sel.cidr.Bits() > prefix.Bits() {
		sel = sel.parent
	}
	return sel
}

// lastAddr is the last address of a masked prefix.
func lastAddr(prefix netip.Prefix) netip.Addr {
	bytes := prefix.Addr().AsSlice()
	for bit := prefix.Bits(); bit < len(bytes)*8; bit++ {
		bytes[bit/8] |= 0x80 >> (bit % 8)
	}
	addr, _ := netip.AddrFromSlice(bytes)
	return addr
}
