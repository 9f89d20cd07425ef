package policy

import (
	"fmt"
	"net/netip"
	"runtime"
	"testing"
)

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
