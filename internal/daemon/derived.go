package daemon

import (
	"maps"
	"slices"

	"google.golang.org/protobuf/proto"

	"edgenet.dev/edgenet/pkg/isolation"
	"edgenet.dev/edgenet/pkg/mesh"
)

// derived has what was derived of each VPC last, by VNI. A change of one VPC
// costs nothing for the others.
type derived map[uint32]*part

// part is the share of one VPC in the datapath of this host.
type part struct {
	from inputs
	// made is handed over at the same place for as long as it is the same.
	made *isolation.VPC
	// err says why the rules could not be worked out.
	err error
}

// inputs are all that a part follows from.
type inputs struct {
	self  mesh.NodeID
	mtu   int
	vpc   *vpc
	local []*endpoint
	all   []*endpoint
}

// update derives what is not as it was; mtu is that of the tunnels.
func (d *derived) update(s *snapshot, mtu int) derived {
	mtu -= tenantOverhead
	members := make(map[uint32]*inputs, len(s.byVNI))
	for vni, v := range s.byVNI {
		members[vni] = &inputs{self: s.self.ID, mtu: mtu, vpc: v, all: make([]*endpoint, 0, len(v.hosts))}
	}
	for _, e := range s.endpoints {
		in := members[e.vni]
		if in == nil {
			continue
		}
		in.all = append(in.all, e)
		if e.node == s.self.ID {
			in.local = append(in.local, e)
		}
	}
	next := derived{}
	for vni, in := range members {
		if len(in.local) == 0 {
			continue
		}
		if old := (*d)[vni]; old != nil && old.from.same(*in) {
			// What it was derived from is not kept longer than it must be.
			old.from = *in
			next[vni] = old
			continue
		}
		next[vni] = deriveVPC(s, *in)
	}
	*d = next
	return next
}

// same tells whether the same follows from both. Records are decoded once and
// never changed, so that most that are the same are at the same place; a node's
// prefix follows from its id.
func (in inputs) same(other inputs) bool {
	return in.self == other.self && in.mtu == other.mtu &&
		in.vpc.record == other.vpc.record &&
		maps.Equal(in.vpc.groups, other.vpc.groups) &&
		slices.EqualFunc(in.all, other.all, func(a, b *endpoint) bool {
			return a.holds() == b.holds() && a.same(b) && (a.record == b.record || proto.Equal(a.record, b.record))
		})
}
