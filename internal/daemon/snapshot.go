package daemon

import (
	"cmp"
	"net/netip"
	"slices"

	"edgenet.dev/edgenet/internal/records"
	"edgenet.dev/edgenet/pkg/mesh"
	"edgenet.dev/edgenet/pkg/policy"
)

// snapshot is what the records say at one moment, decoded and with conflicts
// settled. It is read only.
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
	version  mesh.Version
	record   *records.VPC
	prefixes []netip.Prefix
	groups   map[string]*group
	// hosts are the endpoints that hold their address.
	hosts map[netip.Addr]*endpoint
	names map[string]*endpoint
}

func (v *vpc) vni() uint32 { return v.record.GetVni() }

type group struct {
	name   string
	record *records.Group
	rules  []policy.Rule
}

type endpoint struct {
	node    mesh.NodeID
	vni     uint32
	name    string
	version mesh.Version
	record  *records.Endpoint
	addr    netip.Addr
	// lost is true if a later claim took the address or the name.
	lost bool
}

func (e *endpoint) key() string { return records.EndpointKey(e.node, e.vni, e.name) }

// reader takes snapshots of a mesh. It decodes a record once.
type reader struct {
	mesh  *mesh.Mesh
	cache map[cacheKey]cached
}

type cacheKey struct {
	kind mesh.Kind
	key  string
}

type cached struct {
	version mesh.Version
	value   any
}

// read takes a snapshot. pending, if not nil, counts as if it were a record
// already.
func (r *reader) read(pending *endpoint) *snapshot {
	s := &snapshot{
		self:  r.mesh.Self(),
		nodes: map[mesh.NodeID]mesh.Node{},
		vpcs:  map[string]*vpc{},
		byVNI: map[uint32]*vpc{},
	}
	for _, n := range r.mesh.Nodes() {
		s.nodes[n.ID] = n
	}
	fresh := make(map[cacheKey]cached, len(r.cache))
	r.readVPCs(s, fresh)
	r.readGroups(s, fresh)
	r.readEndpoints(s, fresh, pending)
	r.cache = fresh
	s.settle()
	return s
}

// decodeOnce gives the decoded form of a record, nil for one that cannot be
// decoded (Validate keeps those out).
func decodeOnce[T any](r *reader, fresh map[cacheKey]cached, rec mesh.Record, decode func(mesh.Record) (T, error)) (T, bool) {
	key := cacheKey{rec.Kind, rec.Key}
	if c, ok := r.cache[key]; ok && c.version == rec.Version {
		if value, ok := c.value.(T); ok {
			fresh[key] = c
			return value, true
		}
	}
	value, err := decode(rec)
	if err != nil {
		return value, false
	}
	fresh[key] = cached{rec.Version, value}
	return value, true
}

func (r *reader) readVPCs(s *snapshot, fresh map[cacheKey]cached) {
	for _, rec := range r.mesh.List(mesh.KindVPC) {
		record, ok := decodeOnce(r, fresh, rec, records.DecodeVPC)
		if !ok {
			continue
		}
		v := &vpc{
			name: rec.Key, version: rec.Version, record: record, prefixes: record.Prefixes(),
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

func (r *reader) readGroups(s *snapshot, fresh map[cacheKey]cached) {
	for _, rec := range r.mesh.List(mesh.KindGroup) {
		vni, name, err := records.SplitGroupKey(rec.Key)
		if err != nil {
			continue
		}
		v, ok := s.byVNI[vni]
		if !ok {
			continue
		}
		g, ok := decodeOnce(r, fresh, rec, func(rec mesh.Record) (*group, error) {
			record, err := records.DecodeGroup(rec)
			if err != nil {
				return nil, err
			}
			rules, err := record.PolicyRules()
			return &group{name: name, record: record, rules: rules}, err
		})
		if ok {
			v.groups[name] = g
		}
	}
}

func (r *reader) readEndpoints(s *snapshot, fresh map[cacheKey]cached, pending *endpoint) {
	for _, rec := range r.mesh.List(mesh.KindEndpoint) {
		if pending != nil && rec.Key == pending.key() {
			continue
		}
		node, vni, name, err := records.SplitEndpointKey(rec.Key)
		if err != nil {
			continue
		}
		if _, known := s.nodes[node]; !known {
			continue
		}
		record, ok := decodeOnce(r, fresh, rec, records.DecodeEndpoint)
		if !ok {
			continue
		}
		s.addEndpoint(&endpoint{node: node, vni: vni, name: name, version: rec.Version, record: record})
	}
	if pending != nil {
		copied := *pending
		s.addEndpoint(&copied)
	}
}

func (s *snapshot) addEndpoint(e *endpoint) {
	addr, err := netip.ParseAddr(e.record.GetIp())
	if err != nil {
		return
	}
	e.addr = addr
	s.endpoints = append(s.endpoints, e)
}

// settle decides who holds which address and name: the latest claim, and of
// two at the same moment the one of the higher node id. All nodes decide alike.
func (s *snapshot) settle() {
	slices.SortFunc(s.endpoints, func(a, b *endpoint) int {
		return cmp.Or(
			cmp.Compare(b.record.GetClaim(), a.record.GetClaim()),
			cmp.Compare(b.node, a.node),
			cmp.Compare(a.name, b.name),
		)
	})
	for _, e := range s.endpoints {
		v, ok := s.byVNI[e.vni]
		if !ok {
			continue
		}
		if e.record.GetSuperseded() {
			e.lost = true
			continue
		}
		_, addressTaken := v.hosts[e.addr]
		_, nameTaken := v.names[e.name]
		if addressTaken || nameTaken {
			e.lost = true
			continue
		}
		v.hosts[e.addr] = e
		v.names[e.name] = e
	}
}
