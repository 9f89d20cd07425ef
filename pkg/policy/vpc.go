package policy

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
)

const (
	// MaxVNI is the largest 24-bit network identifier.
	MaxVNI = 1<<24 - 1
	// MaxRules is how many rules the groups of a VPC may have together. A
	// candidate set is counted by itself.
	MaxRules = 10_000
	// MaxGroups is how many groups a VPC may have.
	MaxGroups = 1_000
	// DefaultGroup is the group that endpoints without groups carry.
	DefaultGroup = "default"
)

// VPC is all that the verdicts of one VPC follow from. What its slices have in
// them is not to be changed any more once a [Compiler] has seen it: the same
// memory counts as the same content.
type VPC struct {
	// VNI is the network identifier, 1 to 2^24-1.
	VNI uint32
	// CIDRs are the VPC's own prefixes. They decide nothing, but tables are
	// smaller for knowing them.
	CIDRs []netip.Prefix
	// Groups are the security groups that exist, in any order.
	Groups []Group
	// Shadow are the groups of a candidate that is to be tried beside Groups;
	// nil means that there is none.
	Shadow []Group
	// Hosts are the addresses of the VPC, wherever they are, in any order; each
	// occurs once. Groups that do not exist count as not carried.
	Hosts []Host
	// Sets are the sets of groups for which tables are wanted: those that the
	// endpoints of this host carry.
	Sets [][]string
}

// Host is an address of an endpoint, or a prefix that is routed to it, and the
// groups that the endpoint carries.
type Host struct {
	// Name is the endpoint's; several hosts may have it. Only policy tests and
	// words use it.
	Name string
	// Addr is set, or Prefix is. An address belongs to the host that has it, or
	// else to that with the longest prefix around it.
	Addr   netip.Addr
	Prefix netip.Prefix
	Groups []string
}

// Validate checks the VPC's groups and hosts. Groups that rules, hosts or sets
// name need not exist.
func (v VPC) Validate() error {
	if err := validateVNI(v.VNI); err != nil {
		return err
	}
	for _, cidr := range v.CIDRs {
		if err := validateCIDR(cidr); err != nil {
			return fmt.Errorf("VPC's CIDR: %w", err)
		}
	}
	if err := ValidateGroups(v.Groups); err != nil {
		return err
	}
	if err := ValidateGroups(v.Shadow); err != nil {
		return fmt.Errorf("candidate: %w", err)
	}
	for i := range v.Hosts {
		if err := v.Hosts[i].validate(); err != nil {
			return err
		}
	}
	return nil
}

func validateVNI(vni uint32) error {
	if vni == 0 || vni > MaxVNI {
		return fmt.Errorf("VNI %d is not from 1 to %d", vni, MaxVNI)
	}
	return nil
}

// ValidateGroups checks the groups of one VPC, and their bounds.
func ValidateGroups(groups []Group) error {
	if err := checkBounds(groups); err != nil {
		return err
	}
	for _, g := range groups {
		if err := g.Validate(); err != nil {
			return err
		}
	}
	return nil
}

// checkBounds checks all that concerns several groups.
func checkBounds(groups []Group) error {
	if len(groups) > MaxGroups {
		return fmt.Errorf("%d groups: at most %d are possible in one VPC", len(groups), MaxGroups)
	}
	rules := 0
	names := make(map[string]struct{}, len(groups))
	for _, g := range groups {
		if _, twice := names[g.Name]; twice {
			return fmt.Errorf("group %s is there twice", g.Name)
		}
		names[g.Name] = struct{}{}
		rules += len(g.Rules)
	}
	if rules > MaxRules {
		return fmt.Errorf("%d rules: at most %d are possible in one VPC", rules, MaxRules)
	}
	return nil
}

func (h *Host) validate() error {
	switch {
	case h.Addr.IsValid() == h.Prefix.IsValid():
		return errors.New("host without an address: set Addr or Prefix, and not both")
	case h.Prefix.IsValid():
		if err := validateCIDR(h.Prefix); err != nil {
			return fmt.Errorf("host's prefix: %w", err)
		}
	case !supported(h.Addr):
		return fmt.Errorf("host %s has a zone or is IPv4 within IPv6: write it in its plain form", h.Addr)
	}
	return nil
}

// normalSet is a set of groups in the one form that is compared: sorted, each
// name once. It leaves its argument alone.
func normalSet(groups []string) []string {
	for i := 1; i < len(groups); i++ {
		if groups[i-1] >= groups[i] {
			sorted := slices.Clone(groups)
			slices.Sort(sorted)
			return slices.Compact(sorted)
		}
	}
	return groups
}
