package daemon

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"edgenet.dev/edgenet/internal/records"
	"edgenet.dev/edgenet/pkg/isolation"
	"edgenet.dev/edgenet/pkg/mesh"
	"edgenet.dev/edgenet/pkg/policy"
)

const (
	here  = mesh.NodeID("1111111111111111111111111111111111111111")
	there = mesh.NodeID("2222222222222222222222222222222222222222")
)

// world is a mesh of two nodes with VPCs of the same prefix.
type world struct {
	*snapshot
	// claims are the endpoints that nodes claim, in the order in which this node
	// heard of them. settle writes into them what came of it.
	claims []*endpoint
}

func newWorld(vpcs ...string) *world {
	w := &world{snapshot: &snapshot{
		self: mesh.Node{ID: here, Prefix: netip.MustParsePrefix("fd00:1:1111::/64"), Local: true},
		nodes: map[mesh.NodeID]mesh.Node{
			here:  {ID: here, Prefix: netip.MustParsePrefix("fd00:1:1111::/64"), Local: true},
			there: {ID: there, Prefix: netip.MustParsePrefix("fd00:1:2222::/64")},
		},
		vpcs:  map[string]*vpc{},
		byVNI: map[uint32]*vpc{},
	}}
	for i, name := range vpcs {
		v := &vpc{
			vpcRecord: &vpcRecord{
				name: name, record: &records.VPC{Vni: uint32(i + 1), Cidrs: []string{"10.0.0.0/24"}},
				prefixes: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/24")},
			},
			groups: map[string]*group{},
		}
		w.vpcs[name], w.byVNI[v.vni()] = v, v
	}
	return w
}

func (w *world) attach(node mesh.NodeID, vni uint32, name, ip string, claim uint64) *endpoint {
	e := &endpoint{node: node, vni: vni, name: name, addrs: []netip.Addr{netip.MustParseAddr(ip)}, record: &records.Endpoint{
		Ip: ip, Kind: records.KindNetns, Netns: "/run/netns/" + name, Ifname: "eth0", Claim: claim,
	}}
	w.claims = append(w.claims, e)
	return e
}

// derive computes the datapath of this host from the records.
func (d *derived) derive(s *snapshot, tunnels []string, reaches map[mesh.NodeID]reach) (isolation.State, map[uint32]error) {
	return d.update(s, 1420).assemble(s, tunnels, reaches)
}

// group gives the VPC blue of a test a group of one ingress rule.
func (w *world) group(name, ports, peer string) {
	rule, err := policy.ParseRule(policy.RuleText{Direction: "ingress", Protocol: "tcp", Ports: []string{ports}, Peer: peer})
	if err != nil {
		panic(err)
	}
	// A VPC is not changed once somebody has seen it.
	old := w.byVNI[1]
	v := &vpc{vpcRecord: old.vpcRecord, groups: maps.Clone(old.groups), holdings: old.holdings}
	w.vpcs[v.name], w.byVNI[1] = v, v
	v.groups[name] = &group{vni: 1, name: name, rules: []policy.Rule{rule}, record: &records.Group{}}
}

func (w *world) settle() {
	for vni, old := range w.byVNI {
		v := &vpc{vpcRecord: old.vpcRecord, groups: maps.Clone(old.groups), grants: old.grants}
		w.vpcs[v.name], w.byVNI[vni] = v, v
		var members []endpoint
		for _, e := range w.claims {
			if e.vni == v.vni() {
				members = append(members, *e)
			}
		}
		// As the mesh lists records.
		slices.SortFunc(members, func(a, b endpoint) int { return strings.Compare(a.key(), b.key()) })
		v.settle(w.self.ID, members)
		for _, e := range w.claims {
			if i := slices.IndexFunc(v.all, e.same); i >= 0 {
				e.lost, e.barred = v.all[i].lost, v.all[i].barred
			}
		}
	}
}

func mustDerive(t *testing.T, s *world) flat {
	t.Helper()
	s.settle()
	state, problems := new(derived).derive(s.snapshot, []string{"tun"}, map[mesh.NodeID]reach{there: {device: "tun", mtu: 1420}})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return flatten(state)
}

func TestEqualAddressesOfTwoVPCsStayApart(t *testing.T) {
	s := newWorld("blue", "green")
	s.attach(here, 1, "web", "10.0.0.5", 1)
	s.attach(here, 2, "web", "10.0.0.5", 2)
	s.attach(there, 1, "db", "10.0.0.6", 3)
	state := mustDerive(t, s)
	if len(state.Endpoints) != 2 || len(state.Addresses) != 3 {
		t.Fatalf("got %d endpoints and %d addresses, want 2 and 3", len(state.Endpoints), len(state.Addresses))
	}
	db := netip.MustParseAddr("10.0.0.6")
	if got := state.Addresses[vpcAddress{VNI: 1, Addr: db}].Node; got != s.nodes[there].Prefix {
		t.Errorf("db is at %v, want the other node's prefix", got)
	}
	if _, leaked := state.Addresses[vpcAddress{VNI: 2, Addr: db}]; leaked {
		t.Error("green knows an address of blue")
	}
}

func TestAVPCWithoutLocalEndpointsIsNotInTheDatapath(t *testing.T) {
	s := newWorld("blue")
	s.attach(there, 1, "db", "10.0.0.6", 1)
	if state := mustDerive(t, s); len(state.Addresses) != 0 || len(state.Policies) != 0 {
		t.Errorf("got %d addresses and %d policies, want none", len(state.Addresses), len(state.Policies))
	}
}

func TestTheLatestClaimWins(t *testing.T) {
	s := newWorld("blue")
	s.attach(here, 1, "web", "10.0.0.5", 1)
	s.attach(there, 1, "web-new", "10.0.0.5", 2)
	state := mustDerive(t, s)
	if !state.Endpoints[isolation.Key{VNI: 1, Name: "web"}].Superseded {
		t.Error("the endpoint that lost its address is not cut off")
	}
	at := state.Addresses[vpcAddress{VNI: 1, Addr: netip.MustParseAddr("10.0.0.5")}]
	if at.Node != s.nodes[there].Prefix {
		t.Errorf("the address is at %+v, want the later claim's node", at)
	}
}

func TestANameCanBeHeldOnceToo(t *testing.T) {
	s := newWorld("blue")
	old := s.attach(here, 1, "web", "10.0.0.5", 1)
	s.attach(there, 1, "web", "10.0.0.9", 2)
	mustDerive(t, s)
	if !old.lost {
		t.Error("the older holder of the name was not superseded")
	}
}

func TestALoserDoesNotTakeAnAddressWithIt(t *testing.T) {
	s := newWorld("blue")
	third := s.attach(here, 1, "a", "10.0.0.5", 1)  // loses its address to the second, which itself lost
	second := s.attach(here, 1, "b", "10.0.0.5", 2) // loses its name to the first
	s.attach(there, 1, "b", "10.0.0.6", 3)
	mustDerive(t, s)
	if !second.lost || third.lost {
		t.Errorf("second lost: %v, third lost: %v; want only the second", second.lost, third.lost)
	}
}

func TestASupersededEndpointNeverComesBack(t *testing.T) {
	s := newWorld("blue")
	e := s.attach(here, 1, "web", "10.0.0.5", 1)
	e.record.Superseded = true
	state := mustDerive(t, s)
	if len(state.Addresses) != 0 || !state.Endpoints[isolation.Key{VNI: 1, Name: "web"}].Superseded {
		t.Error("an endpoint that was superseded holds its address again")
	}
}

func TestEqualClaimsAreSettledAlikeEverywhere(t *testing.T) {
	for _, order := range [][2]mesh.NodeID{{here, there}, {there, here}} {
		s := newWorld("blue")
		s.attach(order[0], 1, "web", "10.0.0.5", 7)
		s.attach(order[1], 1, "web", "10.0.0.5", 7)
		mustDerive(t, s)
		if winner := s.byVNI[1].names["web"].node; winner != there {
			t.Errorf("order %v: %s won, want the higher id", order, winner)
		}
	}
}

func TestRulesReachTheTablesOfTheirCarriers(t *testing.T) {
	s := newWorld("blue")
	rule, err := policy.ParseRule(policy.RuleText{Direction: "ingress", Protocol: "tcp", Ports: []string{"80"}, Peer: "any"})
	if err != nil {
		t.Fatal(err)
	}
	s.byVNI[1].groups["web"] = &group{name: "web", rules: []policy.Rule{rule}}
	e := s.attach(here, 1, "web", "10.0.0.5", 1)
	e.record.Groups = []string{"web"}
	s.attach(here, 1, "plain", "10.0.0.6", 2)
	state := mustDerive(t, s)
	web := state.Endpoints[isolation.Key{VNI: 1, Name: "web"}]
	plain := state.Endpoints[isolation.Key{VNI: 1, Name: "plain"}]
	if web.Ingress == plain.Ingress {
		t.Error("an endpoint with a group has the ingress table of one without")
	}
	if web.Egress != plain.Egress {
		t.Error("no group has egress rules, but the egress tables differ")
	}
	if state.Policies[web.Ingress] == nil || state.Policies[web.Egress] == nil {
		t.Error("an endpoint refers to a table that is not there")
	}
	if web.MTU != 1400 || web.Networks[0].Gateway != netip.MustParseAddr("10.0.0.1") {
		t.Errorf("MTU %d and gateway %s, want 1400 and 10.0.0.1", web.MTU, web.Networks[0].Gateway)
	}
}
