package daemon

import (
	"cmp"
	"context"
	"errors"
	"math"
	"net/netip"
	"slices"

	"edgenet.dev/edgenet/internal/records"
	"edgenet.dev/edgenet/pkg/mesh"
)

// outrank puts first whose claim counts more. Whoever knew of the other's claim
// when it made its own has the higher epoch, whatever its clock says; of two that
// did not know of one another the later claim counts, then that of the higher node
// id.
func outrank(a, b *endpoint) int {
	return cmp.Or(
		cmp.Compare(b.record.GetEpoch(), a.record.GetEpoch()),
		cmp.Compare(b.record.GetClaim(), a.record.GetClaim()),
		cmp.Compare(b.node, a.node),
		cmp.Compare(a.name, b.name),
	)
}

// nextEpoch is the epoch of a claim by e: one more than any that is known of its
// addresses and its name, of winners and losers alike. The last epoch has none
// after it: whoever claims that gains nothing, since the later claim counts among
// equal ones, and every claim is later than those that its node knows.
func (h *holdings) nextEpoch(e *endpoint) uint32 {
	highest := uint32(0)
	see := func(other *endpoint) {
		if other != nil {
			highest = max(highest, other.record.GetEpoch())
		}
	}
	see(h.names[e.name])
	for _, addr := range e.addrs {
		see(h.hosts[addr])
	}
	for _, others := range [][]*endpoint{h.all, h.released} {
		for _, other := range others {
			if !other.holds() && other.rivals(e) {
				see(other)
			}
		}
	}
	if highest == math.MaxUint32 {
		return highest
	}
	return highest + 1
}

// rivals tells whether not both of two endpoints of a VPC can have what they want.
func (e *endpoint) rivals(other *endpoint) bool {
	return e.name == other.name || slices.ContainsFunc(e.addrs, func(addr netip.Addr) bool { return slices.Contains(other.addrs, addr) })
}

// owed tells whether an endpoint outranks one of another node that has not said yet
// that it is superseded: if it just went, the other one would have the address
// again, though it was taken from it. One that can have nothing is owed nothing.
func (h *holdings) owed(e *endpoint) bool {
	return slices.ContainsFunc(h.all, func(other *endpoint) bool {
		return other.node != e.node && other.barred == nil && !other.record.GetSuperseded() && e.rivals(other) && outrank(e, other) < 0
	})
}

// withdraw takes a claim of this node back: with a tombstone if that is enough.
func (n *network) withdraw(ctx context.Context, s *snapshot, e *endpoint) error {
	v := s.byVNI[e.vni]
	if v == nil || v.idle(e) {
		return n.mesh.Delete(ctx, mesh.KindEndpoint, e.key())
	}
	return n.put(ctx, e.key(), released(e).record)
}

// released is an endpoint that has nothing any more but its rank.
func released(e *endpoint) *endpoint {
	out := *e
	out.record = &records.Endpoint{
		Ip: e.record.GetIp(), MoreIps: e.record.GetMoreIps(), Kind: e.record.GetKind(),
		Netns: e.record.GetNetns(), Ifname: e.record.GetIfname(), Device: e.record.GetDevice(),
		Claim: e.record.GetClaim(), Epoch: e.record.GetEpoch(), Released: true,
	}
	return &out
}

// idle tells whether a claim that is withdrawn need not outrank any other.
func (h *holdings) idle(e *endpoint) bool { return e.lost || !h.owed(e) }

// forget removes the claims of this node that were withdrawn and need not outrank
// any other any more.
func (n *network) forget(ctx context.Context, s *snapshot) error {
	var problems []error
	drop := func(e *endpoint) {
		if e.node == s.self.ID {
			problems = append(problems, n.mesh.Delete(ctx, mesh.KindEndpoint, e.key()))
		}
	}
	for _, v := range s.byVNI {
		for _, e := range v.released {
			if v.idle(e) {
				drop(e)
			}
		}
	}
	for _, e := range s.homeless {
		drop(e)
	}
	return errors.Join(problems...)
}
