package daemon

import (
	"errors"
	"fmt"

	"edgenet.dev/edgenet/internal/records"
	"edgenet.dev/edgenet/pkg/mesh"
	"edgenet.dev/edgenet/pkg/tunnel"
)

// errSilent says that a node has not announced anything yet, which every node is
// for a moment after it has joined.
var errSilent = errors.New("it has not announced what it encrypts with")

// choice is how a node is reached.
type choice struct {
	tunnel.Choice
	announced *records.Announcement
	// err says why there must be no tunnel.
	err error
}

// by is the same by another technology, if the node has announced that.
func (c choice) by(t tunnel.Technology) choice {
	c.Technology = t
	if t == tunnel.IPsec && c.announced.GetIpsec() == nil || t == tunnel.WireGuard && c.announced.GetWireguard() == nil {
		c.err = fmt.Errorf("it has not announced %s", t)
	}
	return c
}

// endOf is what the choice follows from at a node, and what it has announced.
func endOf(n mesh.Node) (tunnel.End, *records.Announcement, error) {
	e := tunnel.End{Node: n.Name}
	for _, role := range n.Roles {
		e.Roles = append(e.Roles, string(role))
	}
	if len(n.Announcement) == 0 {
		return e, nil, errSilent
	}
	a, err := records.DecodeAnnouncement(n.Announcement)
	if err != nil {
		return e, nil, err
	}
	e.Drivers, e.Excluded, e.Lacks = a.Drivers(), a.GetExcluded(), a.GetLacks()
	e.Leaving = tunnel.Technology(a.GetLeaving())
	return e, a, nil
}

// choose says of every other node how it is reached. Both sides work it out from
// what both have announced, this node too: what it could run besides is of no
// use to the other.
func (t *tunnels) choose(nodes []mesh.Node) (map[mesh.NodeID]choice, error) {
	policy, err := tunnelPolicy(t.mesh)
	if err != nil {
		return nil, err
	}
	if _, evicted := t.mesh.Evicted(); evicted {
		return map[mesh.NodeID]choice{}, nil // Nobody takes a tunnel with it, and it carries for nobody.
	}
	self, _, err := endOf(t.mesh.Self())
	if err != nil {
		return nil, fmt.Errorf("read own announcement: %w", err)
	}
	return chooseAll(self, nodes, policy), nil
}

func chooseAll(self tunnel.End, nodes []mesh.Node, policy tunnel.Policy) map[mesh.NodeID]choice {
	out := make(map[mesh.NodeID]choice, len(nodes))
	for _, n := range nodes {
		if n.Local || n.State.Gone() {
			continue
		}
		var c choice
		var other tunnel.End
		if other, c.announced, c.err = endOf(n); c.err == nil {
			c.Choice, c.err = tunnel.Choose(self, other, policy)
		}
		out[n.ID] = c
	}
	return out
}

// policyVersion tells one policy from another; 0 is none.
func (t *tunnels) policyVersion() mesh.Version {
	rec, _ := t.mesh.Get(mesh.KindTunnels, mesh.PolicyKey)
	return rec.Version
}

// tunnelPolicy is the mesh's.
func tunnelPolicy(m *mesh.Mesh) (tunnel.Policy, error) {
	rec, ok := m.Get(mesh.KindTunnels, mesh.PolicyKey)
	if !ok {
		return tunnel.Policy{}, nil
	}
	p, err := records.DecodeTunnels(rec)
	if err != nil {
		return p, fmt.Errorf("read tunnel policy: %w", err)
	}
	return p, nil
}
