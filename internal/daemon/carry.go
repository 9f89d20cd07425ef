package daemon

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"edgenet.dev/edgenet/pkg/mesh"
	"edgenet.dev/edgenet/pkg/tunnel"
	"edgenet.dev/edgenet/pkg/tunnel/probe"
)

// moveTime is how long a node may take to another technology before that is said
// to be wrong: longer than charon takes to start and to begin anew.
const moveTime = 15 * time.Second

// settled is how old keys have to be for others not to come at once: each end
// begins within a second of the other, if both do.
const settled = 2 * time.Second

// carrier is the one of a technology; nil if this node has none.
func (t *tunnels) carrier(of tunnel.Technology) *carrier {
	for _, c := range t.all() {
		if c.technology == of {
			return c
		}
	}
	return nil
}

// all are the carriers, for those who do not hold round, too.
func (t *tunnels) all() []*carrier {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.carriers
}

// bringUpNeeded brings the devices up, besides the one that is always up, by which
// some node is, or is to be reached, and takes the others down. One that cannot be
// brought up stops no other.
func (t *tunnels) bringUpNeeded(ctx context.Context, home *carrier, choices map[mesh.NodeID]choice, routes map[netip.Prefix]string) error {
	needed := map[tunnel.Technology]bool{}
	for _, c := range choices {
		if c.err == nil {
			needed[c.Technology] = true
		}
	}
	for _, w := range t.ways {
		needed[w.on], needed[w.to], needed[w.left] = true, true, true
	}
	var problems []error
	for _, c := range t.carriers {
		// What leads somewhere was made by a daemon before this one.
		first := t.ways == nil && (c.retired || len(routes) > 0)
		switch {
		case c == home || c.failed || first && c.retired: // has been, or that has been said
		case !needed[c.technology] && !first:
			problems = append(problems, t.takeDown(ctx, c))
		default:
			problems = append(problems, t.bringUp(ctx, c))
		}
	}
	return errors.Join(problems...)
}

// put makes each peer as wanted where it is to be, and keeps it as it should be
// where it still is.
func (t *tunnels) put(ctx context.Context, want map[mesh.NodeID]tunnel.Peer, choices map[mesh.NodeID]choice) error {
	t.putNew(ctx, want, choices)
	var problems []error
	for _, n := range t.nodes {
		peer, wanted := want[n.ID]
		if !wanted {
			continue
		}
		peer.Rest = t.rests[n.ID].resting()
		problems = append(problems, t.putBy(ctx, t.carrier(choices[n.ID].Technology), n, peer))
		on := t.carrier(t.ways[n.ID].on)
		if on == nil || on.technology == choices[n.ID].Technology {
			continue
		}
		// One that has not announced it any more stays as it is.
		if old, err := t.wantPeer(n, choices[n.ID].by(on.technology)); err == nil {
			problems = append(problems, t.putBy(ctx, on, n, t.goingOver(on, n, old, choices[n.ID])))
		}
	}
	return errors.Join(problems...)
}

func (t *tunnels) putBy(ctx context.Context, c *carrier, n mesh.Node, peer tunnel.Peer) error {
	if c.peers == nil {
		return nil // it is not up, which has been said
	}
	known := c.peers[peer.Prefix].PublicKey == peer.PublicKey
	if err := c.driver.Put(ctx, peer); err != nil {
		return about(n, problemDriver, fmt.Errorf("set tunnel peer: %w", err))
	}
	if !known {
		c.note(peer)
		c.added = c.technology == tunnel.IPsec // the others' are not told apart
		t.log.Info("tunnel peer added", "node", n.ID, "endpoint", peer.Endpoint, "driver", c.driver.Name())
	}
	return nil
}

// move decides by what each node is reached from now on. A node comes to another
// technology when its datapath has answered packets by that one, and not before.
func (t *tunnels) move(now time.Time, want map[mesh.NodeID]tunnel.Peer, choices map[mesh.NodeID]choice, routes map[netip.Prefix]string) error {
	before := t.ways
	if before == nil {
		before = t.adopt(want, routes)
	}
	var problems []error
	proofs := map[tunnel.Technology]map[netip.Addr]probe.Stats{}
	for _, c := range t.carriers {
		proofs[c.technology] = c.proofs.stats()
	}
	t.ways = make(map[mesh.NodeID]way, len(want))
	for _, n := range t.nodes {
		id := n.ID
		peer, wanted := want[id]
		if !wanted {
			continue
		}
		w, target := before[id], choices[id].Technology
		var proved time.Time
		var received uint64
		if c := t.carrier(target); target == w.to {
			proved = proof(now, c.peers[peer.Prefix], proofs[target][nodeAddr(peer.Prefix)])
		}
		leaving := w.left
		if leaving == "" {
			leaving = w.on // which is what it may leave now
		}
		if c := t.carrier(leaving); c != nil {
			received = c.peers[peer.Prefix].RxBytes
		}
		next := w.next(now, target, proved, received)
		if next.on != w.on && w.on != "" {
			t.log.Info("node is reached by another tunnel", "node", id, "was", w.on, "is", next.on, "why", choices[id].Why)
		}
		if next.to != "" && now.Sub(next.since) > moveTime {
			problems = append(problems, about(n, problemNotMoved, fmt.Errorf("does not answer by %s since %s; packets still go by %s",
				next.to, clock(next.since), next.on)))
		}
		t.ways[id] = next
	}
	return errors.Join(problems...)
}

// proof is when it was last proved that a peer is reached, zero if it was not with
// the keys of now, or if those are still young: two ends that begin at once make
// keys twice, and what is sent by the second ones may be there before them.
func proof(now time.Time, peer tunnel.PeerStatus, seen probe.Stats) time.Time {
	if !peer.Live || now.Sub(peer.LastHandshake) < settled || !seen.LastCut.After(peer.LastHandshake) {
		return time.Time{}
	}
	return seen.LastCut
}

// adoptable are the routes that a daemon before this one has left, by which its
// nodes were reached; none after the first round.
func (t *tunnels) adoptable() (map[netip.Prefix]string, error) {
	if t.ways != nil {
		return nil, nil
	}
	routes, err := t.listRoutes(t.mesh.MeshPrefix())
	if err != nil {
		return nil, fmt.Errorf("find out by which tunnels nodes are reached: %w", err)
	}
	return routes, nil
}

// adopt finds by what nodes are reached already: those with a route of their own
// by its device, others by WireGuard.
func (t *tunnels) adopt(want map[mesh.NodeID]tunnel.Peer, routes map[netip.Prefix]string) map[mesh.NodeID]way {
	out := map[mesh.NodeID]way{}
	for id, peer := range want {
		for _, c := range t.carriers {
			_, there := c.peers[peer.Prefix]
			if there && (routes[peer.Prefix] == c.device.Name || routes[peer.Prefix] == "" && c.technology == tunnel.WireGuard) {
				out[id] = way{on: c.technology}
			}
		}
	}
	return out
}

// drop takes away peers that no way uses.
func (t *tunnels) drop(ctx context.Context) error {
	used := map[netip.Prefix]way{}
	for _, n := range t.nodes {
		if w, ok := t.ways[n.ID]; ok {
			used[n.Prefix] = w
		}
	}
	var problems []error
	for _, c := range t.carriers {
		// What is left of a peer may be found without its prefix.
		keep := map[tunnel.PublicKey]bool{}
		for prefix, p := range c.peers {
			keep[p.PublicKey] = keep[p.PublicKey] || used[prefix].uses(c.technology)
			keep[c.keys[prefix].former] = keep[c.keys[prefix].former] || keep[p.PublicKey]
		}
		for prefix, p := range c.peers {
			if keep[p.PublicKey] {
				continue
			}
			if err := errors.Join(c.driver.Delete(ctx, p.PublicKey), c.forget(ctx, prefix)); err != nil {
				problems = append(problems, fmt.Errorf("remove tunnel peer: %w", err))
				continue
			}
			delete(c.peers, prefix)
			delete(c.keys, prefix)
			t.log.Info("tunnel peer removed", "prefix", prefix, "driver", c.driver.Name())
		}
		for _, key := range c.strays {
			if keep[key] {
				continue
			}
			if err := c.driver.Delete(ctx, key); err != nil {
				problems = append(problems, fmt.Errorf("remove tunnel peer: %w", err))
				continue
			}
			t.log.Warn("a tunnel peer that leads nowhere was made by others and is removed", "driver", c.driver.Name())
		}
		c.strays = nil
	}
	return errors.Join(problems...)
}

// reached is every node that packets can be sent to. One whose device was not
// brought up this time is as it was.
func (t *tunnels) reached(want map[mesh.NodeID]tunnel.Peer, keys map[mesh.NodeID]peerKeys) map[mesh.NodeID]peerState {
	out := make(map[mesh.NodeID]peerState, len(t.ways))
	for id, w := range t.ways {
		c := t.carrier(w.on)
		if c.peers == nil {
			if before, ok := t.state.peers[id]; ok && before.technology == w.on {
				out[id] = before
			}
			continue
		}
		if status, there := c.peers[want[id].Prefix]; there {
			out[id] = peerState{
				PeerStatus: status, technology: w.on, driver: c.driver.Name(), device: c.device,
				reqID: t.reqID(id, want[id].Prefix), upper: keys[id].sends.Upper(), rest: t.rests[id], held: t.isHeld(id, c, status),
			}
		}
	}
	return out
}

// prove has nodes probed by what they are to be moved to.
func (t *tunnels) prove() error {
	var problems []error
	for _, c := range t.carriers {
		var peers []probe.Peer
		for _, n := range t.nodes {
			if w := t.ways[n.ID]; w.to == c.technology && c.peers != nil {
				peers = append(peers, probe.Peer{Addr: n.Addr, Path: c.driver.Name(), Limit: c.limit(), Busy: true})
			}
		}
		if len(peers) == 0 {
			c.proofs.stop()
			continue
		}
		problems = append(problems, c.proofs.set(t.life, c.device.Address, c.device.Name, peers))
	}
	return errors.Join(problems...)
}
