package policy

import (
	"errors"
	"fmt"
	"slices"
)

// maxVNI is the largest 24-bit network identifier.
const maxVNI = 1<<24 - 1

// VPC is all that the verdicts of one VPC follow from.
type VPC struct {
	// VNI is the network identifier, 1 to 2^24-1.
	VNI uint32
	// Groups are the security groups that exist, in any order.
	Groups []Group
	// Hosts are the addresses of the VPC, wherever they are, in any order; each
	// occurs once. Groups that do not exist count as not carried.
	Hosts []Host
	// Sets are the sets of groups for which tables are wanted: those that the
	// endpoints of this host carry. A nil set is an endpoint without groups.
	Sets [][]string
}

// Validate checks the VPC's groups and hosts. Groups that rules, hosts or sets
// name need not exist.
func (v VPC) Validate() error {
	if v.VNI == 0 || v.VNI > maxVNI {
		return fmt.Errorf("VNI %d is not from 1 to %d", v.VNI, maxVNI)
	}
	names := make(map[string]bool, len(v.Groups))
	for _, g := range v.Groups {
		if err := g.Validate(); err != nil {
			return err
		}
		if names[g.Name] {
			return fmt.Errorf("group %s is there twice", g.Name)
		}
		names[g.Name] = true
	}
	for _, h := range v.Hosts {
		if !h.Addr.IsValid() {
			return errors.New("host without an address")
		}
		if !supported(h.Addr) {
			return fmt.Errorf("host %s has a zone or is IPv4 within IPv6: write it in its plain form", h.Addr)
		}
	}
	return nil
}

// normalSet is a set of groups in the one form that is compared: sorted, each
// name once. It leaves its argument alone.
func normalSet(groups []string) []string {
	if slices.IsSorted(groups) {
		return slices.Compact(slices.Clone(groups))
	}
	sorted := slices.Clone(groups)
	slices.Sort(sorted)
	return slices.Compact(sorted)
}
