package isolation

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"edgenet.dev/edgenet/pkg/policy"
)

// arena is a random VPC, compiled and in force: web and db are here, the others
// on node b.
type arena struct {
	*bench
	*rand.Rand
	world policy.VPC
	hosts []policy.Host
	run   ebpf.RunOptions
	port  uint16
	seen  map[string]int
}

var arenaHosts = []string{
	"10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.20", "10.0.1.7",
	"fd00:7::2", "fd00:7::3", "fd00:7::4", "fd00:7::5", "fd00:7::20", "fd00:8::7",
}

// behindOthers are not attached themselves, but in prefixes that are.
var behindOthers = []string{"10.0.2.1", "10.0.2.130", "fd00:9::1", "fd00:9::8000:0:0:1"}

func oneOf[T any](r *rand.Rand, from ...T) T { return from[r.IntN(len(from))] }

// become makes another VPC of the seed.
func (a *arena) become(seed uint64) {
	a.t.Helper()
	a.Rand = rand.New(rand.NewPCG(seed, 20261123))
	a.world = policy.VPC{VNI: testVNI, Groups: a.groups()}
	a.hosts = a.hosts[:0]
	groups := func() (names []string) {
		for range a.IntN(4) {
			names = append(names, a.group())
		}
		return names
	}
	ofWeb, ofDB := groups(), groups()
	for _, addr := range arenaHosts {
		h := policy.Host{Addr: netip.MustParseAddr(addr), Groups: groups()}
		switch addr {
		case "10.0.0.2", "fd00:7::2":
			h.Groups = ofWeb
		case "10.0.0.3", "fd00:7::3":
			h.Groups = ofDB
		}
		a.hosts = append(a.hosts, h)
	}
	for _, prefix := range []string{"10.0.2.0/24", "fd00:9::/64"} {
		a.hosts = append(a.hosts, policy.Host{Prefix: netip.MustParsePrefix(prefix), Groups: groups()})
	}
	a.world.Hosts, a.world.Sets = a.hosts, [][]string{ofWeb, ofDB}
	compiled, err := policy.Compile(a.world)
	if err != nil {
		a.t.Fatal(err)
	}
	a.fill(compiled, ofWeb, ofDB)
}

func (a *arena) fill(c *policy.Compiled, ofWeb, ofDB []string) {
	a.t.Helper()
	a.state.Policies = c.Tables
	a.state.Addresses, a.state.Routes = map[Address]Location{}, map[Route]Location{}
	for name, groups := range map[string][]string{"web": ofWeb, "db": ofDB} {
		last := map[string]string{"web": "2", "db": "3"}[name]
		a.set(Key{testVNI, name}, func(e *Endpoint) {
			e.Addresses = []netip.Addr{netip.MustParseAddr("10.0.0." + last), netip.MustParseAddr("fd00:7::" + last)}
			e.Networks = []Network{{vpc, gateway}, {netip.MustParsePrefix("fd00:7::/64"), netip.MustParseAddr("fd00:7::1")}}
			e.Ingress, e.Egress = c.Policy(groups, policy.Ingress), c.Policy(groups, policy.Egress)
		})
		for _, addr := range a.state.Endpoints[Key{testVNI, name}].Addresses {
			a.state.Addresses[Address{testVNI, addr}] = Location{Endpoint: Key{testVNI, name}, Identity: c.Identities[addr]}
		}
	}
	for addr, identity := range c.Identities {
		if _, here := a.state.Addresses[Address{testVNI, addr}]; !here {
			a.state.Addresses[Address{testVNI, addr}] = Location{Node: nodeB, Identity: identity}
		}
	}
	for prefix, identity := range c.Prefixes {
		a.state.Routes[Route{testVNI, prefix}] = Location{Node: nodeB, Identity: identity}
	}
	a.refill()
}

func (a *arena) group() string { return fmt.Sprintf("g%d", a.IntN(5)) }

func (a *arena) groups() []policy.Group {
	var groups []policy.Group
	for i := range 4 { // one is named and does not exist
		g := policy.Group{Name: fmt.Sprintf("g%d", i)}
		for range a.IntN(7) {
			r, err := policy.ParseRule(a.rule())
			if err != nil {
				continue // ICMP for the other family's addresses
			}
			if !slices.ContainsFunc(g.Rules, func(o policy.Rule) bool { return o.ID() == r.ID() }) {
				r.Disabled = a.IntN(8) == 0
				g.Rules = append(g.Rules, r)
			}
		}
		groups = append(groups, g)
	}
	return groups
}

func (a *arena) rule() policy.RuleText {
	r := a.Rand
	text := policy.RuleText{
		Direction: oneOf(r, "ingress", "egress"), Action: oneOf(r, "allow", "allow", "deny"),
		Priority: oneOf(r, "", "", "0", "10", "65535"),
		Protocol: oneOf(r, "any", "tcp", "udp", "sctp", "icmp", "icmpv6"),
		Peer:     oneOf(r, "any", "group:"+a.group(), "0.0.0.0/0", "::/0", "10.0.0.0/24", "10.0.0.4/31", "10.0.2.128/25", "fd00:7::/64", "fd00:7::4/127", "fd00:9::8000:0:0:0/65"),
	}
	switch text.Protocol {
	case "tcp", "udp", "sctp":
		text.Ports = oneOf(r, nil, []string{"80"}, []string{"1-79"}, []string{"81-65535"}, []string{"80", "443-8080"})
	case "icmp", "icmpv6":
		text.ICMP = oneOf(r, "", "8", "128", "8/0", "8/1", "128/1", "3/1", "13")
	}
	switch text.Peer {
	case "0.0.0.0/0":
		text.Except = oneOf(r, nil, []string{"10.0.0.4/32"}, []string{"10.0.0.0/24", "10.0.2.0/25"})
	case "::/0":
		text.Except = oneOf(r, nil, []string{"fd00:7::4/128"})
	}
	return text
}

// probe is a random packet out of web, or from another node into web or db. Each
// is of a flow of its own.
func (a *arena) probe() Probe {
	end := func() netip.Addr {
		if a.IntN(8) == 0 {
			return netip.MustParseAddr(oneOf(a.Rand, behindOthers...))
		}
		return netip.MustParseAddr(oneOf(a.Rand, arenaHosts...))
	}
	p := Probe{VNI: testVNI, Protocol: oneOf[uint8](a.Rand, unix.IPPROTO_TCP, unix.IPPROTO_TCP, unix.IPPROTO_UDP, unix.IPPROTO_SCTP, unix.IPPROTO_ICMP, 47, 99)}
	p.Source = netip.MustParseAddr(oneOf(a.Rand, "10.0.0.2", "fd00:7::2"))
	for p.Destination = end(); p.Destination.Is4() != p.Source.Is4() || p.Destination == p.Source; {
		p.Destination = end()
	}
	if a.IntN(2) == 0 && a.here(p.Destination) == "" {
		p.Source, p.Destination, p.Node = p.Destination, p.Source, nodeB
		if a.IntN(2) == 0 {
			p.Destination = netip.MustParseAddr(oneOf(a.Rand, map[bool]string{true: "10.0.0.3", false: "fd00:7::3"}[p.Source.Is4()]))
		}
	}
	a.port++
	p.SourcePort = a.port
	p.DestinationPort = oneOf[uint16](a.Rand, 1, 79, 80, 81, 442, 443, 8080, 8081, 65535)
	if p.Protocol == unix.IPPROTO_ICMP {
		p.Type, p.Code = oneOf[uint8](a.Rand, 8, 128, 13, 3, 42), oneOf[uint8](a.Rand, 0, 1)
		if p.Source.Is6() {
			p.Protocol = unix.IPPROTO_ICMPV6
			p.Type = oneOf[uint8](a.Rand, 128, 8, 1, 13, 200)
		}
	}
	return p
}

// here is the endpoint of this host that has an address.
func (a *arena) here(addr netip.Addr) string {
	return a.state.Addresses[Address{testVNI, addr}].Endpoint.Name
}

func flowOf(p *Probe) policy.Flow {
	f := policy.Flow{Source: p.Source, Destination: p.Destination, Protocol: p.Protocol, Port: p.DestinationPort}
	switch p.Protocol {
	case unix.IPPROTO_TCP, unix.IPPROTO_UDP, unix.IPPROTO_SCTP:
	case unix.IPPROTO_ICMP, unix.IPPROTO_ICMPV6:
		f.Port = policy.ICMPPort(p.Type, p.Code)
	default:
		f.Port = 0
	}
	return f
}

// send runs the loaded program on a packet, made or real.
func (a *arena) send(p *Probe, mark uint32) uint32 {
	a.t.Helper()
	program := a.dp.fromEndpoint
	if p.Node.IsValid() {
		program, a.run.Data = a.dp.fromTunnel, p.overlay(nodeA)
	} else {
		a.run.Data = p.frame(webMAC)
	}
	a.run.Context = probeContext(mark, 0)
	verdict, err := program.Run(&a.run)
	if err != nil {
		a.t.Fatal(err)
	}
	return verdict
}

// decided is what the program says of a made packet: of its sender if that is
// here, and of its receiver.
func (a *arena) decided(p *Probe) [2]edgenetTraceSide {
	a.t.Helper()
	var raw edgenetTrace
	if err := a.dp.maps.Traces.Put(uint32(0), &raw); err != nil {
		a.t.Fatal(err)
	}
	if verdict := a.send(p, a.dp.tables.traceMark()); verdict != shot {
		a.t.Fatalf("verdict %d on a made packet", verdict)
	}
	if err := a.dp.maps.Traces.Lookup(uint32(0), &raw); err != nil {
		a.t.Fatal(err)
	}
	return raw.Sides
}

// agree wants one side's verdict to be the same by the simulator, by a reading of
// the rules that shares nothing with it, and by the program.
func (a *arena) agree(p *Probe, what string, side *edgenetTraceSide, simulated policy.Verdict, own, other netip.Addr, direction policy.Direction) {
	a.t.Helper()
	f := flowOf(p)
	meant := a.means(f, own, other, direction)
	allowed := side.By == edgenetTraceByTRACE_RULES && side.Rule&ruleDenied == 0
	if simulated.Allowed != meant || allowed != meant {
		a.t.Fatalf("%s of %v: the rules mean %v, the simulator says %v (%s), the program says %v (asked %+v)\n%+v", what, f, meant, simulated.Allowed, simulated.Why, allowed, side, a.world)
	}
	a.seen[fmt.Sprintf("%s %v", what, meant)]++
	rule, named := a.dp.RuleOf(side.Rule)
	if named != (simulated.Rule != policy.RuleRef{}) || (named && (rule.Group != simulated.Rule.Group || rule.ID != simulated.Rule.ID)) {
		a.t.Fatalf("%s of %v: the program names rule %v, the simulator %v\n%+v", what, f, rule, simulated.Rule, a.world)
	}
}

// means is what the rules mean, as short as it can be said.
func (a *arena) means(f policy.Flow, own, other netip.Addr, direction policy.Direction) bool {
	const none = 1 << 20
	best, allowed, allowing := none, false, false
	for _, g := range a.world.Groups {
		for _, r := range g.Rules {
			if r.Disabled || r.Direction != direction || !slices.Contains(a.groupsOf(own), g.Name) {
				continue
			}
			allowing = allowing || r.Action == policy.Allow
			rank := int(r.Priority.Number())*2 + 1 - int(r.Action)
			if rank < best && a.meansPeer(r.Peer, other) && meansPacket(r, f) {
				best, allowed = rank, r.Action == policy.Allow
			}
		}
	}
	return allowed || (best == none && direction == policy.Egress && !allowing)
}

func (a *arena) groupsOf(addr netip.Addr) []string {
	for _, h := range a.hosts {
		if h.Addr == addr || (h.Prefix.IsValid() && h.Prefix.Contains(addr)) {
			return h.Groups
		}
	}
	return nil
}

func (a *arena) meansPeer(p policy.Peer, other netip.Addr) bool {
	switch p.Kind {
	case policy.PeerGroup:
		exists := slices.ContainsFunc(a.world.Groups, func(g policy.Group) bool { return g.Name == p.Group })
		return exists && slices.Contains(a.groupsOf(other), p.Group)
	case policy.PeerCIDR:
		return p.CIDR.Contains(other) && !slices.ContainsFunc(p.Except, func(e netip.Prefix) bool { return e.Contains(other) })
	case policy.PeerAny:
	}
	return true
}

func meansPacket(r policy.Rule, f policy.Flow) bool {
	number := map[policy.Protocol]uint8{policy.ProtocolTCP: 6, policy.ProtocolUDP: 17, policy.ProtocolSCTP: 132, policy.ProtocolICMP: 1, policy.ProtocolICMPv6: 58}[r.Protocol]
	if r.Protocol != policy.ProtocolAny && number != f.Protocol {
		return false
	}
	if (r.ICMP.HasType && f.Port>>8 != uint16(r.ICMP.Type)) || (r.ICMP.HasCode && f.Port&255 != uint16(r.ICMP.Code)) {
		return false
	}
	return len(r.Ports) == 0 || slices.ContainsFunc(r.Ports, func(p policy.PortRange) bool { return p.First <= f.Port && f.Port <= p.Last })
}

// judge compares one made packet.
func (a *arena) judge() {
	a.t.Helper()
	p := a.probe()
	sides, told := a.decided(&p), a.world.Explain(flowOf(&p))
	if !p.Node.IsValid() {
		a.agree(&p, "egress", &sides[edgenetDirectionEGRESS], told.Egress, p.Source, p.Destination, policy.Egress)
		if !told.Egress.Allowed {
			return
		}
	}
	if a.here(p.Destination) != "" {
		a.agree(&p, "ingress", &sides[edgenetDirectionINGRESS], told.Ingress, p.Destination, p.Source, policy.Ingress)
	}
}

// converse sends a real packet with another node and its answer: the answer
// passes if the packet did, or else by the rules.
func (a *arena) converse() {
	a.t.Helper()
	p := a.probe()
	switch p.Protocol {
	case unix.IPPROTO_TCP, unix.IPPROTO_UDP, unix.IPPROTO_SCTP:
	default:
		return
	}
	remote, local := p.Destination, p.Source
	if p.Node.IsValid() {
		remote, local = local, remote
	}
	if a.here(remote) != "" || a.here(local) != "web" {
		return
	}
	direction := func(p *Probe) policy.Direction {
		if p.Node.IsValid() {
			return policy.Ingress
		}
		return policy.Egress
	}
	answer := p
	answer.Source, answer.Destination = p.Destination, p.Source
	answer.SourcePort, answer.DestinationPort = p.DestinationPort, p.SourcePort
	if answer.Node = nodeB; p.Node.IsValid() {
		answer.Node = netip.Prefix{}
	}
	want := a.means(flowOf(&p), local, remote, direction(&p))
	if got := a.send(&p, 0) == redirect; got != want {
		a.t.Fatalf("%v passes: %v, want %v\n%+v", flowOf(&p), got, want, a.world)
	}
	if p.Protocol == unix.IPPROTO_TCP {
		return // Its answer is a SYN too, which is a connection of its own.
	}
	want = want || a.means(flowOf(&answer), local, remote, direction(&answer))
	if got := a.send(&answer, 0) == redirect; got != want {
		a.t.Fatalf("the answer to %v passes: %v, want %v\n%+v", flowOf(&p), got, want, a.world)
	}
	a.seen[fmt.Sprintf("answers %v", want)]++
}

func newArena(t testing.TB) *arena {
	b := newBench(t)
	b.alone()
	b.close()
	b.cfg.MaxVerdicts = 4096
	b.open()
	return &arena{bench: b, seen: map[string]int{}}
}

// The simulator, a plain reading of the rules and the loaded program are of one
// mind about a million packets; about fewer where the race detector looks at the
// simulator, which has no goroutines, twenty times as slowly (make test-unit runs
// both).
func TestSimulatorRulesAndProgramAgree(t *testing.T) {
	worlds, packets := 250, 4000
	if testing.Short() || raced {
		worlds = 12
	}
	a := newArena(t)
	for seed := range worlds {
		a.become(uint64(seed))
		for range packets {
			a.judge()
		}
		for range packets / 20 {
			a.converse()
		}
	}
	for _, what := range []string{"egress true", "egress false", "ingress true", "ingress false", "answers true", "answers false"} {
		if n := a.seen[what]; n < worlds*packets/1000 {
			t.Errorf("%s: %d times only", what, n)
		}
	}
	t.Log(a.seen)
}

// The same for as long as one likes.
func FuzzSimulatorRulesAndProgramAgree(f *testing.F) {
	f.Add(uint64(1))
	a := newArena(f)
	f.Fuzz(func(t *testing.T, seed uint64) {
		a.t = t
		defer func() { a.t = f }()
		a.become(seed)
		for range 500 {
			a.judge()
			a.converse()
		}
	})
}
