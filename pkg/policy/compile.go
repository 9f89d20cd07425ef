package policy

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
)

// Compiled is one VPC as the datapath uses it. It is not to be changed: what
// stays the same is shared with what a [Compiler] makes later.
type Compiled struct {
	// Identities has every address of the VPC's hosts.
	Identities map[netip.Addr]Identity
	// Prefixes has every prefix of the hosts, and inside them the CIDRs that tell
	// addresses apart. The longest prefix around an address gives its identity,
	// unless Identities has it.
	Prefixes map[netip.Prefix]Identity
	// Tables has every table that [Compiled.Policy] and [Compiled.ShadowPolicy]
	// can name.
	Tables map[ID]*Table

	sets map[string]policies

	// of is what it was made from, number counts what was; moved are the addresses
	// whose identity is not as in the one before.
	of     *state
	number uint64
	moved  []netip.Addr
}

// Moved has the addresses whose identity is another than in before, or that one
// of the two does not have. It is not known unless before is what the same
// [Compiler] made last before c.
func (c *Compiled) Moved(before *Compiled) (moved []netip.Addr, known bool) {
	return c.moved, c.of == before.of && c.number == before.number+1
}

// policies are the tables of a set of groups, by side and direction.
type policies [sides][Egress + 1]ID

// Policy is the table for an endpoint that carries the groups, in any order. It
// is 0, which drops everything, for a set that was not in VPC.Sets.
func (c *Compiled) Policy(groups []string, dir Direction) ID {
	return c.sets[string(appendNames(nil, normalSet(groups)))][live][dir]
}

// ShadowPolicy is the table that the endpoint would have with the candidate's
// groups, to be asked with the same identities. It is 0 if there is no
// candidate.
func (c *Compiled) ShadowPolicy(groups []string, dir Direction) ID {
	return c.sets[string(appendNames(nil, normalSet(groups)))][shadow][dir]
}

// appendNames makes names usable as the key of a map. They carry their length,
// since a name that no group has may contain anything.
func appendNames(key []byte, names []string) []byte {
	for _, name := range names {
		key = binary.AppendUvarint(key, uint64(len(name)))
		key = append(key, name...)
	}
	return key
}

// Compile makes the identities of the VPC's hosts and the tables of its sets.
// The cost is about linear in hosts, rules, and rows. It fails for a VPC that is
// not valid and for an address that occurs twice.
func Compile(in VPC) (*Compiled, error) { return new(Compiler).Compile(in) }

// Compiler compiles one VPC again and again. Its zero value is ready. What did
// not change since the last time costs next to nothing, and is the same memory
// in the result: maps, tables, and rows. It is for one goroutine at a time.
type Compiler struct {
	round uint64
	state *state
}

// state is all that is known of a VPC from the last time.
type state struct {
	vni      uint32
	cidrs    []netip.Prefix
	sels     *selectors
	ruleSets [sides]*ruleSet
	hosts    *hostIndex
	plan     tablePlan
	out      *Compiled
}

func newState(vni uint32, cidrs []netip.Prefix) *state {
	s := &state{
		vni:   vni,
		cidrs: slices.Clone(cidrs),
		sels:  newSelectors(cidrs),
		hosts: newHostIndex(vni),
		out:   &Compiled{},
	}
	for side := range s.ruleSets {
		s.ruleSets[side] = &ruleSet{side: side, groups: make(map[string]*compiledGroup)}
	}
	return s
}

// Compile does what the function of this name does. An error leaves nothing
// known of the VPC, so that the next time is like the first.
func (c *Compiler) Compile(in VPC) (*Compiled, error) {
	c.round++
	s := c.state
	c.state = nil
	if validateVNI(in.VNI) != nil {
		return nil, fmt.Errorf("compile VPC %d: %w", in.VNI, validateVNI(in.VNI))
	}
	if s == nil || s.vni != in.VNI || !slices.Equal(s.cidrs, in.CIDRs) {
		s = newState(in.VNI, in.CIDRs)
	}
	if err := s.update(&in, c.round); err != nil {
		return nil, fmt.Errorf("compile VPC %d: %w", in.VNI, err)
	}
	c.state = s
	return s.out, nil
}

func (s *state) update(in *VPC, round uint64) error {
	for _, cidr := range in.CIDRs {
		if err := validateCIDR(cidr); err != nil {
			return fmt.Errorf("VPC's CIDR: %w", err)
		}
	}
	for side, groups := range [sides][]Group{in.Groups, in.Shadow} {
		if err := s.updateRules(side, groups, round); err != nil {
			if side == shadow {
				return fmt.Errorf("candidate: %w", err)
			}
			return err
		}
	}
	changed := s.sels.settle()
	if err := s.hosts.update(in.Hosts, s.sels, changed, round); err != nil {
		return err
	}
	out := &Compiled{of: s, number: s.out.number + 1, moved: s.hosts.movedAddresses, Identities: s.hosts.addresses, Prefixes: s.hosts.prefixes, Tables: s.out.Tables, sets: s.out.sets}
	if s.plan.isStale(in, &s.ruleSets) {
		if err := s.plan.replace(in, s.vni, &s.ruleSets); err != nil {
			return err
		}
		out.sets, out.Tables = s.plan.sets, nil
	}
	s.plan.update(out, s.hosts, round)
	s.out = out
	return nil
}

func (s *state) updateRules(side int, groups []Group, round uint64) error {
	if err := checkBounds(groups); err != nil {
		return err
	}
	return s.ruleSets[side].update(groups, s.sels, round)
}
