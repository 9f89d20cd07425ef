package policy

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
)

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
	// movedAddresses are those whose identity the last update changed.
	movedAddresses []netip.Addr
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
	x.movedAddresses = nil
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
	if next.moved() {
		if x.addresses, err = next.apply(x.addresses); err != nil {
			return err
		}
		x.movedAddresses = next.movedAddresses()
	}
	prefixes, err := x.splitPrefixes(hosts, sels, round)
	if err != nil {
		return err
	}
	mayGo := len(next.gone)+len(next.turned) > 0
	if !maps.Equal(prefixes, x.prefixes) {
		x.prefixes, mayGo = prefixes, true
	}
	x.hosts, x.of = hosts, next.of
	if mayGo {
		x.sweep(round)
	}
	if x.moved == round || len(changed.cidrs)+len(changed.names) > 0 {
		x.index(sels)
	}
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

func (a *assignment) movedAddresses() []netip.Addr {
	moved := slices.Clone(a.gone)
	for _, i := range slices.Concat(a.born, a.turned) {
		moved = append(moved, a.hosts[i].Addr)
	}
	return moved
}

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
		id := x.identify(h.Groups, sels.owner(h.Addr), sels, round)
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
