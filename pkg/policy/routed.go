package policy

import (
	"fmt"
	"net/netip"
	"slices"
)

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
			prefixes[prefix] = x.identify(h.Groups, owner, sels, round).id
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
