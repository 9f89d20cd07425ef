package policy

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"maps"
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

// hostIndex gives hosts their identities.
type hostIndex struct {
	vni   uint32
	hosts []Host
	// of has the identity of each host that is an address.
	of    []*identity
	byKey map[string]*identity
	taken map[Identity]bool
	// outsiders are, for each family, the identities outside the VPC's CIDRs,
	// outsideMoved the round in which one came or went.
	outsiders    [2][]*identity
	outsideMoved [2]uint64
	// moved is the last round in which any identity came or went.
	moved uint64

	// addresses and prefixes are handed out: they are replaced, never changed.
	addresses map[netip.Addr]Identity
	prefixes  map[netip.Prefix]Identity

	// visits numbers the walks of builders over identities.
	visits uint64
	key    []byte
	buf    []*selector
}

func newHostIndex(vni uint32) *hostIndex {
	return &hostIndex{
		vni:       vni,
		byKey:     make(map[string]*identity),
		taken:     make(map[Identity]bool),
		addresses: make(map[netip.Addr]Identity),
		prefixes:  make(map[netip.Prefix]Identity),
	}
}

// update gives identities to the hosts, after the selectors changed.
func (x *hostIndex) update(hosts []Host, sels *selectors, changed changes, round uint64) error {
	same := sameMemory(x.hosts, hosts)
	if same && len(changed.cidrs) == 0 && len(changed.names) == 0 {
		return nil
	}
	var twins []int32
	if !same {
		twins = align(x.hosts, hosts, (*Host).same)
	}
	next, err := x.identifyAll(hosts, twins, sels, changed, round)
	if err != nil {
		return err
	}
	moved := next.moved()
	if moved {
		if x.addresses, err = next.apply(x.addresses); err != nil {
			return err
		}
	}
	prefixes, err := x.splitPrefixes(hosts, sels, round)
	if err != nil {
		return err
	}
	if !maps.Equal(prefixes, x.prefixes) {
		x.prefixes, moved = prefixes, true
	}
	x.hosts, x.of = hosts, next.of
	if moved {
		x.sweep(round)
	}
	x.index(sels)
	return nil
}

// assignment is what becomes of the identities of addresses in one round.
type assignment struct {
	hosts []Host
	of    []*identity
	// gone are addresses that may have no host any more, born hosts that have no
	// twin, turned hosts that have, and another identity than it.
	gone         []netip.Addr
	born, turned []int
}

func (a *assignment) moved() bool { return len(a.gone)+len(a.born)+len(a.turned) > 0 }

// apply is the addresses after the changes.
func (a *assignment) apply(before map[netip.Addr]Identity) (map[netip.Addr]Identity, error) {
	var after map[netip.Addr]Identity
	if len(a.gone) >= len(before) {
		after = make(map[netip.Addr]Identity, len(a.born))
	} else {
		after = maps.Clone(before)
		for _, addr := range a.gone {
			delete(after, addr)
		}
	}
	for _, i := range a.born {
		addr := a.hosts[i].Addr
		if _, twice := after[addr]; twice {
			return nil, fmt.Errorf("host %s is there twice", addr)
		}
		after[addr] = a.of[i].id
	}
	for _, i := range a.turned {
		after[a.hosts[i].Addr] = a.of[i].id
	}
	return after, nil
}

// identifyAll works out the identity of each address, or takes over that of its
// twin. No twins at all mean that each is its own.
func (x *hostIndex) identifyAll(hosts []Host, twins []int32, sels *selectors, changed changes, round uint64) (*assignment, error) {
	next := &assignment{hosts: hosts, of: make([]*identity, len(hosts))}
	kept := make([]bool, len(x.hosts))
	for i := range hosts {
		h := &hosts[i]
		twin := int32(i)
		if twins != nil {
			twin = twins[i]
		}
		if twin < 0 {
			if err := h.validate(); err != nil {
				return nil, err
			}
		} else {
			kept[twin] = true
		}
		if !h.Addr.IsValid() {
			continue
		}
		if twin >= 0 && !changed.touch(h) {
			next.of[i] = x.of[twin]
			next.of[i].seen = round
			continue
		}
		id, err := x.identify(h.Groups, sels.owner(h.Addr), sels, round)
		if err != nil {
			return nil, fmt.Errorf("host %s: %w", h.Addr, err)
		}
		next.of[i] = id
		switch {
		case twin < 0:
			next.born = append(next.born, i)
		case x.of[twin].id != id.id:
			next.turned = append(next.turned, i)
		}
	}
	for i := range x.hosts {
		if !kept[i] && x.hosts[i].Addr.IsValid() {
			next.gone = append(next.gone, x.hosts[i].Addr)
		}
	}
	return next, nil
}

// touch tells whether changed selectors may concern the host.
func (c changes) touch(h *Host) bool {
	if len(c.cidrs) > few {
		return true
	}
	for _, cidr := range c.cidrs {
		if cidr.Contains(h.Addr) {
			return true
		}
	}
	if len(c.names) > 0 {
		for _, name := range h.Groups {
			if c.names[name] {
				return true
			}
		}
	}
	return false
}

func (h *Host) same(other *Host) bool {
	return h.Addr == other.Addr && h.Prefix == other.Prefix &&
		(sameMemory(h.Groups, other.Groups) || slices.Equal(h.Groups, other.Groups))
}

// splitPrefixes gives identities to the prefixes of hosts, and to the CIDRs of
// rules inside them, which tell their addresses apart.
func (x *hostIndex) splitPrefixes(hosts []Host, sels *selectors, round uint64) (map[netip.Prefix]Identity, error) {
	var routed []*Host
	for i := range hosts {
		if hosts[i].Prefix.IsValid() {
			routed = append(routed, &hosts[i])
		}
	}
	// What is inside another prefix comes after it, and replaces its parts.
	slices.SortFunc(routed, func(a, b *Host) int { return a.Prefix.Compare(b.Prefix) })
	prefixes := make(map[netip.Prefix]Identity, len(routed))
	for i, h := range routed {
		if i > 0 && routed[i-1].Prefix == h.Prefix {
			return nil, fmt.Errorf("host's prefix %s is there twice", h.Prefix)
		}
		owner := sels.around(h.Prefix)
		parts := sels.inside(h.Prefix)
		for part := range len(parts) + 1 {
			prefix := h.Prefix
			if part > 0 {
				owner = parts[part-1]
				prefix = owner.cidr
			}
			id, err := x.identify(h.Groups, owner, sels, round)
			if err != nil {
				return nil, fmt.Errorf("host's prefix %s: %w", h.Prefix, err)
			}
			prefixes[prefix] = id.id
		}
	}
	return prefixes, nil
}

// inside are the CIDRs inside a prefix.
func (s *selectors) inside(prefix netip.Prefix) []*selector {
	at, found := slices.BinarySearchFunc(s.cidrs, prefix, func(sel *selector, p netip.Prefix) int { return sel.cidr.Compare(p) })
	if found {
		at++
	}
	end := at
	for end < len(s.cidrs) && prefix.Contains(s.cidrs[end].cidr.Addr()) {
		end++
	}
	return s.cidrs[at:end]
}

// identify finds or makes the identity of who carries groups in a CIDR.
func (x *hostIndex) identify(groups []string, owner *selector, sels *selectors, round uint64) (*identity, error) {
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
		return known, nil
	}
	made := &identity{groups: slices.Clone(x.buf), owner: owner, seen: round}
	made.id = made.hash(x.vni)
	if x.taken[made.id] {
		return nil, fmt.Errorf("has the identity %x of others: rename one of its groups", uint64(made.id))
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
	return made, nil
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
	id := Identity(d.sum64())&^1 | familyOf(i.owner.cidr.Addr())
	if id == id.Rest() {
		id |= 2
	}
	return id
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
