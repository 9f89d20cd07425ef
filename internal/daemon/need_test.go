package daemon

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"edgenet.dev/edgenet/pkg/mesh"
)

// edges gives the world edge nodes of these ids, and this node the role edge.
func (w *world) edges(ids ...mesh.NodeID) {
	w.self.Roles = []mesh.Role{mesh.RoleEdge}
	for _, id := range ids {
		w.nodes[id] = mesh.Node{ID: id, Roles: []mesh.Role{mesh.RoleEdge}}
	}
}

func wantNeeded(t *testing.T, when string, got map[mesh.NodeID]bool, want ...mesh.NodeID) {
	t.Helper()
	if ids := slices.Sorted(maps.Keys(got)); !slices.Equal(ids, slices.Sorted(slices.Values(want))) {
		t.Errorf("%s: needed are %v, want %v", when, ids, want)
	}
}

func TestNodesNeedATunnelIfTheyShareAVPC(t *testing.T) {
	w := newWorld("blue", "green")
	w.edges(there, "third")
	w.settle()
	wantNeeded(t, "without endpoints", neededNodes(w.snapshot))
	w.attach(here, 1, "web", "10.0.0.5", 1)
	w.attach(there, 2, "web", "10.0.0.5", 2)
	w.settle()
	wantNeeded(t, "each in a VPC of its own", neededNodes(w.snapshot))
	w.attach(there, 1, "db", "10.0.0.6", 3)
	w.settle()
	wantNeeded(t, "with one in common", neededNodes(w.snapshot), there)
	w.attach("third", 1, "spare", "10.0.0.5", 4) // whose address this node's endpoint loses
	w.settle()
	wantNeeded(t, "when this node's has lost its address", neededNodes(w.snapshot))
}

// What is behind an endpoint is at its node, so that the node is needed for it.
func TestANodeThatServesAPrefixIsNeeded(t *testing.T) {
	w := newWorld("blue")
	w.edges(there)
	w.attach(here, 1, "web", "10.0.0.5", 1)
	w.attach(there, 1, "router", "10.0.0.6", 2).routed = []netip.Prefix{netip.MustParsePrefix("10.0.0.128/25")}
	w.settle()
	wantNeeded(t, "with a router there", neededNodes(w.snapshot), there)
}

func TestCentralNodesNeedAll(t *testing.T) {
	for _, role := range []mesh.Role{mesh.RoleCloud, mesh.RoleAuthority, mesh.RoleGateway, mesh.RoleRelay} {
		w := newWorld()
		w.edges(there, "third")
		w.nodes[there] = mesh.Node{ID: there, Roles: []mesh.Role{mesh.RoleEdge, role}}
		w.settle()
		wantNeeded(t, "from an edge", neededNodes(w.snapshot), there)
		w.self.Roles = []mesh.Role{role}
		wantNeeded(t, fmt.Sprintf("from a node of role %s", role), neededNodes(w.snapshot), there, "third")
	}
}

// A tunnel outlives its need by a while, and one that is needed again meanwhile
// stays as it was.
func TestATunnelStaysForAWhile(t *testing.T) {
	n := lately{}
	start := time.Unix(1_000_000, 0)
	at := func(after time.Duration, needed ...mesh.NodeID) map[mesh.NodeID]bool {
		set := map[mesh.NodeID]bool{}
		for _, id := range needed {
			set[id] = true
		}
		return n.note(start.Add(after), set)
	}
	wantNeeded(t, "at first", at(0, here, there), here, there)
	wantNeeded(t, "shortly before the end", at(tunnelGrace-time.Second, there), here, there)
	wantNeeded(t, "after it", at(tunnelGrace, there), there)
	wantNeeded(t, "needed again", at(tunnelGrace+time.Second, here), here, there)
	wantNeeded(t, "long after", at(3*tunnelGrace))
	if len(n) > 0 {
		t.Errorf("%v is kept of what is needed no more", n)
	}
}

// Only what is not needed is withheld; what there must not be for another reason
// keeps that.
func TestWithholdLeavesReasons(t *testing.T) {
	choices := map[mesh.NodeID]choice{here: {}, there: {}, "third": {err: errSilent}}
	withhold(choices, map[mesh.NodeID]bool{here: true})
	if choices[here].err != nil || !errors.Is(choices[there].err, errUnneeded) || !errors.Is(choices["third"].err, errSilent) {
		t.Errorf("got %v", choices)
	}
}

// A VPC whose endpoints are as they were is not looked at again.
func BenchmarkNeeds(b *testing.B) {
	s := crowd(b, 1000)
	for i := range 1000 {
		id := mesh.NodeID(fmt.Sprintf("%040d", i))
		s.nodes[id] = mesh.Node{ID: id}
	}
	for i, e := range s.claims {
		if e.node == there {
			e.node = mesh.NodeID(fmt.Sprintf("%040d", i%1000))
		}
	}
	for name, anew := range map[string]bool{"start": true, "unchanged": false} {
		b.Run(name, func(b *testing.B) {
			s.settle()
			for b.Loop() {
				if anew {
					for _, v := range s.byVNI {
						v.look = sync.Once{}
					}
				}
				neededNodes(s.snapshot)
			}
		})
	}
}
