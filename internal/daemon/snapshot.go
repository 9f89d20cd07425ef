package daemon

import (
	"iter"
	"maps"
	"net/netip"
	"slices"
	"time"

	"edgenet.dev/edgenet/internal/records"
	"edgenet.dev/edgenet/pkg/mesh"
	"edgenet.dev/edgenet/pkg/policy"
)

// snapshot is what the records say at one moment, decoded and with conflicts
// settled. It is never changed, and shares with the snapshots before and after
// it what is the same.
type snapshot struct {
	self  mesh.Node
	nodes map[mesh.NodeID]mesh.Node
	vpcs  map[string]*vpc
	byVNI map[uint32]*vpc
	// strays are the endpoints whose VPC is not known.
	strays []*endpoint
	// homeless are those of them that were detached, and only outrank others.
	homeless []*endpoint
	// until is when something of it is otherwise though no record changes; zero is
	// never.
	until time.Time
}

type vpc struct {
	*vpcRecord
	groups map[string]*group
	// shadow is the candidate; nil if there is none.
	shadow *shadow
	// grants are those without which nobody claims anything; nil if none are needed.
	grants *vpcGrants
	*holdings
}

// vpcRecord is a VPC as its record alone has it.
type vpcRecord struct {
	name     string
	record   *records.VPC
	prefixes []netip.Prefix
	// implicit is the default group for as long as there is no record of it.
	implicit *group
}

func (v *vpcRecord) vni() uint32 { return v.record.GetVni() }

type group struct {
	vni    uint32
	name   string
	record *records.Group
	rules  []policy.Rule
}

func (g *group) key() string { return records.GroupKey(g.vni, g.name) }

type endpoint struct {
	node   mesh.NodeID
	vni    uint32
	name   string
	record *records.Endpoint
	// addrs are its own addresses, the primary one first.
	addrs []netip.Addr
	// routed are the prefixes behind it.
	routed []netip.Prefix
	// announced are the addresses in them that it said to have.
	announced []announcement
	// lost is true if a later claim took an address or the name.
	lost bool
	// barred says why it is in force nowhere, whatever others claim, if so: an
	// address cannot be one of the VPC's, which only a node claims that is not as it
	// should be, or its node has no grant for it.
	barred error
}

func (e *endpoint) key() string { return records.EndpointKey(e.node, e.vni, e.name) }

// same tells whether both are the same endpoint, if not the same state of it.
func (e *endpoint) same(other *endpoint) bool {
	return e.vni == other.vni && e.name == other.name && e.node == other.node
}

// announcement is an address, and the version at which it was announced.
type announcement struct {
	addr    netip.Addr
	version mesh.Version
}

// holds is true for an endpoint that has its name and its addresses.
func (e *endpoint) holds() bool { return !e.lost && e.barred == nil }

// groups are those that the endpoint carries.
func (e *endpoint) groups() []string {
	if named := e.record.GetGroups(); len(named) > 0 {
		return named
	}
	return defaultGroups
}

var defaultGroups = []string{records.DefaultGroup}

// endpoints are all that nodes of the mesh claim, winners or not.
func (s *snapshot) endpoints() iter.Seq[*endpoint] {
	return s.each(func(v *vpc) []*endpoint { return v.all }, func(*endpoint) bool { return true })
}

// local are the endpoints of this node.
func (s *snapshot) local() iter.Seq[*endpoint] {
	return s.each(func(v *vpc) []*endpoint { return v.local }, func(e *endpoint) bool { return e.node == s.self.ID })
}

// each goes through the VPCs, then through the strays that are meant.
func (s *snapshot) each(of func(*vpc) []*endpoint, meant func(*endpoint) bool) iter.Seq[*endpoint] {
	return func(yield func(*endpoint) bool) {
		for _, vni := range slices.Sorted(maps.Keys(s.byVNI)) {
			for _, e := range of(s.byVNI[vni]) {
				if !yield(e) {
					return
				}
			}
		}
		for _, e := range s.strays {
			if meant(e) && !yield(e) {
				return
			}
		}
	}
}

// find returns the endpoint that is the same as e, or nil.
func (s *snapshot) find(e *endpoint) *endpoint {
	v, ok := s.byVNI[e.vni]
	if !ok {
		return nil
	}
	if holder := v.names[e.name]; holder != nil && holder.same(e) {
		return holder
	}
	if i := slices.IndexFunc(v.all, e.same); i >= 0 {
		return v.all[i]
	}
	return nil
}

func (s *snapshot) group(name, vpcName string) (*vpc, *group, error) {
	v, ok := s.vpcs[vpcName]
	if !ok {
		return nil, nil, notFound("vpc %q: not found", vpcName)
	}
	g, ok := v.groups[name]
	if !ok {
		return nil, nil, notFound("group %q of vpc %s: not found", name, vpcName)
	}
	return v, g, nil
}
