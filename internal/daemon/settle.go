package daemon

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"sync"

	"edgenet.dev/edgenet/internal/records"
	"edgenet.dev/edgenet/pkg/mesh"
)

// holdings are who has what in a VPC. Once settled they are not changed.
type holdings struct {
	// all are the endpoints in the order of their records' keys, winners or not,
	// local those of this node.
	all, local []*endpoint
	// released are those that were detached, but outrank others still.
	released []*endpoint
	// hosts are the endpoints that hold their addresses, names those of all
	// winners.
	hosts map[netip.Addr]*endpoint
	names map[string]*endpoint
	// carriers are the winners that have a prefix behind them, the one that was
	// attached first first. announced are the addresses in such prefixes that
	// were announced, and by whom last.
	carriers  map[netip.Prefix][]*endpoint
	announced map[netip.Addr]*endpoint
	// contested is true if somebody wanted what another has.
	contested bool
	// hosting are the nodes of the endpoints, once somebody had a look.
	look    sync.Once
	hosting map[mesh.NodeID]bool
}

// settle decides who holds which address and name: the claim that outranks all
// others. All nodes decide alike, in whatever order they heard of the claims. The
// endpoints are v's own from here on.
func (v *vpc) settle(self mesh.NodeID, members []endpoint) {
	v.holdings = &holdings{
		all:   make([]*endpoint, 0, len(members)),
		hosts: make(map[netip.Addr]*endpoint, len(members)),
		names: make(map[string]*endpoint, len(members)),
	}
	for i := range members {
		e := &members[i]
		e.barred, e.lost = v.bars(e), e.record.GetSuperseded()
		if e.record.GetReleased() {
			v.released, v.contested = append(v.released, e), true
			continue
		}
		v.all = append(v.all, e)
		if e.node == self {
			v.local = append(v.local, e)
		}
		if e.holds() && !v.take(e) {
			v.contested = true
		}
	}
	// Hardly ever is there a conflict, and sorting is what would cost most.
	if v.contested {
		v.contest()
	}
	v.share()
}

// bars says why an endpoint is in force nowhere, whatever others claim; nil if it can
// be.
func (v *vpc) bars(e *endpoint) error {
	if err := v.misplaced(e); err != nil {
		return err
	}
	return v.grants.refuse(e)
}

// misplaced says why an endpoint cannot be as it is in the VPC.
func (v *vpcRecord) misplaced(e *endpoint) error {
	for _, addr := range e.addrs {
		if _, err := records.CheckAddress(v.prefixes, addr); err != nil {
			return err
		}
	}
	for _, p := range e.routed {
		if err := records.CheckRouted(v.prefixes, p); err != nil {
			return err
		}
	}
	return nil
}

// contest gives names and addresses anew to those that may hold them.
func (v *vpc) contest() {
	rivals := slices.DeleteFunc(slices.Concat(v.all, v.released), func(e *endpoint) bool { return !e.holds() })
	slices.SortFunc(rivals, outrank)
	clear(v.hosts)
	clear(v.names)
	for _, e := range rivals {
		e.lost = !v.take(e)
	}
	for _, e := range v.released {
		if e.holds() {
			v.yield(e)
		}
	}
}

// take gives the endpoint its name and its addresses, if all are free.
func (h *holdings) take(e *endpoint) bool {
	if h.names[e.name] != nil {
		return false
	}
	for _, addr := range e.addrs {
		if h.hosts[addr] != nil {
			return false
		}
	}
	h.names[e.name] = e
	for _, addr := range e.addrs {
		h.hosts[addr] = e
	}
	return true
}

// yield gives up what an endpoint took.
func (h *holdings) yield(e *endpoint) {
	delete(h.names, e.name)
	for _, addr := range e.addrs {
		delete(h.hosts, addr)
	}
}

// share works out where prefixes are that several may have, and the addresses in
// them that were announced. An endpoint's own address is never one of those, nor
// one that no endpoint can have, whatever another node says.
func (v *vpc) share() {
	h := v.holdings
	h.carriers, h.announced = map[netip.Prefix][]*endpoint{}, map[netip.Addr]*endpoint{}
	latest := map[netip.Addr]mesh.Version{}
	for _, e := range h.all {
		if !e.holds() {
			continue
		}
		for _, p := range e.routed {
			h.carriers[p] = append(h.carriers[p], e)
		}
		for _, a := range e.announced {
			before := h.announced[a.addr]
			if h.hosts[a.addr] != nil || !v.usable(a.addr) || before != nil && (a.version < latest[a.addr] || a.version == latest[a.addr] && before.precedes(e)) {
				continue
			}
			h.announced[a.addr], latest[a.addr] = e, a.version
		}
	}
	for _, carriers := range h.carriers {
		slices.SortFunc(carriers, func(a, b *endpoint) int {
			return cmp.Or(cmp.Compare(a.record.GetClaim(), b.record.GetClaim()), a.order(b))
		})
	}
}

// order puts endpoints of a VPC of the same claim into an order that is the same
// everywhere.
func (e *endpoint) order(other *endpoint) int {
	return cmp.Or(cmp.Compare(e.node, other.node), cmp.Compare(e.name, other.name))
}

func (e *endpoint) precedes(other *endpoint) bool { return e.order(other) < 0 }

// at returns the endpoint at an address of the VPC, nil if there is none: the
// one whose own it is, else the one that announced it last, else the one that was
// attached first of those with the longest prefix that has it.
func (h *holdings) at(addr netip.Addr) *endpoint {
	if e := h.hosts[addr]; e != nil {
		return e
	}
	if e := h.announced[addr]; e != nil {
		return e
	}
	return h.behind(netip.PrefixFrom(addr, addr.BitLen()))
}

// behind returns the endpoint with the longest prefix that has all of p, nil if
// there is none.
func (h *holdings) behind(p netip.Prefix) *endpoint {
	for bits := p.Bits(); bits >= 0 && len(h.carriers) > 0; bits-- {
		longer := netip.PrefixFrom(p.Addr(), bits).Masked()
		if carriers := h.carriers[longer]; len(carriers) > 0 {
			return carriers[0]
		}
	}
	return nil
}

// with returns what the snapshot would be if e were a record already, and e as
// it is there.
func (s *snapshot) with(e *endpoint) (*snapshot, *endpoint) {
	old, ok := s.byVNI[e.vni]
	if !ok {
		return s, e
	}
	v := &vpc{vpcRecord: old.vpcRecord, groups: old.groups, shadow: old.shadow, grants: old.grants}
	if !v.resettle(old.holdings, s.self.ID, turnover{gone: []*endpoint{e}, born: []*endpoint{e}}) {
		v.settle(s.self.ID, old.membersWith(e))
	}
	next := *s
	next.vpcs, next.byVNI = maps.Clone(s.vpcs), maps.Clone(s.byVNI)
	next.vpcs[v.name], next.byVNI[e.vni] = v, v
	at, _ := place(v.all, e)
	return &next, v.all[at]
}

// membersWith are the endpoints with one added, in the place that its record will
// have, or exchanged.
func (v *vpc) membersWith(e *endpoint) []endpoint {
	members := make([]endpoint, 0, len(v.all)+len(v.released)+1)
	for _, other := range v.all {
		if !other.same(e) {
			members = append(members, *other)
		}
	}
	at, _ := place(v.all, e)
	members = slices.Insert(members, at, *e)
	for _, other := range v.released {
		if !other.same(e) {
			members = append(members, *other)
		}
	}
	return members
}
