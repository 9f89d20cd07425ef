package daemon

import (
	"cmp"
	"net/netip"

	"edgenet.dev/edgenet/internal/records"
	"edgenet.dev/edgenet/pkg/mesh"
	"edgenet.dev/edgenet/pkg/policy"
)

// snapshot is what the records say at one moment, decoded and with conflicts
// settled. Once made it is not changed, but by with.
type snapshot struct {
	self  mesh.Node
	nodes map[mesh.NodeID]mesh.Node
	vpcs  map[string]*vpc
	byVNI map[uint32]*vpc
	// endpoints are all that nodes of the mesh claim, winners or not.
	endpoints []*endpoint
}

type vpc struct {
	name     string
	record   *records.VPC
	prefixes []netip.Prefix
	groups   map[string]*group
	// hosts are the endpoints that hold their address.
	hosts map[netip.Addr]*endpoint
	names map[string]*endpoint
}

func (v *vpc) vni() uint32 { return v.record.GetVni() }

type group struct {
	vni    uint32
	name   string
	record *records.Group
	rules  []policy.Rule
}

type endpoint struct {
	node   mesh.NodeID
	vni    uint32
	name   string
	record *records.Endpoint
	addr   netip.Addr
	// lost is true if a later claim took the address or the name.
	lost bool
	// misplaced says why the address cannot be one of the VPC's, if so: only a
	// node that is not as it should be claims such a one.
	misplaced error
}

func (e *endpoint) key() string { return records.EndpointKey(e.node, e.vni, e.name) }

// same tells whether both are the same endpoint, if not the same state of it.
func (e *endpoint) same(other *endpoint) bool {
	return e.vni == other.vni && e.name == other.name && e.node == other.node
}

// holds is true for an endpoint that has its name and its address.
func (e *endpoint) holds() bool { return !e.lost && e.misplaced == nil }

// reader takes snapshots of a mesh. It decodes a record once.
type reader struct {
	mesh      *mesh.Mesh
	vpcs      decoded[*records.VPC]
	groups    decoded[*group]
	endpoints decoded[*endpoint]
}

// read takes a snapshot.
func (r *reader) read() *snapshot {
	s := &snapshot{
		self:  r.mesh.Self(),
		nodes: map[mesh.NodeID]mesh.Node{},
		vpcs:  map[string]*vpc{},
		byVNI: map[uint32]*vpc{},
	}
	for _, n := range r.mesh.Nodes() {
		s.nodes[n.ID] = n
	}
	r.readVPCs(s)
	r.readGroups(s)
	r.readEndpoints(s)
	s.settle()
	return s
}

func (r *reader) readVPCs(s *snapshot) {
	r.vpcs.update(r.mesh.List(mesh.KindVPC), records.DecodeVPC)
	for _, one := range r.vpcs {
		if one.err != nil {
			continue
		}
		record := one.value
		v := &vpc{
			name: one.key, record: record, prefixes: record.Prefixes(),
			groups: map[string]*group{}, hosts: map[netip.Addr]*endpoint{}, names: map[string]*endpoint{},
		}
		s.vpcs[v.name] = v
		// Two authorities that were cut off from each other may have given the
		// same VNI: the older VPC keeps it.
		if other, taken := s.byVNI[v.vni()]; !taken || older(v, other) {
			s.byVNI[v.vni()] = v
		}
	}
	for name, v := range s.vpcs {
		if s.byVNI[v.vni()] != v {
			delete(s.vpcs, name)
		}
	}
}

func older(a, b *vpc) bool {
	return cmp.Or(cmp.Compare(a.record.GetCreatedMs(), b.record.GetCreatedMs()), cmp.Compare(a.name, b.name)) < 0
}

func (r *reader) readGroups(s *snapshot) {
	r.groups.update(r.mesh.List(mesh.KindGroup), decodeGroup)
	for _, one := range r.groups {
		if one.err != nil {
			continue
		}
		if v, ok := s.byVNI[one.value.vni]; ok {
			v.groups[one.value.name] = one.value
		}
	}
}

func decodeGroup(rec mesh.Record) (*group, error) {
	vni, name, err := records.SplitGroupKey(rec.Key)
	if err != nil {
		return nil, err
	}
	record, err := records.DecodeGroup(rec)
	if err != nil {
		return nil, err
	}
	rules, err := record.PolicyRules()
	return &group{vni: vni, name: name, record: record, rules: rules}, err
}

func (r *reader) readEndpoints(s *snapshot) {
	r.endpoints.update(r.mesh.List(mesh.KindEndpoint), decodeEndpoint)
	// One block of memory for all: there may be very many.
	block := make([]endpoint, 0, len(r.endpoints))
	s.endpoints = make([]*endpoint, 0, len(r.endpoints))
	for _, one := range r.endpoints {
		if one.err != nil {
			continue
		}
		if _, known := s.nodes[one.value.node]; known {
			block = append(block, *one.value)
			s.endpoints = append(s.endpoints, &block[len(block)-1])
		}
	}
}

func decodeEndpoint(rec mesh.Record) (*endpoint, error) {
	node, vni, name, err := records.SplitEndpointKey(rec.Key)
	if err != nil {
		return nil, err
	}
	record, err := records.DecodeEndpoint(rec)
	if err != nil {
		return nil, err
	}
	addr, err := netip.ParseAddr(record.GetIp())
	return &endpoint{node: node, vni: vni, name: name, record: record, addr: addr}, err
}
