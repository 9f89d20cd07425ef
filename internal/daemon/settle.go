package daemon

import (
	"cmp"
	"slices"
	"strings"

	"edgenet.dev/edgenet/internal/records"
)

// settle decides who holds which address and name: the latest claim, and of
// two at the same moment the one of the higher node id. All nodes decide alike,
// in whatever order they heard of the claims.
func (s *snapshot) settle() {
	contested := map[uint32][]*endpoint{}
	for _, e := range s.endpoints {
		v, ok := s.byVNI[e.vni]
		if !ok {
			continue
		}
		if _, e.misplaced = records.CheckAddress(v.prefixes, e.addr); e.misplaced != nil {
			continue
		}
		if e.lost = e.record.GetSuperseded(); e.lost {
			continue
		}
		if !v.take(e) {
			contested[e.vni] = nil
		}
	}
	// Hardly ever is there a conflict, and sorting is what would cost most.
	if len(contested) == 0 {
		return
	}
	for _, e := range s.endpoints {
		if rivals, ok := contested[e.vni]; ok && e.holds() {
			contested[e.vni] = append(rivals, e)
		}
	}
	for vni, rivals := range contested {
		s.byVNI[vni].settle(rivals)
	}
}

// with makes s what it would be if e were a record already, and returns it.
func (s *snapshot) with(e *endpoint) *snapshot {
	// In the place that its record will have.
	s.endpoints = slices.DeleteFunc(s.endpoints, e.same)
	at, _ := slices.BinarySearchFunc(s.endpoints, e, func(a, b *endpoint) int { return strings.Compare(a.key(), b.key()) })
	s.endpoints = slices.Insert(s.endpoints, at, e)
	v, ok := s.byVNI[e.vni]
	if !ok {
		return s
	}
	_, e.misplaced = records.CheckAddress(v.prefixes, e.addr)
	var rivals []*endpoint
	for _, other := range s.endpoints {
		if other.vni == e.vni && other.misplaced == nil && !other.record.GetSuperseded() {
			rivals = append(rivals, other)
		}
	}
	v.settle(rivals)
	return s
}

// settle gives names and addresses anew to those that may hold them.
func (v *vpc) settle(rivals []*endpoint) {
	slices.SortFunc(rivals, func(a, b *endpoint) int {
		return cmp.Or(
			cmp.Compare(b.record.GetClaim(), a.record.GetClaim()),
			cmp.Compare(b.node, a.node),
			cmp.Compare(a.name, b.name),
		)
	})
	clear(v.hosts)
	clear(v.names)
	for _, e := range rivals {
		e.lost = !v.take(e)
	}
}

// take gives the endpoint its name and its address, if both are free.
func (v *vpc) take(e *endpoint) bool {
	if v.hosts[e.addr] != nil || v.names[e.name] != nil {
		return false
	}
	v.hosts[e.addr], v.names[e.name] = e, e
	return true
}
