package daemon

import (
	"fmt"
	"net/netip"
	"testing"

	"edgenet.dev/edgenet/pkg/mesh"
	"edgenet.dev/edgenet/pkg/policy"
)

// crowd is a mesh of 10,000 endpoints in VPCs of 500, with as many of them on this node.
func crowd(b *testing.B, local int) *world {
	b.Helper()
	const all = 10_000
	names := make([]string, (all+499)/500)
	for i := range names {
		names[i] = fmt.Sprintf("vpc-%d", i)
	}
	s := newWorld(names...)
	rule, err := policy.ParseRule(policy.RuleText{Direction: "ingress", Protocol: "tcp", Ports: []string{"80,443,8000-8100"}, Peer: "group:web"})
	if err != nil {
		b.Fatal(err)
	}
	for _, v := range s.vpcs {
		v.prefixes = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/16")}
		for _, g := range []string{"web", "db"} {
			v.groups[g] = &group{name: g, rules: []policy.Rule{rule}}
		}
	}
	for i := range all {
		node := there
		if i%(all/local) == 0 {
			node = here
		}
		e := s.attach(node, uint32(i/500+1), fmt.Sprintf("endpoint-%d", i), fmt.Sprintf("10.0.%d.%d", 1+i%500/200, 2+i%500%200), uint64(i+1))
		e.record.Groups = []string{[]string{"web", "db"}[i%2]}
	}
	return s
}

// What a round of attaches costs before the kernel is asked: 1,000 endpoints
// here, 10,000 known.
func BenchmarkSettle(b *testing.B) {
	s := crowd(b, 1000)
	for b.Loop() {
		s.settle()
	}
}

func BenchmarkDerive(b *testing.B) {
	s := crowd(b, 1000)
	s.settle()
	reaches := map[mesh.NodeID]reach{there: {device: "tun", mtu: 1420}}
	for name, fresh := range map[string]bool{"start": true, "attach": false} {
		b.Run(name, func(b *testing.B) {
			var d derived
			for b.Loop() {
				if fresh {
					d = nil
				}
				delete(d, 1) // The VPC that the attach is in.
				if _, problems := d.derive(s.snapshot, []string{"tun"}, reaches); len(problems) > 0 {
					b.Fatal(problems)
				}
			}
		})
	}
}
