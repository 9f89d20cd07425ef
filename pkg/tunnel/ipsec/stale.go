package ipsec

import (
	"net/netip"

	"github.com/vishvananda/netlink"
)

// removeStale removes the policies that an earlier charon left for peers that are
// peers no more. Nothing passes by them, as they have no states; but each packet to
// such a prefix would have charon look for one.
func (d *driver) removeStale(s *snapshot, policies []netlink.XfrmPolicy) error {
	for _, p := range stalePolicies(s, policies) {
		d.log.Info("policy of an earlier charon is removed", "device", d.device.Name, "prefix", remotePrefix(p))
		if err := deletePolicy(p); err != nil {
			return err
		}
	}
	return nil
}

// stalePolicies are those whose prefix no peer has, and whose request id no SA: one
// whose configuration alone is gone has both until it is put again.
func stalePolicies(s *snapshot, policies []netlink.XfrmPolicy) []netlink.XfrmPolicy {
	used := make(map[uint32]bool)
	for _, sas := range s.sas {
		for _, sa := range sas {
			for _, c := range sa.children {
				used[c.reqID] = true
			}
		}
	}
	peers := s.prefixes()
	var stale []netlink.XfrmPolicy
	for _, p := range policies {
		if len(p.Tmpls) == 0 || !used[uint32(p.Tmpls[0].Reqid)] && !peers[remotePrefix(p)] {
			stale = append(stale, p)
		}
	}
	return stale
}

// prefixes are those of all peers.
func (s *snapshot) prefixes() map[netip.Prefix]bool {
	out := make(map[netip.Prefix]bool, len(s.conns))
	for _, c := range s.conns {
		out[c.prefix] = true
	}
	return out
}
