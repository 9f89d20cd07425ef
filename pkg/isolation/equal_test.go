package isolation

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"edgenet.dev/edgenet/pkg/policy"
)

// contents is what packets find in the tables of a datapath, whatever it is
// called there and wherever it stands.
func (b *bench) contents() string {
	b.t.Helper()
	t := in(b.space, func() (*tables, error) { return openTables(b.dp.maps) })
	defer func() {
		if err := t.close(); err != nil {
			b.t.Error(err)
		}
	}()
	active := t.active()
	var lines []string
	add := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	for ifindex, e := range t.endpoints.have {
		r := e.Rules[active]
		add("endpoint %d %v %v %v %v %v %v: %x %x %x %x %x %x", ifindex, keyOf(&e), e.Mac, e.Flags, e.Delivery,
			e.Address4.Bytes, e.Address6.Bytes, r.Ingress, r.Egress, r.ShadowIngress, r.ShadowEgress, r.Identity4, r.Identity6)
		if e.Slot == 0 || e.Id == 0 {
			b.t.Errorf("endpoint %v has place %d and id %d", keyOf(&e), e.Slot, e.Id)
		}
	}
	for _, of := range t.addresses.have {
		for key, places := range of {
			if places[active] != (edgenetPlace{}) {
				add("address %d %v: %+v", key.Vni, addrOf(&key), places[active])
			}
		}
	}
	for _, of := range t.routes.have {
		for key, places := range of {
			add("route %d %v/%d: %+v", fromBig(key.Vni), netip.AddrFrom16(key.Prefix.Bytes), key.Length, places[active])
		}
	}
	for key, ip := range t.tokens.mirror.have {
		add("token %+v: %v", key, netip.AddrFrom16(ip.Bytes))
	}
	for prefix, n := range t.nodes.have {
		add("node %x: %+v", prefix, n)
	}
	names := make(map[uint32]edgenetRuleName)
	for name, number := range t.numbers.of {
		names[number] = name
	}
	for id, rows := range t.verdicts.rows.have {
		for key, spans := range rows {
			span := spans[active]
			if span.Lines == 0 {
				continue
			}
			var says []string
			for _, i := range intervalsIn(t.verdicts.store.in(extentOf(span)), int(span.Height)) {
				says = append(says, fmt.Sprintf("%d-%d %x %v", i.First, i.Last, i.Rule&ruleDenies, names[i.Rule&^ruleDenies]))
			}
			add("verdict %x %x %d: %v", uint64(id), uint64(key.identity), key.protocol, says)
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// game is a random VPC or two that changes all the time.
type game struct {
	*bench
	rand *rand.Rand
	vpcs map[uint32]*gameVPC
	next uint32 // ifindex
}

type gameVPC struct {
	vpc      policy.VPC
	compiler policy.Compiler
	devices  map[string]uint32
	made     *VPC
}

func newGame(t testing.TB, seed uint64) *game {
	t.Helper()
	g := &game{
		bench: &bench{host: &host{space: newSpace(t), prefix: nodeA}, wires: map[Key]wired{}},
		rand:  rand.New(rand.NewPCG(seed, 1)), vpcs: make(map[uint32]*gameVPC), next: 100,
	}
	g.cfg = Config{MeshPrefix: testMesh, NodePrefix: nodeA, MaxEndpoints: 64, MaxAddresses: 1024, MaxFlows: 1024, MaxVerdicts: 8192}
	g.open()
	t.Cleanup(func() {
		if g.dp != nil {
			g.close()
		}
	})
	return g
}

func (g *game) pick(n int) int { return g.rand.IntN(n) }

func (g *game) groups() []string {
	var names []string
	for range g.pick(3) {
		names = append(names, fmt.Sprint("g", g.pick(6)))
	}
	return names
}

func (g *game) addr() netip.Addr {
	if g.pick(3) == 0 {
		return netip.MustParseAddr(fmt.Sprintf("fd00:1::%x", 2+g.pick(40)))
	}
	return netip.AddrFrom4([4]byte{10, 0, 0, byte(2 + g.pick(60))})
}

func (g *game) rule() policy.Rule {
	r := policy.Rule{
		Direction: []policy.Direction{policy.Ingress, policy.Egress}[g.pick(2)],
		Action:    []policy.Action{policy.Allow, policy.Allow, policy.Deny}[g.pick(3)],
		Protocol:  []policy.Protocol{policy.ProtocolTCP, policy.ProtocolUDP, policy.ProtocolAny}[g.pick(3)],
	}
	if r.Protocol != policy.ProtocolAny {
		first := uint16(1 + g.pick(1000))
		r.Ports = []policy.PortRange{{First: first, Last: first + uint16(g.pick(100))}}
	}
	switch g.pick(3) {
	case 0:
		r.Peer = policy.Peer{Kind: policy.PeerGroup, Group: fmt.Sprint("g", g.pick(6))}
	case 1:
		bits := 24 + g.pick(8)
		r.Peer = policy.Peer{Kind: policy.PeerCIDR, CIDR: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(g.pick(64))}), bits).Masked()}
	}
	return r
}

// step changes one thing of one VPC.
func (g *game) step() {
	vni := uint32(testVNI + g.pick(2))
	v := g.vpcs[vni]
	if v == nil {
		v = &gameVPC{devices: make(map[string]uint32), vpc: policy.VPC{VNI: vni}}
		for i := range 5 {
			v.vpc.Groups = append(v.vpc.Groups, policy.Group{Name: fmt.Sprint("g", i)})
		}
		g.vpcs[vni] = v
	}
	v.vpc.Hosts, v.vpc.Groups = slices.Clone(v.vpc.Hosts), slices.Clone(v.vpc.Groups)
	switch g.pick(10) {
	case 0, 1, 2:
		group := &v.vpc.Groups[g.pick(len(v.vpc.Groups))]
		next := g.rule()
		group.Rules = slices.DeleteFunc(slices.Clone(group.Rules), func(r policy.Rule) bool {
			return r.ID() == next.ID() || g.pick(8) == 0
		})
		group.Rules = append(group.Rules, next)
	case 3, 4, 5, 6:
		g.attach(v)
	case 7, 8:
		if n := len(v.vpc.Hosts); n > 0 {
			i := g.pick(n)
			v.vpc.Hosts = slices.Delete(v.vpc.Hosts, i, i+1)
		}
	case 9:
		if g.pick(10) == 0 {
			delete(g.vpcs, vni)
			return
		}
		clear(v.devices) // all devices are made anew
	}
	g.make(vni, v)
}

// attach adds a host or a prefix, here or elsewhere, or moves one.
func (g *game) attach(v *gameVPC) {
	name := fmt.Sprint([]string{"here", "far"}[g.pick(2)], g.pick(12))
	h := policy.Host{Name: name, Addr: g.addr(), Groups: g.groups()}
	if g.pick(5) == 0 {
		h.Addr, h.Prefix = netip.Addr{}, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(g.pick(2)), byte(g.pick(64))}), 24+g.pick(9)).Masked()
	}
	v.vpc.Hosts = slices.DeleteFunc(v.vpc.Hosts, func(o policy.Host) bool {
		return o.Addr == h.Addr && o.Prefix == h.Prefix || o.Name == h.Name && o.Addr.IsValid() == h.Addr.IsValid() && g.pick(2) == 0
	})
	v.vpc.Hosts = append(v.vpc.Hosts, h)
}

// make derives what the tables shall be of a VPC.
func (g *game) make(vni uint32, v *gameVPC) {
	g.t.Helper()
	v.vpc.Sets = nil
	for _, h := range v.vpc.Hosts {
		v.vpc.Sets = append(v.vpc.Sets, h.Groups)
	}
	compiled, err := v.compiler.Compile(v.vpc)
	if err != nil {
		g.t.Fatal(err)
	}
	before := v.made
	v.made = &VPC{
		Policies: compiled.Tables, Endpoints: make(map[string]Endpoint),
		Addresses: make(map[netip.Addr]Location), Routes: make(map[netip.Prefix]Location),
	}
	for key := range g.wires {
		if key.VNI == vni {
			delete(g.wires, key)
		}
	}
	for _, h := range v.vpc.Hosts {
		key := Key{vni, h.Name}
		at := Location{Node: nodeB}
		if strings.HasPrefix(h.Name, "here") {
			at = Location{Endpoint: key}
			e := v.made.Endpoints[h.Name]
			e.Networks = []Network{{vpc, gateway}}
			e.Ingress, e.Egress = compiled.Policy(h.Groups, policy.Ingress), compiled.Policy(h.Groups, policy.Egress)
			if h.Addr.IsValid() {
				e.Addresses = append(e.Addresses, h.Addr)
			}
			v.made.Endpoints[h.Name] = e
			if v.devices[h.Name] == 0 {
				g.next++
				v.devices[h.Name] = g.next
			}
			g.wires[key] = wired{ifindex: v.devices[h.Name], mac: webMAC, delivery: edgenetDeliveryDELIVER_PEER}
		}
		if h.Addr.IsValid() {
			at.Identity = compiled.Identities[h.Addr]
			v.made.Addresses[h.Addr] = at
		}
	}
	for prefix, identity := range compiled.Prefixes {
		v.made.Routes[prefix] = Location{Node: nodeB, Identity: identity}
	}
	if before != nil && g.pick(2) == 0 {
		v.made.Since, v.made.Changed = before, changed(before.Addresses, v.made.Addresses)
	}
}

func (g *game) state() State {
	s := State{
		Prefix: nodeA, VPCs: make(map[uint32]*VPC),
		Nodes: map[netip.Prefix]Node{nodeB: {Prefix: nodeB, Device: "lo", MTU: 1420}},
	}
	for vni, v := range g.vpcs {
		if v.made != nil {
			s.VPCs[vni] = v.made
		}
	}
	return s
}

// After any number of changes the tables say what those of a datapath do that was
// made for the last state alone.
func TestTablesOfManyChangesEqualFreshOnes(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("EDGENET_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	long := 5 * time.Second
	if s := os.Getenv("EDGENET_TABLES_FOR"); s != "" {
		var err error
		if long, err = time.ParseDuration(s); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("EDGENET_SEED=%d", seed)
	g := newGame(t, seed)
	steps := 0
	for end := time.Now().Add(long); time.Now().Before(end); {
		for range 1 + g.pick(30) {
			for range 1 + g.pick(3) {
				g.step()
			}
			steps++
			if err := g.become(g.state()); err != nil {
				t.Fatalf("step %d: %v", steps, err)
			}
		}
		if g.pick(4) == 0 { // the process is another one
			g.adopt()
			if err := g.become(g.state()); err != nil {
				t.Fatalf("step %d: %v", steps, err)
			}
		}
		g.compare()
	}
	t.Logf("%d steps", steps)
}

// countUsers wants each number of a rule to have a user for each table that names
// the rule, and for each of before that is not given up yet.
func (g *game) countUsers() {
	g.t.Helper()
	t := g.dp.tables
	want := make(map[uint32]int)
	count := func(numbers []uint32) {
		for _, number := range numbers {
			if number != 0 {
				want[number]++
			}
		}
	}
	for _, tables := range t.verdicts.tables {
		for id, n := range tables {
			count(n.numbers)
			for i, ref := range n.table.Rules {
				if rule := t.numbers.names[n.numbers[i]]; rule.ID != ref.ID || rule.Group != ref.Group {
					g.t.Errorf("policy %016x has the number of %v at the place of %v", uint64(id), rule, ref)
				}
			}
		}
	}
	for _, numbers := range t.released {
		count(numbers)
	}
	if !maps.Equal(want, t.numbers.users) {
		g.t.Errorf("numbers have users %v, want %v", t.numbers.users, want)
	}
}

// compare makes the tables anew, from nothing, and wants the same in them.
func (g *game) compare() {
	g.t.Helper()
	if err := errors.Join(g.dp.tables.grace.wait(), g.become(g.state())); err != nil {
		g.t.Fatal(err)
	}
	fresh := &bench{host: &host{space: g.space, prefix: nodeA, cfg: g.cfg}, wires: g.wires}
	fresh.open()
	defer fresh.close()
	err := fresh.become(g.state())
	if err != nil {
		g.t.Fatal(err)
	}
	g.countUsers()
	got, want := g.contents(), fresh.contents()
	if got == want {
		return
	}
	wanted := strings.Split(want, "\n")
	have := strings.Split(got, "\n")
	for _, line := range have {
		if !slices.Contains(wanted, line) {
			err = errors.Join(err, fmt.Errorf("too much: %s", line))
		}
	}
	for _, line := range wanted {
		if !slices.Contains(have, line) {
			err = errors.Join(err, fmt.Errorf("missing: %s", line))
		}
	}
	g.t.Fatalf("tables differ from fresh ones:\n%v", err)
}
