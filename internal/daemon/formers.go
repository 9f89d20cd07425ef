package daemon

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"edgenet.dev/edgenet/internal/records"
	"edgenet.dev/edgenet/pkg/mesh"
	"edgenet.dev/edgenet/pkg/tunnel"
)

const (
	// formerSilence is how long nothing must have come by a peer's former key for
	// it to be taken away: what is under way arrives.
	formerSilence = time.Second
	// rotatePace is the time between two looks at peers that go over to another
	// key.
	rotatePace = 200 * time.Millisecond
)

// keyed are the keys of one peer on a device.
type keyed struct {
	// newest is that which is going to stay, former the one that the peer goes over
	// from; zero if it does not.
	newest, former tunnel.PublicKey
	// met says that the newest was used in a handshake: its node has it.
	met bool
}

// unmet tells whether the newest key must not be used yet: the one to begin is its
// node. If both began at once there would be two new sessions, and a device keeps no
// more than two: what is sent by the former key would not be understood any more.
// The former one is there until it has been silent for a while.
func (k keyed) unmet() bool { return !k.met && k.former != (tunnel.PublicKey{}) }

// sends is the key that packets to the peer go by.
func (k keyed) sends() tunnel.PublicKey {
	if k.unmet() {
		return k.former
	}
	return k.newest
}

// take sorts what there is of peers by their /64. Of one that goes over to another
// key there are two, which count as one.
func (c *carrier) take(have map[tunnel.PublicKey]tunnel.PeerStatus) {
	c.peers = make(map[netip.Prefix]tunnel.PeerStatus, len(have))
	c.keys = make(map[netip.Prefix]keyed, len(have))
	c.formers = map[netip.Prefix]tunnel.PeerStatus{}
	c.strays = nil
	for key, p := range have {
		if !p.Prefix.IsValid() {
			c.strays = append(c.strays, key)
			continue
		}
		if p.Prefix.Bits() == nodeBits+1 {
			c.formers[whole(p.Prefix)] = p
			continue
		}
		c.peers[p.Prefix] = p
		c.keys[p.Prefix] = keyed{newest: p.PublicKey, met: !p.LastHandshake.IsZero()}
	}
	for prefix, former := range c.formers {
		if now, there := c.peers[prefix]; there {
			c.peers[prefix] = asOne(now, former)
			k := c.keys[prefix]
			k.former = former.PublicKey
			c.keys[prefix] = k
		}
	}
}

// nodeBits is the length of a node's prefix.
const nodeBits = 64

func whole(half netip.Prefix) netip.Prefix {
	return netip.PrefixFrom(half.Addr(), nodeBits).Masked()
}

// asOne is a peer of two keys as one: its sessions are those of both.
func asOne(now, former tunnel.PeerStatus) tunnel.PeerStatus {
	now.RxBytes += former.RxBytes
	now.TxBytes += former.TxBytes
	if former.LastHandshake.After(now.LastHandshake) {
		now.LastHandshake, now.Endpoint, now.Cipher = former.LastHandshake, former.Endpoint, former.Cipher
	}
	now.Live = now.Live || former.Live
	return now
}

// note enters a peer that was just put.
func (c *carrier) note(peer tunnel.Peer) {
	status := tunnel.PeerStatus{Peer: peer}
	k := keyed{newest: peer.PublicKey}
	if f := peer.Former; f != (tunnel.Former{}) {
		k.former = f.PublicKey
		if before, there := c.peers[peer.Prefix]; there && before.PublicKey == f.PublicKey {
			status = asOne(status, before)
			before.Prefix = f.Half
			c.formers[peer.Prefix] = before
		}
	}
	c.peers[peer.Prefix], c.keys[peer.Prefix] = status, k
}

// holds tells whether the device gives a key to the peer already.
func (c *carrier) holds(prefix netip.Prefix, key tunnel.PublicKey) bool {
	return c.peers[prefix].PublicKey == key || c.formers[prefix].PublicKey == key
}

// leaving is a former key whose node has another one by now.
type leaving struct {
	received uint64
	lately   time.Time // when that was last more than before
}

// dropFormers takes former keys away: those that nothing comes by any more, and at
// once those that are in the way of a next one, or whose node has gone.
func (t *tunnels) dropFormers(ctx context.Context, now time.Time, choices map[mesh.NodeID]choice) error {
	before := t.leaving
	t.leaving = map[tunnel.PublicKey]leaving{}
	announced := map[netip.Prefix]choice{}
	for _, n := range t.nodes {
		announced[n.Prefix] = choices[n.ID]
	}
	var problems []error
	for _, c := range t.carriers {
		for prefix, former := range c.formers {
			of := announced[prefix]
			if currentKey(of) == former.PublicKey || of.announced != nil && of.announced.GetWireguard() == nil {
				continue // it goes over from it, or ceases to use WireGuard halfway: its device has either key
			}
			if _, replaced := c.keys[prefix]; replaced && of.announced != nil && nextKey(of) == (tunnel.PublicKey{}) {
				l, known := before[former.PublicKey]
				if !known || l.received != former.RxBytes {
					l = leaving{received: former.RxBytes, lately: now}
				}
				if now.Sub(l.lately) < formerSilence {
					t.leaving[former.PublicKey] = l
					continue
				}
			}
			if err := c.forget(ctx, prefix); err != nil {
				problems = append(problems, err)
				continue
			}
			t.log.Info("former key of tunnel peer removed", "prefix", prefix, "driver", c.driver.Name())
		}
	}
	return errors.Join(problems...)
}

// forget takes the former key of a peer away, if it has one.
func (c *carrier) forget(ctx context.Context, prefix netip.Prefix) error {
	former, there := c.formers[prefix]
	if !there {
		return nil
	}
	if err := c.driver.Delete(ctx, former.PublicKey); err != nil {
		return fmt.Errorf("remove former key of tunnel peer: %w", err)
	}
	delete(c.formers, prefix)
	if k, known := c.keys[prefix]; known {
		k.former = tunnel.PublicKey{}
		c.keys[prefix] = k
	}
	return nil
}

// peerKeys are what a peer is known by, and which key packets to it go by.
type peerKeys struct {
	keyed

	sends tunnel.PublicKey
}

// keysOf is what the nodes with a peer of WireGuard's are known by.
func (t *tunnels) keysOf() map[mesh.NodeID]peerKeys {
	out := map[mesh.NodeID]peerKeys{}
	c := t.carrier(tunnel.WireGuard)
	if c == nil {
		return out
	}
	for _, n := range t.nodes {
		if k, there := c.keys[n.Prefix]; there {
			out[n.ID] = peerKeys{keyed: k, sends: k.sends()}
		}
	}
	return out
}

// currentKey is what a node has announced that it has; zero if nothing.
func currentKey(c choice) tunnel.PublicKey {
	if key := c.announced.GetWireguard().GetPublicKey(); len(key) > 0 {
		return tunnel.PublicKey(key)
	}
	return tunnel.PublicKey{}
}

// lookAgain has a round come soon while some peer goes over to another key: it is
// followed as soon as it has it, and the former one does not stay for long. One that
// never comes to it is looked at in every round, like all others.
func (t *tunnels) lookAgain(now time.Time) {
	if !slices.ContainsFunc(t.carriers, func(c *carrier) bool { return len(c.formers) > 0 }) {
		t.goingSince = time.Time{}
		return
	}
	if t.goingSince.IsZero() {
		t.goingSince = now
	}
	switch {
	case now.Sub(t.goingSince) > rotateTurns:
	case t.again == nil:
		t.again = time.AfterFunc(rotatePace, func() { poke(t.sized) })
	default:
		t.again.Reset(rotatePace)
	}
}

// nextKey is what a node has announced that it goes over to; zero if nothing.
func nextKey(c choice) tunnel.PublicKey {
	if next := c.announced.GetWireguard().GetNextPublicKey(); len(next) > 0 {
		return tunnel.PublicKey(next)
	}
	return tunnel.PublicKey{}
}

// goingOver is a peer by a technology that it is moved from, with the key that it
// goes over to, if the device has that already or nobody else has announced it.
func (t *tunnels) goingOver(c *carrier, n mesh.Node, peer tunnel.Peer, of choice) tunnel.Peer {
	next := nextKey(of)
	if c.technology != tunnel.WireGuard || !t.proofs.hold(n.ID, next, of.announced.GetWireguard().GetNextProof()) {
		return peer
	}
	s := newClaims()
	s.holders[peer.PublicKey], s.want[n.ID] = n, peer
	for _, other := range t.nodes {
		a, err := records.DecodeAnnouncement(other.Announcement)
		if w := a.GetWireguard(); other.ID == n.ID || err != nil || w == nil {
			continue
		} else if tunnel.PublicKey(w.GetPublicKey()) == next && t.proofs.hold(other.ID, next, w.GetProof()) ||
			nextKey(choice{announced: a}) == next && t.proofs.hold(other.ID, next, w.GetNextProof()) {
			s.holders[next] = other
		}
	}
	if s.next(c, n, next) != nil {
		return peer
	}
	return s.want[n.ID]
}
