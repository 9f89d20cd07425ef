package daemon

import (
	"errors"
	"maps"
	"net/netip"
	"slices"
	"time"

	"edgenet.dev/edgenet/pkg/mesh"
)

// tunnelGrace is how long a tunnel stays that is needed no more: an endpoint that
// moves, or is attached anew, finds it there.
const tunnelGrace = time.Minute

// errUnneeded says that there is nothing to carry between this node and another.
var errUnneeded = errors.New("no VPC in common")

// central are the roles whose nodes have a tunnel to every other one.
var central = []mesh.Role{mesh.RoleCloud, mesh.RoleAuthority, mesh.RoleGateway, mesh.RoleRelay}

// isCentral tells whether a node has such a role.
func isCentral(n mesh.Node) bool {
	return slices.ContainsFunc(n.Roles, func(r mesh.Role) bool { return slices.Contains(central, r) })
}

// neededNodes are those to which this node needs a tunnel by what the records say;
// the other end comes to the same from the same records. A VPC costs nothing as long
// as its endpoints are as they were, and else one look at each.
func neededNodes(s *snapshot) map[mesh.NodeID]bool {
	out := map[mesh.NodeID]bool{}
	self := isCentral(s.self)
	for id, other := range s.nodes {
		if id != s.self.ID && !other.State.Gone() && (self || isCentral(other)) {
			out[id] = true
		}
	}
	for _, v := range s.byVNI {
		if slices.ContainsFunc(v.local, (*endpoint).holds) {
			maps.Copy(out, v.hostingNodes())
		}
	}
	delete(out, s.self.ID)
	return out
}

// hostingNodes are those that have an endpoint in the VPC: what is behind one, or may
// move between several, is at such a node too.
func (h *holdings) hostingNodes() map[mesh.NodeID]bool {
	h.look.Do(func() {
		h.hosting = map[mesh.NodeID]bool{}
		for _, e := range h.all {
			if e.holds() {
				h.hosting[e.node] = true
			}
		}
	})
	return h.hosting
}

// lately is when a node was last needed.
type lately map[mesh.NodeID]time.Time

// note takes down which nodes are needed at a moment, and returns them with those
// that were a short while ago.
func (l lately) note(at time.Time, needed map[mesh.NodeID]bool) map[mesh.NodeID]bool {
	for id := range needed {
		l[id] = at
	}
	out := make(map[mesh.NodeID]bool, len(l))
	maps.DeleteFunc(l, func(id mesh.NodeID, last time.Time) bool {
		out[id] = at.Sub(last) < tunnelGrace
		return !out[id]
	})
	maps.DeleteFunc(out, func(_ mesh.NodeID, keep bool) bool { return !keep })
	return out
}

// need works out to which nodes there are to be tunnels. What a daemon before this
// one has made was needed until now; routes are those that it has left.
func (t *tunnels) need(now time.Time, routes map[netip.Prefix]string) map[mesh.NodeID]bool {
	if t.lately == nil {
		t.lately = lately{}
	}
	if t.ways == nil {
		adopted := map[mesh.NodeID]bool{}
		for _, n := range t.nodes {
			if t.knows(n.Prefix) || routes[n.Prefix] != "" {
				adopted[n.ID] = true
			}
		}
		t.lately.note(now, adopted)
	}
	t.needed = neededNodes(t.snapshot())
	return t.lately.note(now, t.needed)
}

// knows tells whether a device has a node as a peer.
func (t *tunnels) knows(node netip.Prefix) bool {
	return slices.ContainsFunc(t.carriers, func(c *carrier) bool {
		_, there := c.peers[node]
		return there
	})
}

// needsMore tells whether a node is needed that was not when the last round began.
func (t *tunnels) needsMore() bool {
	for id := range neededNodes(t.snapshot()) {
		if !t.needed[id] {
			return true
		}
	}
	return false
}

// withhold leaves the nodes without a tunnel that need none.
func withhold(choices map[mesh.NodeID]choice, needed map[mesh.NodeID]bool) {
	for id, c := range choices {
		if c.err == nil && !needed[id] {
			c.err = errUnneeded
			choices[id] = c
		}
	}
}
