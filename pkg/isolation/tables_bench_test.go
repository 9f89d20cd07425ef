package isolation

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"edgenet.dev/edgenet/pkg/policy"
)

// site is a host of a large VPC without devices: its tables are real, and so is
// what fills them.
type site struct {
	*bench
	vpc      policy.VPC
	compiler policy.Compiler
	compiled *policy.Compiled
	made     *VPC
	local    int
}

// newSite has a VPC of 1,000 groups with 10 rules each and the given number of
// addresses, of which the first are endpoints of this host.
func newSite(t testing.TB, addresses, local int) *site {
	t.Helper()
	s := &site{bench: &bench{host: &host{space: newSpace(t), prefix: nodeA}, wires: map[Key]wired{}}, local: local}
	s.cfg = Config{MeshPrefix: testMesh, NodePrefix: nodeA}
	s.open()
	t.Cleanup(s.close)
	s.vpc = policy.VPC{VNI: testVNI, CIDRs: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}
	name := func(i int) string { return fmt.Sprintf("group-%d", i%policy.MaxGroups) }
	for i := range policy.MaxGroups {
		g := policy.Group{Name: name(i)}
		for n := range policy.MaxRules / policy.MaxGroups {
			r := policy.Rule{
				Direction: []policy.Direction{policy.Ingress, policy.Ingress, policy.Ingress, policy.Egress}[n%4],
				Protocol:  policy.ProtocolTCP,
				Ports:     []policy.PortRange{{First: uint16(1 + 100*n), Last: uint16(50 + 100*n + i)}},
				Peer:      policy.Peer{Kind: policy.PeerGroup, Group: name(i + 7*n)},
			}
			switch n % 5 {
			case 1:
				cidr := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 3), byte(i<<5 + n), 0}), 24+n).Masked()
				r.Peer = policy.Peer{Kind: policy.PeerCIDR, CIDR: cidr}
			case 3:
				r.Action, r.Peer = policy.Deny, policy.Peer{Kind: policy.PeerAny}
			}
			g.Rules = append(g.Rules, r)
		}
		s.vpc.Groups = append(s.vpc.Groups, g)
	}
	for i := range addresses {
		s.vpc.Hosts = append(s.vpc.Hosts, policy.Host{Addr: addressAt(i), Groups: []string{name(i)}})
		if i < local {
			s.vpc.Sets = append(s.vpc.Sets, s.vpc.Hosts[i].Groups)
		}
	}
	return s
}

func addressAt(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, byte(i >> 10), byte(i >> 2), byte(i & 3)})
}

// compile derives what shall be of the VPC, as a daemon does.
func (s *site) compile() State {
	s.t.Helper()
	var err error
	if s.compiled, err = s.compiler.Compile(s.vpc); err != nil {
		s.t.Fatal(err)
	}
	s.made = &VPC{
		Policies: s.compiled.Tables, Endpoints: make(map[string]Endpoint),
		Addresses: make(map[netip.Addr]Location, len(s.vpc.Hosts)),
	}
	for i, h := range s.vpc.Hosts {
		l := Location{Node: nodeB, Identity: s.compiled.Identities[h.Addr]}
		if i < s.local {
			key := Key{testVNI, fmt.Sprint("e", i)}
			l = Location{Endpoint: key, Identity: l.Identity}
			s.made.Endpoints[key.Name] = Endpoint{
				Key: key, Addresses: []netip.Addr{h.Addr}, Networks: []Network{{s.vpc.CIDRs[0], netip.MustParseAddr("10.255.0.1")}},
				Ingress: s.compiled.Policy(h.Groups, policy.Ingress), Egress: s.compiled.Policy(h.Groups, policy.Egress),
			}
			s.wires[key] = wired{ifindex: uint32(1000 + i), mac: webMAC, delivery: edgenetDeliveryDELIVER_PEER}
		}
		s.made.Addresses[h.Addr] = l
	}
	return s.state1()
}

func (s *site) state1() State {
	return State{
		Prefix: nodeA, VPCs: map[uint32]*VPC{testVNI: s.made},
		Nodes: map[netip.Prefix]Node{nodeB: {Prefix: nodeB, Device: "lo", MTU: 1420}},
	}
}

// changeRule makes another port of one rule.
func (s *site) changeRule(i int) {
	s.vpc.Groups = slices.Clone(s.vpc.Groups)
	g := &s.vpc.Groups[i%s.local]
	g.Rules = slices.Clone(g.Rules)
	g.Rules[0].Ports = []policy.PortRange{{First: uint16(i%60000 + 1), Last: uint16(i%60000 + 1)}}
}

// sizes are addresses of a VPC with 10,000 rules, and endpoints here.
var sizes = [][2]int{{5_000, 100}, {5_000, 1_000}, {100_000, 100}}

// BenchmarkLoad puts 10,000 rules in force on a host that has none.
func BenchmarkLoad(b *testing.B) {
	for _, size := range sizes {
		b.Run(fmt.Sprintf("addresses=%d/endpoints=%d", size[0], size[1]), func(b *testing.B) {
			s := newSite(b, size[0], size[1])
			want := s.compile()
			var busy time.Duration
			for b.Loop() {
				b.StopTimer()
				if s.dp.tables.verdicts.rows.count > 0 {
					s.close()
					s.space = newSpace(b)
					s.open()
				}
				start := cpuTime()
				b.StartTimer()
				if err := s.become(want); err != nil {
					b.Fatal(err)
				}
				busy += cpuTime() - start
			}
			b.ReportMetric(float64(busy.Microseconds())/float64(b.N), "cpu-us")
			b.ReportMetric(float64(s.dp.tables.verdicts.rows.count), "rows")
			b.ReportMetric(float64(len(s.dp.tables.verdicts.store.users)), "spans")
		})
	}
}

// BenchmarkChangeOfOneRule changes one rule of 10,000.
func BenchmarkChangeOfOneRule(b *testing.B) {
	for _, size := range sizes {
		b.Run(fmt.Sprintf("addresses=%d/endpoints=%d", size[0], size[1]), func(b *testing.B) {
			s := newSite(b, size[0], size[1])
			if err := s.become(s.compile()); err != nil {
				b.Fatal(err)
			}
			var times []time.Duration
			var busy time.Duration
			for i := 1; b.Loop(); i++ {
				b.StopTimer()
				before := s.made
				s.changeRule(i)
				want := s.compile()
				s.made.Since, s.made.Changed = before, changed(before.Addresses, s.made.Addresses)
				if err := s.dp.tables.grace.wait(); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
				start, cpu := time.Now(), cpuTime()
				if err := s.become(want); err != nil {
					b.Fatal(err)
				}
				times, busy = append(times, time.Since(start)), busy+cpuTime()-cpu
			}
			b.ReportMetric(float64(busy.Microseconds())/float64(b.N), "cpu-us")
			report(b, times)
		})
	}
}

// cpuTime is what this process has had of the CPUs, which others share.
func cpuTime() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func changed(before, now map[netip.Addr]Location) []netip.Addr {
	var keys []netip.Addr
	for addr, l := range now {
		if before[addr] != l {
			keys = append(keys, addr)
		}
	}
	for addr := range before {
		if _, ok := now[addr]; !ok {
			keys = append(keys, addr)
		}
	}
	return keys
}

func report(b *testing.B, times []time.Duration) {
	slices.Sort(times)
	b.ReportMetric(float64(times[len(times)/2].Microseconds()), "p50-us")
	b.ReportMetric(float64(times[len(times)*99/100].Microseconds()), "p99-us")
}
