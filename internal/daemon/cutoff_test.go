package daemon

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"edgenet.dev/edgenet/internal/records"
	"edgenet.dev/edgenet/pkg/mesh"
	"edgenet.dev/edgenet/pkg/tunnel"
)

// armed is a node that has announced drivers.
func armed(t testing.TB, name string, roles []mesh.Role, drivers ...string) mesh.Node {
	t.Helper()
	a := &records.Announcement{}
	for _, d := range drivers {
		if strings.HasPrefix(d, "wireguard") {
			a.Wireguard = &records.WireGuard{PublicKey: make([]byte, 32), Port: 1, Driver: d}
		} else {
			a.Ipsec = &records.IPsec{Port: 1, Driver: d}
		}
	}
	payload, err := proto.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	return mesh.Node{ID: mesh.NodeID(name), Name: name, Roles: roles, State: mesh.StateAlive, Announcement: payload}
}

func randomPolicy(t *testing.T, r *rand.Rand) tunnel.Policy {
	t.Helper()
	var rules []tunnel.Rule
	texts := []string{"any", "cloud-edge", "edge-edge", "cloud-cloud", "edge-relay", "node:n0,node:n1", "node:n1,node:n2"}
	for _, i := range r.Perm(len(texts))[:r.IntN(4)] {
		rule, err := records.ParseTunnelRule(texts[i], []string{"wireguard", "ipsec"}[r.IntN(2)])
		if err != nil {
			t.Fatal(err)
		}
		rules = append(rules, rule)
	}
	p, err := tunnel.NewPolicy(rules)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// What is found by kinds of nodes is what looking at every pair finds.
func TestEveryPairThatIsCutOffIsCounted(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	roles := []mesh.Role{mesh.RoleCloud, mesh.RoleEdge, mesh.RoleRelay}
	drivers := []string{tunnel.WireGuardKernel, tunnel.WireGuardUserspace, tunnel.IPsecKernel, tunnel.IPsecUserspace}
	cutSome := 0
	for range 300 {
		nodes := make([]mesh.Node, 0, 12)
		for i := range 12 {
			n := armed(t, fmt.Sprintf("n%d", i), []mesh.Role{roles[r.IntN(3)], roles[r.IntN(3)]}, drivers[r.IntN(4)], drivers[r.IntN(4)])
			if r.IntN(12) == 0 {
				n.State = mesh.StateLeft
			}
			if r.IntN(12) == 0 {
				n.Announcement = nil
			}
			nodes = append(nodes, n)
		}
		now, next := randomPolicy(t, r), randomPolicy(t, r)
		want := 0
		for i, a := range nodes {
			before, after := chooseAll(endOrNone(a), nodes[i+1:], now), chooseAll(endOrNone(a), nodes[i+1:], next)
			for id, c := range before {
				if a.State != mesh.StateLeft && c.err == nil && after[id].err != nil {
					want++
				}
			}
		}
		got := cutOff(nodes, now, next)
		if got.pairs != want || (got.why != nil) != (want > 0) {
			t.Fatalf("%v to %v: %d pairs are cut off, want %d", now.Rules(), next.Rules(), got.pairs, want)
		}
		if want > 0 {
			cutSome++
		}
	}
	if cutSome < 50 {
		t.Errorf("only %d changes cut anything", cutSome)
	}
}

func endOrNone(n mesh.Node) tunnel.End {
	e, _, _ := endOf(n)
	return e
}

// A mesh of thousands of nodes of a few kinds is looked at in no time.
func BenchmarkCutOff(b *testing.B) {
	nodes := make([]mesh.Node, 0, 5000)
	for i := range 5000 {
		nodes = append(nodes, armed(b, fmt.Sprintf("n%d", i), []mesh.Role{mesh.RoleEdge}, tunnel.WireGuardUserspace))
	}
	rule, err := records.ParseTunnelRule("any", "ipsec")
	if err != nil {
		b.Fatal(err)
	}
	next, err := tunnel.NewPolicy([]tunnel.Rule{rule})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if got := cutOff(nodes, tunnel.Policy{}, next); got.pairs != 5000*4999/2 {
			b.Fatal(got)
		}
	}
}
