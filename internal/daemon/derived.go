package daemon

import (
	"maps"
	"slices"

	"google.golang.org/protobuf/proto"

	"edgenet.dev/edgenet/pkg/mesh"
)

// derived has what was derived of each VPC last, by VNI. A change of one VPC
// costs nothing for the others.
type derived map[uint32]*part

// inputs are all that a part follows from.
type inputs struct {
	self mesh.NodeID
	// evicted is true if this node was taken out of the mesh.
	evicted bool
	mtu     int
	vpc     *vpc
}

// update derives what is not as it was; mtu is that of the tunnels.
func (d *derived) update(s *snapshot, mtu int) derived {
	next := derived{}
	for vni, v := range s.byVNI {
		if len(v.local) == 0 {
			continue
		}
		in := inputs{self: s.self.ID, evicted: s.isEvicted(), mtu: mtu - tenantOverhead, vpc: v}
		if old := (*d)[vni]; old != nil && old.from.same(in) {
			// What it was derived from is not kept longer than it must be.
			old.from = in
			next[vni] = old
			continue
		}
		next[vni] = deriveVPC(s, in, (*d)[vni])
	}
	*d = next
	return next
}

// same tells whether the same follows from both. Records are decoded once and
// never changed, so that most that are the same are at the same place; a node's
// prefix follows from its id.
func (in inputs) same(other inputs) bool {
	return in.self == other.self && in.evicted == other.evicted && in.mtu == other.mtu && (in.vpc == other.vpc ||
		in.vpc.record == other.vpc.record && in.vpc.shadow == other.vpc.shadow &&
			maps.Equal(in.vpc.groups, other.vpc.groups) && in.vpc.sameEndpoints(other.vpc))
}

func (v *vpc) sameEndpoints(other *vpc) bool {
	return v.holdings == other.holdings || slices.EqualFunc(v.all, other.all, func(a, b *endpoint) bool {
		return a == b || a.holds() == b.holds() && a.same(b) && (a.record == b.record || proto.Equal(a.record, b.record))
	})
}
