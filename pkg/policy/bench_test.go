package policy

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"syscall"
	"testing"
	"time"
)

// bounds is a VPC as large as they come: 1,000 groups of 10 rules, by group and
// by CIDR mixed, of which a host has the given number of endpoints.
func bounds(hosts int) VPC {
	v := VPC{VNI: 1, CIDRs: []netip.Prefix{prefix("10.0.0.0/8")}}
	name := func(i int) string { return fmt.Sprintf("group-%d", i%MaxGroups) }
	for i := range MaxGroups {
		g := Group{Name: name(i)}
		for n := range MaxRules / MaxGroups {
			peer := Peer{Kind: PeerGroup, Group: name(i + 7*n)}
			switch n % 5 {
			case 1:
				peer = Peer{Kind: PeerCIDR, CIDR: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 3), byte(i<<5 + n), 0}), 24+n).Masked()}
			case 3:
				peer = Peer{Kind: PeerAny}
			}
			g.Rules = append(g.Rules, Rule{
				Direction: []Direction{Ingress, Ingress, Ingress, Egress}[n%4],
				Action:    []Action{Allow, Allow, Deny}[n%3],
				Protocol:  []Protocol{ProtocolTCP, ProtocolTCP, ProtocolUDP}[(i+n)%3],
				Ports:     []PortRange{{uint16(1 + 100*n), uint16(50 + 100*n + i)}},
				Peer:      peer,
			})
		}
		v.Groups = append(v.Groups, g)
	}
	for i := range hosts {
		addr := netip.AddrFrom4([4]byte{10, byte(i >> 10), byte(i >> 2), byte(i & 3)})
		v.Hosts = append(v.Hosts, Host{Addr: addr, Groups: []string{name(i)}})
	}
	v.Sets = setsOf(v.Hosts[:min(hosts, MaxGroups)])
	return v
}

// processorTime reports what an iteration costs in processor time, garbage
// collection too: unlike the time that passes it says something on a machine
// that does other things as well.
func processorTime(b *testing.B) {
	used := func() time.Duration {
		var usage syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
			b.Fatal(err)
		}
		return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
	}
	before := used()
	b.Cleanup(func() {
		b.ReportMetric(float64(used()-before)/float64(time.Millisecond)/float64(b.N), "cpu-ms/op")
	})
}

func BenchmarkFirstCompile(b *testing.B) {
	for _, hosts := range []int{1_000, 5_000, 100_000} {
		b.Run(fmt.Sprintf("rules=10000/groups=1000/hosts=%d", hosts), func(b *testing.B) {
			v := bounds(hosts)
			rows := 0
			for _, table := range compile(b, v).Tables {
				rows += len(table.Verdicts)
			}
			processorTime(b)
			for b.Loop() {
				compile(b, v)
			}
			b.ReportMetric(float64(rows), "rows")
		})
	}
}

// Of 10,000 rules one is replaced by another, in one of 1,000 groups.
func BenchmarkChangeOfOneRule(b *testing.B) {
	changes := map[string]func(r *Rule, i int){
		"ports": func(r *Rule, i int) { r.Ports = []PortRange{{uint16(i%100 + 1), uint16(i%100 + 1)}} },
		"group": func(r *Rule, i int) { r.Peer = Peer{Kind: PeerGroup, Group: fmt.Sprintf("group-%d", i%MaxGroups)} },
		"cidr": func(r *Rule, i int) {
			r.Peer = Peer{Kind: PeerCIDR, CIDR: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(i), 0}), 23).Masked()}
		},
	}
	for _, hosts := range []int{1_000, 5_000, 100_000} {
		for what, change := range changes {
			b.Run(fmt.Sprintf("hosts=%d/%s", hosts, what), func(b *testing.B) {
				v := bounds(hosts)
				var c Compiler
				if _, err := c.Compile(v); err != nil {
					b.Fatal(err)
				}
				processorTime(b)
				for i := 0; b.Loop(); i++ {
					v.Groups = slices.Clone(v.Groups)
					g := &v.Groups[i*31%MaxGroups]
					g.Rules = slices.Clone(g.Rules)
					change(&g.Rules[i%2*5], i)
					if _, err := c.Compile(v); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// One host of many comes.
func BenchmarkAttach(b *testing.B) {
	for _, hosts := range []int{1_000, 5_000, 100_000} {
		b.Run(fmt.Sprintf("hosts=%d", hosts), func(b *testing.B) {
			v := bounds(hosts)
			var c Compiler
			if _, err := c.Compile(v); err != nil {
				b.Fatal(err)
			}
			processorTime(b)
			for i := 0; b.Loop(); i++ {
				addr := netip.AddrFrom4([4]byte{10, 200, byte(i >> 8), byte(i)})
				v.Hosts = append(slices.Clone(v.Hosts[:hosts]), Host{Addr: addr, Groups: []string{fmt.Sprintf("group-%d", i%MaxGroups)}})
				if _, err := c.Compile(v); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// A group of 10,000 rules, of which one is replaced.
func BenchmarkChangeInALargeGroup(b *testing.B) {
	v := VPC{VNI: 1, Hosts: bounds(5_000).Hosts, Groups: []Group{{Name: "all"}}, Sets: [][]string{{"all"}}}
	for i := range MaxRules {
		v.Groups[0].Rules = append(v.Groups[0].Rules, Rule{
			Direction: Ingress, Protocol: ProtocolTCP, Ports: []PortRange{{uint16(1 + i), uint16(1 + i)}},
			Peer: Peer{Kind: PeerCIDR, CIDR: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 10), byte(i >> 2), byte(i & 3)}), 32)},
		})
	}
	var c Compiler
	if _, err := c.Compile(v); err != nil {
		b.Fatal(err)
	}
	processorTime(b)
	for i := 0; b.Loop(); i++ {
		rules := slices.Clone(v.Groups[0].Rules)
		port := uint16(20_000 + i%20_000)
		rules[i%len(rules)].Ports = []PortRange{{port, port}}
		v.Groups = []Group{{Name: "all", Rules: rules}}
		if _, err := c.Compile(v); err != nil {
			b.Fatal(err)
		}
	}
}

// All of 10,000 rules, in 30 groups that each of two endpoints carries, and one
// that comes and goes. It names an address that no other does.
func BenchmarkChangeOfWhatAllCarry(b *testing.B) {
	const hosts, groups = 1_000, 30
	random := rand.New(rand.NewPCG(1, 1))
	own := netip.MustParseAddr("10.0.0.2")
	remote := []netip.Addr{own.Next()}
	for len(remote) < hosts {
		remote = append(remote, remote[len(remote)-1].Next())
	}
	v := VPC{VNI: 1, CIDRs: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/14")}, Groups: make([]Group, groups), Sets: make([][]string, 1)}
	for i := range groups {
		v.Groups[i].Name = fmt.Sprint("g", i)
		v.Sets[0] = append(v.Sets[0], v.Groups[i].Name)
	}
	v.Hosts = []Host{{Addr: own, Groups: v.Sets[0]}}
	for i, addr := range remote {
		v.Hosts = append(v.Hosts, Host{Addr: addr, Groups: []string{fmt.Sprint("g", i%20)}})
	}
	seen := map[string]bool{}
	for i := 0; len(seen) < MaxRules-1; i++ {
		port := uint16(1 + random.IntN(29_000))
		r := Rule{
			Direction: directions[i%2], Protocol: ProtocolTCP, Ports: []PortRange{{port, port}},
			Peer: Peer{Kind: PeerCIDR, CIDR: netip.PrefixFrom(remote[random.IntN(hosts)], 27+random.IntN(6)).Masked()},
		}
		if i%20 == 0 {
			r.Peer = Peer{Kind: PeerGroup, Group: fmt.Sprint("g", random.IntN(20))}
		}
		if seen[r.String()] {
			continue
		}
		seen[r.String()] = true
		v.Groups[i/2%groups].Rules = append(v.Groups[i/2%groups].Rules, r)
	}
	var c Compiler
	if _, err := c.Compile(v); err != nil {
		b.Fatal(err)
	}
	extra := Rule{
		Direction: Ingress, Protocol: ProtocolTCP, Ports: []PortRange{{40_000, 40_000}},
		Peer: Peer{Kind: PeerCIDR, CIDR: netip.PrefixFrom(remote[hosts/2], 32)},
	}
	without := v.Groups[groups-1].Rules
	processorTime(b)
	for i := 0; b.Loop(); i++ {
		v.Groups = slices.Clone(v.Groups)
		v.Groups[groups-1].Rules = without
		if i%2 == 0 {
			v.Groups[groups-1].Rules = append(slices.Clone(without), extra)
		}
		if _, err := c.Compile(v); err != nil {
			b.Fatal(err)
		}
	}
}
