package daemon

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"edgenet.dev/edgenet/internal/records"
	"edgenet.dev/edgenet/pkg/mesh"
)

// source is what snapshots are taken of: mesh.Mesh, whose words on its methods
// hold.
type source interface {
	Self() mesh.Node
	Nodes() []mesh.Node
	List(kind mesh.Kind) []mesh.Record
	Time() time.Time
}

// reader takes snapshots of a mesh. It decodes a record once, and settles a VPC
// again only if something of it has changed.
type reader struct {
	mesh      source
	vpcs      decoded[*vpcRecord]
	groups    decoded[*group]
	endpoints decoded[*endpoint]
	shadows   decoded[*shadow]
	granted   granted
	// doubted are claims of other nodes without the grant that they need, if somebody
	// asks for them.
	doubted *[]doubted
	// batches, if there are such, keep groups that were changed together
	// together.
	batches *batches
	last    *snapshot
}

// vnis are the VPCs of which something has changed.
type vnis map[uint32]bool

// read takes a snapshot.
func (r *reader) read() *snapshot {
	s := &snapshot{self: r.mesh.Self(), nodes: map[mesh.NodeID]mesh.Node{}}
	for _, n := range r.mesh.Nodes() {
		s.nodes[n.ID] = n
	}
	r.complete(s)
	r.last = s
	return s
}

// complete adds to a snapshot that has its nodes all else.
func (r *reader) complete(s *snapshot) {
	before := r.last
	if before == nil || before.self.ID != s.self.ID {
		before = &snapshot{}
	}
	vpcsBefore, vpcsNow := r.vpcs.update(r.mesh.List(mesh.KindVPC), decodeVPC)
	groups, endpoints := r.readGroups(), r.readEndpoints()
	shadowsBefore, shadowsNow := r.shadows.update(r.mesh.List(mesh.KindShadow), decodeShadow)
	holders, everywhere := r.granted.update(r.mesh)
	s.until = r.granted.until
	// Whose node is not known does not count.
	everywhere = everywhere || !maps.EqualFunc(before.nodes, s.nodes, func(a, b mesh.Node) bool { return a.ID == b.ID })
	if len(vpcsBefore)+len(vpcsNow)+len(groups)+len(endpoints)+len(shadowsBefore)+len(shadowsNow)+len(holders) == 0 && !everywhere {
		s.vpcs, s.byVNI, s.strays, s.homeless = before.vpcs, before.byVNI, before.strays, before.homeless
		return
	}
	s.placeVPCs(&r.vpcs)
	claimed := endpoints.born()
	for vni, v := range s.byVNI {
		v.grants = r.granted.of(vni)
		if old := before.byVNI[vni]; old != nil && old.vpcRecord == v.vpcRecord {
			v.groups, v.holdings = old.groups, old.holdings
		}
		if v.groups == nil || groups[vni] {
			v.groups = nil
			groups[vni] = true
		}
		if v.holdings == nil || everywhere {
			v.holdings = nil
			endpoints[vni] = turnover{}
		} else if len(holders[vni]) > 0 {
			endpoints[vni] = v.regrant(endpoints[vni], holders[vni])
		}
	}
	s.placeGroups(&r.groups, r.batches, groups)
	s.placeShadows(&r.shadows)
	s.strays, s.homeless = before.strays, before.homeless
	anew := s.settleChanged(before, endpoints)
	// With another VPC, strays may have got a home, and others lost theirs.
	if len(anew)+len(vpcsBefore)+len(vpcsNow) > 0 {
		s.placeEndpoints(&r.endpoints, anew)
	}
	r.doubt(s, claimed)
}

func decodeVPC(rec mesh.Record) (*vpcRecord, error) {
	record, err := records.DecodeVPC(rec)
	if err != nil {
		return nil, err
	}
	implicit := &group{
		vni: record.GetVni(), name: records.DefaultGroup, record: &records.Group{CreatedMs: record.GetCreatedMs()},
	}
	return &vpcRecord{name: rec.Key, record: record, prefixes: record.Prefixes(), implicit: implicit}, nil
}

// placeVPCs gives every VPC its network identifier.
func (s *snapshot) placeVPCs(from *decoded[*vpcRecord]) {
	s.vpcs, s.byVNI = make(map[string]*vpc, len(from.list)), make(map[uint32]*vpc, len(from.list))
	for _, one := range from.list {
		if one.err != nil {
			continue
		}
		v := &vpc{vpcRecord: one.value}
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

// readGroups returns the VPCs whose groups have changed.
func (r *reader) readGroups() vnis {
	changed := vnis{}
	before, now := r.groups.update(r.mesh.List(mesh.KindGroup), decodeGroup)
	for _, g := range before {
		changed[g.vni] = true
	}
	for _, g := range now {
		changed[g.vni] = true
	}
	if r.batches != nil {
		r.batches.update(before, now, time.Now(), changed)
	}
	return changed
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

// placeGroups fills the groups of the VPCs named.
func (s *snapshot) placeGroups(from *decoded[*group], held *batches, of vnis) {
	for vni := range of {
		if v, ok := s.byVNI[vni]; ok {
			v.groups = map[string]*group{records.DefaultGroup: v.implicit}
		}
	}
	for _, one := range from.list {
		if one.err != nil || !of[one.value.vni] {
			continue
		}
		if v, ok := s.byVNI[one.value.vni]; ok {
			v.groups[one.value.name] = held.inForce(one.value)
		}
	}
}

// placeShadows gives the VPCs their candidates.
func (s *snapshot) placeShadows(from *decoded[*shadow]) {
	for _, one := range from.list {
		if one.err != nil {
			continue
		}
		if v, ok := s.byVNI[one.value.vni]; ok {
			v.shadow = one.value
		}
	}
}

// readEndpoints returns what has changed about the endpoints, by VPC.
func (r *reader) readEndpoints() turnovers {
	changed := turnovers{}
	before, now := r.endpoints.update(r.mesh.List(mesh.KindEndpoint), decodeEndpoint)
	for _, e := range before {
		t := changed[e.vni]
		t.gone = append(t.gone, e)
		changed[e.vni] = t
	}
	for _, e := range now {
		t := changed[e.vni]
		t.born = append(t.born, e)
		changed[e.vni] = t
	}
	return changed
}

// settleChanged settles the VPCs of which little has changed, and returns the
// others.
func (s *snapshot) settleChanged(before *snapshot, changed turnovers) vnis {
	anew := vnis{}
	for vni, t := range changed {
		t.born = slices.DeleteFunc(t.born, func(e *endpoint) bool {
			_, known := s.nodes[e.node]
			return !known
		})
		v, old := s.byVNI[vni], before.byVNI[vni]
		if v == nil || v.holdings == nil || old == nil || !v.resettle(old.holdings, s.self.ID, t) {
			anew[vni] = true
		}
	}
	return anew
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
	e := &endpoint{node: node, vni: vni, name: name}
	return e, e.use(record)
}

// use takes over what a record says.
func (e *endpoint) use(record *records.Endpoint) (err error) {
	e.record = record
	if e.addrs, err = record.Addresses(); err != nil {
		return err
	}
	if e.routed, err = record.Routed(); err != nil {
		return err
	}
	e.announced = nil
	for _, a := range record.GetAnnounced() {
		addr, err := records.ParseAddress(a.GetAddress())
		if err != nil {
			return err
		}
		e.announced = append(e.announced, announcement{addr: addr, version: mesh.Version(a.GetVersion())})
	}
	return nil
}

// placeEndpoints gives the VPCs named their endpoints, and settles them.
func (s *snapshot) placeEndpoints(from *decoded[*endpoint], of vnis) {
	s.strays, s.homeless = nil, nil
	members := map[uint32][]endpoint{}
	for _, one := range from.list {
		if one.err != nil {
			continue
		}
		if _, known := s.nodes[one.value.node]; !known {
			continue
		}
		switch _, placed := s.byVNI[one.value.vni]; {
		case !placed:
			stray := *one.value
			if stray.record.GetReleased() {
				s.homeless = append(s.homeless, &stray)
			} else {
				s.strays = append(s.strays, &stray)
			}
		case of[one.value.vni]:
			members[one.value.vni] = append(members[one.value.vni], *one.value)
		}
	}
	for vni := range of {
		if v, ok := s.byVNI[vni]; ok {
			v.settle(s.self.ID, members[vni])
		}
	}
}
