package policy

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"strings"
	"testing"
)

// naive is the meaning of a VPC in as few words as possible: no order, no
// rule's name, text compared with text.
func naive(v VPC, f Flow) bool {
	groupsOf := map[netip.Addr][]string{}
	for _, h := range v.Hosts {
		groupsOf[h.Addr] = append([]string{""}, h.Groups...)
	}
	in := func(list []string, name string) bool {
		return strings.Contains(","+strings.Join(list, ",")+",", ","+name+",")
	}
	number := map[Protocol]uint8{ProtocolTCP: 6, ProtocolUDP: 17, ProtocolICMP: 1, ProtocolICMPv6: 58, ProtocolSCTP: 132}
	side := func(own, other netip.Addr, dir Direction) bool {
		asked, permitted := false, false
		for _, g := range v.Groups {
			for _, r := range g.Rules {
				if r.Direction != dir || !in(groupsOf[own], g.Name) {
					continue
				}
				asked = true
				port := naivePort(r, f.Port)
				peer := r.Peer.Kind == PeerAny || r.Peer.Kind == PeerCIDR && r.Peer.CIDR.Contains(other)
				for _, named := range v.Groups {
					peer = peer || r.Peer.Kind == PeerGroup && named.Name == r.Peer.Group && in(groupsOf[other], named.Name)
				}
				permitted = permitted || peer && port && (r.Protocol == ProtocolAny || number[r.Protocol] == f.Protocol)
			}
		}
		return permitted || dir == Egress && !asked
	}
	return groupsOf[f.Source] != nil && groupsOf[f.Destination] != nil &&
		side(f.Source, f.Destination, Egress) && side(f.Destination, f.Source, Ingress)
}

func naivePort(r Rule, port uint16) bool {
	found := len(r.Ports) == 0
	for _, p := range r.Ports {
		found = found || p.First <= port && port <= p.Last
	}
	return found
}

// world makes random VPCs in which rules, hosts and flows meet often.
type world struct{ *rand.Rand }

func (w world) group() string { return fmt.Sprintf("g%d", w.IntN(6)) }

func (w world) addr() netip.Addr {
	return netip.AddrFrom4([4]byte{10, 0, byte(w.IntN(3)), byte(w.IntN(8))})
}

func (w world) port() uint16 {
	edges := []uint16{0, 1, 2, 79, 80, 81, 443, math.MaxUint16 - 1, math.MaxUint16}
	return edges[w.IntN(len(edges))]
}

func (w world) peer() Peer {
	switch w.IntN(3) {
	case 0:
		return Peer{Kind: PeerAny}
	case 1:
		return Peer{Kind: PeerGroup, Group: w.group()}
	default:
		bits := []int{0, 8, 22, 23, 24, 29, 30, 31, 32}
		return Peer{Kind: PeerCIDR, CIDR: netip.PrefixFrom(w.addr(), bits[w.IntN(len(bits))]).Masked()}
	}
}

func (w world) rule() Rule {
	r := Rule{
		Direction: []Direction{Ingress, Ingress, Egress}[w.IntN(3)],
		Protocol:  Protocol(w.IntN(4)),
		Peer:      w.peer(),
	}
	if r.Protocol == ProtocolTCP || r.Protocol == ProtocolUDP {
		for range w.IntN(4) {
			first, last := max(1, w.port()), max(1, w.port())
			r.Ports = append(r.Ports, PortRange{First: min(first, last), Last: max(first, last)})
		}
		r.Ports = mergePorts(r.Ports)
	}
	return r
}

func (w world) vpc() VPC {
	v := VPC{VNI: uint32(1 + w.IntN(maxVNI))}
	for i := range 6 {
		if w.IntN(5) == 0 {
			continue // rules and hosts may still name it
		}
		g, seen := Group{Name: fmt.Sprintf("g%d", i)}, map[string]bool{}
		for range w.IntN(7) {
			if r := w.rule(); !seen[r.ID()] {
				seen[r.ID()] = true
				g.Rules = append(g.Rules, r)
			}
		}
		v.Groups = append(v.Groups, g)
	}
	w.Shuffle(len(v.Groups), func(i, j int) { v.Groups[i], v.Groups[j] = v.Groups[j], v.Groups[i] })
	seen := map[netip.Addr]bool{}
	for range 12 {
		h := Host{Addr: w.addr()}
		if seen[h.Addr] {
			continue
		}
		seen[h.Addr] = true
		for range w.IntN(4) {
			h.Groups = append(h.Groups, w.group())
		}
		v.Hosts = append(v.Hosts, h)
	}
	v.Sets = setsOf(v.Hosts)
	return v
}

func (w world) flow(v VPC) Flow {
	pick := func() netip.Addr {
		if w.IntN(20) == 0 {
			return w.addr()
		}
		return v.Hosts[w.IntN(len(v.Hosts))].Addr
	}
	protocols := []uint8{protoTCP, protoTCP, protoUDP, protoICMP, 0, 47, 132}
	return Flow{Source: pick(), Destination: pick(), Protocol: protocols[w.IntN(len(protocols))], Port: w.port()}
}

// What the tables say, what the simulator says and what the rules mean are the
// same, and tables and simulator name the same rule.
func TestCompilerSimulatorAndMeaningAgree(t *testing.T) {
	const worlds, flows = 1000, 250 // 250,000 flows
	w := world{rand.New(rand.NewPCG(20, 26))}
	allowed := 0
	for range worlds {
		v := w.vpc()
		c := compile(t, v)
		for range flows {
			f := w.flow(v)
			want := naive(v, f)
			e := v.Explain(f)
			egress, ingress := lookup(v, c, f)
			if e.Allowed != want || (egress.Allowed && ingress.Allowed) != want {
				t.Fatalf("%s: rules mean %v, simulator says %s, tables say %v and %v\n%+v", f, want, e, egress, ingress, v)
			}
			if egress.Rule != e.Egress.Rule || ingress.Rule != e.Ingress.Rule {
				t.Fatalf("%s: simulator names %v and %v, tables %v and %v\n%+v",
					f, e.Egress.Rule, e.Ingress.Rule, egress.Rule, ingress.Rule, v)
			}
			if want {
				allowed++
			}
		}
	}
	if share := float64(allowed) / (worlds * flows); share < 0.1 || share > 0.9 {
		t.Errorf("%.2f of the flows are allowed: the test tries too little of one side", share)
	}
}

// Every table is what table.go promises.
func TestTablesAreWellFormed(t *testing.T) {
	w := world{rand.New(rand.NewPCG(3, 4))}
	for range 300 {
		v := w.vpc()
		c := compile(t, v)
		if len(c.Identities) != len(v.Hosts) {
			t.Fatalf("%d identities for %d hosts", len(c.Identities), len(v.Hosts))
		}
		for id, table := range c.Tables {
			checkTable(t, id, table)
		}
	}
}

func checkTable(t *testing.T, id ID, table *Table) {
	t.Helper()
	used := make([]bool, len(table.Rules))
	for match, intervals := range table.Verdicts {
		if id == 0 || match.Identity == 0 || len(intervals) == 0 {
			t.Fatalf("table %x has %d intervals for %+v", id, len(intervals), match)
		}
		for i, interval := range intervals {
			used[interval.Rule] = true
			if interval.First > interval.Last || i > 0 && interval.First <= intervals[i-1].Last {
				t.Fatalf("intervals of %+v are not sorted and disjoint: %v", match, intervals)
			}
			if i > 0 && intervals[i-1].Rule == interval.Rule && intervals[i-1].Last+1 == interval.First {
				t.Fatalf("intervals of %+v are not merged: %v", match, intervals)
			}
		}
	}
	for i, u := range used {
		if !u {
			t.Fatalf("table %x has rule %v and no interval that names it", id, table.Rules[i])
		}
	}
}

// large is a VPC of n rules over hosts of a /16, each in one of 100 groups.
func large(rules, hosts int) VPC {
	v := VPC{VNI: 1}
	for i := range 100 {
		v.Groups = append(v.Groups, Group{Name: fmt.Sprintf("g%d", i)})
	}
	for i := range rules {
		peer := Peer{Kind: PeerCIDR, CIDR: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 0}), 24+i%9).Masked()}
		if i%5 == 0 {
			peer = Peer{Kind: PeerGroup, Group: fmt.Sprintf("g%d", i/5%100)}
		}
		port := uint16(1 + i)
		g := &v.Groups[i%10]
		g.Rules = append(g.Rules, Rule{Direction: Ingress, Protocol: ProtocolTCP, Ports: []PortRange{{port, port}}, Peer: peer})
	}
	for i := range hosts {
		addr := netip.AddrFrom4([4]byte{10, byte(i >> 10), byte(i >> 2), byte(i & 3)})
		v.Hosts = append(v.Hosts, Host{Addr: addr, Groups: []string{fmt.Sprintf("g%d", i%100)}})
	}
	for i := range 100 {
		v.Sets = append(v.Sets, []string{fmt.Sprintf("g%d", i), fmt.Sprintf("g%d", i*7%10)})
	}
	return v
}

// Ten times as much of everything is not much more than ten times the memory.
// Memory stands for time, which no test can rely on.
func TestCostIsNearLinear(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles 10,000 rules and 100,000 hosts")
	}
	small, big := large(1_000, 10_000), large(10_000, 100_000)
	one, ten := allocated(func() { compile(t, small) }), allocated(func() { compile(t, big) })
	if ratio := float64(ten) / float64(one); ratio > 25 {
		t.Errorf("ten times the rules and hosts cost %.1f times the memory (%d and %d bytes)", ratio, one, ten)
	}
}

func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func BenchmarkCompile(b *testing.B) {
	for _, size := range []struct{ rules, hosts int }{{10, 1_000}, {1_000, 10_000}, {10_000, 100_000}} {
		b.Run(fmt.Sprintf("rules=%d/hosts=%d", size.rules, size.hosts), func(b *testing.B) {
			v := large(size.rules, size.hosts)
			for b.Loop() {
				compile(b, v)
			}
		})
	}
}
