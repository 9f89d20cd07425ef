package policy

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
)

// selector is the number of something that rules can name the other side by: a
// group that exists, or a CIDR of a rule. Addresses with the same selectors are
// the same to every rule.
type selector uint32

// noSelector stands for the other side of rules that name a missing group.
const noSelector = ^selector(0)

// selectors numbers the groups and CIDRs of one VPC.
type selectors struct {
	groups map[string]selector
	cidrs  map[netip.Prefix]selector
	// lengths are the prefix lengths in use, so that an address is looked up at
	// most once for each (33 times for IPv4) however many CIDRs there are.
	lengths []int
	// names are what the numbers stand for, in the order of the numbers.
	names []string
}

// identity is a set of selectors that at least one host has.
type identity struct {
	id        Identity
	selectors []selector
}

func newSelectors(groups []Group) *selectors {
	s := &selectors{groups: make(map[string]selector), cidrs: make(map[netip.Prefix]selector)}
	var (
		names []string
		cidrs []netip.Prefix
	)
	for _, g := range groups {
		names = append(names, g.Name)
		for _, r := range g.Rules {
			if r.Peer.Kind == PeerCIDR {
				cidrs = append(cidrs, r.Peer.CIDR)
			}
		}
	}
	// The numbers follow the order of the names, so that sorting by number is
	// sorting by name, which identities are hashed in.
	slices.Sort(names)
	for _, name := range names {
		s.groups[name] = s.add(groupPrefix + name)
	}
	slices.SortFunc(cidrs, netip.Prefix.Compare)
	for _, cidr := range slices.Compact(cidrs) {
		s.cidrs[cidr] = s.add(cidr.String())
		s.lengths = append(s.lengths, cidr.Bits())
	}
	slices.Sort(s.lengths)
	s.lengths = slices.Compact(s.lengths)
	return s
}

func (s *selectors) add(name string) selector {
	s.names = append(s.names, name)
	return selector(len(s.names) - 1)
}

// ofPeer is the selector that a rule's peer names; any has none of its own.
func (s *selectors) ofPeer(p Peer) selector {
	switch p.Kind {
	case PeerCIDR:
		return s.cidrs[p.CIDR]
	case PeerGroup:
		if sel, ok := s.groups[p.Group]; ok {
			return sel
		}
		return noSelector
	case PeerAny:
		return noSelector
	default:
		return noSelector
	}
}

// ofHost appends the selectors of a host to buf, in order.
func (s *selectors) ofHost(h Host, buf []selector) []selector {
	for _, name := range h.Groups {
		if sel, ok := s.groups[name]; ok {
			buf = append(buf, sel)
		}
	}
	for _, bits := range s.lengths {
		// Prefix fails only for a length that the family does not have.
		cidr, err := h.Addr.Prefix(bits)
		if err != nil {
			continue
		}
		if sel, ok := s.cidrs[cidr]; ok {
			buf = append(buf, sel)
		}
	}
	slices.Sort(buf)
	return slices.Compact(buf)
}

// identify gives each host its identity, and returns the identities that occur,
// in the order of their numbers.
func (s *selectors) identify(vni uint32, hosts []Host) (map[netip.Addr]Identity, []identity, error) {
	var (
		byAddr = make(map[netip.Addr]Identity, len(hosts))
		bySet  = make(map[string]Identity)
		taken  = make(map[Identity]bool)
		found  []identity
		buf    []selector
		key    []byte
	)
	for _, h := range hosts {
		if _, twice := byAddr[h.Addr]; twice {
			return nil, nil, fmt.Errorf("host %s is there twice", h.Addr)
		}
		buf = s.ofHost(h, buf[:0])
		key = appendKey(key[:0], buf)
		id, known := bySet[string(key)]
		if !known {
			id = s.hash(vni, buf)
			if taken[id] {
				return nil, nil, fmt.Errorf("host %s has the identity %x of another set of groups: rename one of its groups", h.Addr, uint64(id))
			}
			taken[id] = true
			bySet[string(key)] = id
			found = append(found, identity{id: id, selectors: slices.Clone(buf)})
		}
		byAddr[h.Addr] = id
	}
	slices.SortFunc(found, func(a, b identity) int { return cmp.Compare(a.id, b.id) })
	return byAddr, found, nil
}

// hash names a set of selectors by what they stand for, not by their numbers,
// which change with every group that comes or goes.
func (s *selectors) hash(vni uint32, set []selector) Identity {
	d := newDigest("identity v1")
	d.number(uint64(vni))
	for _, sel := range set {
		d.text(s.names[sel])
	}
	return Identity(d.sum64())
}

// appendKey makes numbers usable as the key of a map.
func appendKey[T ~uint32](key []byte, numbers []T) []byte {
	for _, n := range numbers {
		key = binary.BigEndian.AppendUint32(key, uint32(n))
	}
	return key
}
