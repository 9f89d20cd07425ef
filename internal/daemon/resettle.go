package daemon

import (
	"maps"
	"net/netip"
	"slices"
	"strings"

	"edgenet.dev/edgenet/pkg/mesh"
)

// turnover are the endpoints of a VPC whose records are not as they were: those
// of before and those of now.
type turnover struct{ gone, born []*endpoint }

// turnovers are those of several VPCs, by VNI.
type turnovers map[uint32]turnover

// born are the endpoints of all that are new, or not as they were.
func (all turnovers) born() []*endpoint {
	var out []*endpoint
	for _, t := range all {
		out = append(out, t.born...)
	}
	return out
}

// maxTurnover is how many changes are worked out one by one.
const maxTurnover = 64

// place returns where in the order of keys an endpoint is, or would be.
func place(all []*endpoint, e *endpoint) (at int, found bool) {
	key := e.key()
	return slices.BinarySearchFunc(all, key, func(a *endpoint, key string) int { return strings.Compare(a.key(), key) })
}

// resettle settles a VPC of which little has changed since the holdings of
// before, and shares with them all endpoints that stay. It is false if somebody
// contests something: then all have to be looked at.
func (v *vpc) resettle(before *holdings, self mesh.NodeID, t turnover) bool {
	if before.contested || len(t.gone)+len(t.born) > maxTurnover {
		return false
	}
	next := &holdings{
		all: slices.Clone(before.all), local: slices.Clone(before.local),
		hosts: maps.Clone(before.hosts), names: maps.Clone(before.names),
		carriers: before.carriers, announced: before.announced,
	}
	sharing := len(before.carriers)+len(before.announced) > 0
	for _, e := range t.gone {
		next.drop(e)
	}
	for _, one := range t.born {
		e := *one
		if !v.join(next, self, &e) {
			return false
		}
		sharing = sharing || len(e.routed)+len(e.announced) > 0
	}
	v.holdings = next
	if sharing {
		v.share()
	}
	return true
}

// drop takes away what an endpoint has. One that was not counted has nothing.
func (h *holdings) drop(e *endpoint) {
	at, found := place(h.all, e)
	if !found {
		return
	}
	e = h.all[at]
	h.all = slices.Delete(h.all, at, at+1)
	if at, found := place(h.local, e); found {
		h.local = slices.Delete(h.local, at, at+1)
	}
	if !e.holds() {
		return
	}
	h.yield(e)
}

// join adds an endpoint. It is false if it is there already, or was detached, or
// another one has what it wants.
func (v *vpc) join(h *holdings, self mesh.NodeID, e *endpoint) bool {
	at, found := place(h.all, e)
	if found || e.record.GetReleased() {
		return false
	}
	h.all = slices.Insert(h.all, at, e)
	if e.node == self {
		at, _ := place(h.local, e)
		h.local = slices.Insert(h.local, at, e)
	}
	e.barred, e.lost = v.bars(e), e.record.GetSuperseded()
	return !e.holds() || h.take(e)
}

// touched are the addresses of the endpoints that two holdings do not share.
func (h *holdings) touched(before *holdings) []netip.Addr {
	var addrs []netip.Addr
	old, now := before.all, h.all
	for len(old) > 0 || len(now) > 0 {
		if len(old) > 0 && len(now) > 0 && old[0] == now[0] {
			old, now = old[1:], now[1:]
			continue
		}
		// In the order of keys, so that what comes later in one finds its like.
		if len(now) == 0 || len(old) > 0 && old[0].key() <= now[0].key() {
			addrs, old = append(addrs, old[0].addrs...), old[1:]
			continue
		}
		addrs, now = append(addrs, now[0].addrs...), now[1:]
	}
	return addrs
}
