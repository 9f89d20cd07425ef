package daemon

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"time"

	"edgenet.dev/edgenet/pkg/mesh"
	"edgenet.dev/edgenet/pkg/tunnel"
	"edgenet.dev/edgenet/pkg/tunnel/hold"
)

// useTick is how often it is looked whether tunnels that rest are used.
const useTick = 500 * time.Millisecond

// Hold is hold.Hold, whose words on its methods hold.
type Hold interface {
	Device() string
	Lead(ways map[netip.Prefix]int)
	Asked() []netip.Prefix
	LastPacket(to netip.Prefix) time.Time
	Dropped() uint64
	Mend() error
	Close() error
}

// ensureHold makes the device in which packets wait. Without one the first packets
// are lost where the driver does not keep them, and IPsec does not rest.
func (t *tunnels) ensureHold() {
	if t.hold != nil {
		err := t.hold.Mend()
		if !errors.Is(err, hold.ErrGone) { // what waits there may go yet
			t.holding.note(err)
			return
		}
		t.log.Warn("the device of waiting packets was changed by others and is made anew", "device", t.hold.Device(), "err", err)
	}
	t.closeHold()
	cfg := hold.Config{
		Logger: t.log, Device: deviceName(t.mesh.Self().ID, "h"),
		Wanted: func() { poke(t.held) }, Lost: func() { poke(t.sized) },
	}
	made, err := t.openHold(cfg)
	if err != nil {
		t.holding.note(err)
		return
	}
	t.holding.note(nil)
	t.hold = made
}

// closeHold removes that device.
func (t *tunnels) closeHold() {
	if t.hold == nil {
		return
	}
	if err := t.hold.Close(); err != nil {
		t.log.Debug("device of waiting packets is closed", "err", err)
	}
	t.givenUp += t.hold.Dropped()
	t.hold = nil
}

// holdDevice is the name of the device in which packets wait; empty if there is
// none.
func (t *tunnels) holdDevice() string {
	if t.hold == nil {
		return ""
	}
	return t.hold.Device()
}

// lost is how many packets have waited in vain.
func (t *tunnels) lost() uint64 {
	if t.hold == nil {
		return t.givenUp
	}
	return t.givenUp + t.hold.Dropped()
}

// begins tells whether a carrier's sessions have to be begun when there is a packet.
func (c *carrier) begins() (tunnel.Rester, bool) {
	r, ok := c.driver.(tunnel.Rester)
	return r, ok
}

// decides tells whether of two ends it is this one that lets sessions go.
func (c *carrier) decides(n mesh.Node) bool { return c.device.Address.Less(n.Prefix.Addr()) }

// settleRests decides which tunnels rest from now on.
func (t *tunnels) settleRests(now time.Time, want map[mesh.NodeID]tunnel.Peer, choices map[mesh.NodeID]choice) {
	before := t.rests
	t.rests = make(map[mesh.NodeID]rest, len(want))
	for _, n := range t.nodes {
		peer, wanted := want[n.ID]
		if !wanted {
			continue
		}
		r, known := before[n.ID]
		by := t.reasons(n, peer, choices[n.ID])
		if !known && t.ways == nil && by.ready && t.wasResting(choices[n.ID], peer) {
			r = rest{since: now, active: now, heard: now, count: by.received}
		}
		next := r.next(now, by)
		if next.resting() && !before[n.ID].resting() {
			t.log.Info("tunnel rests", "node", n.Name)
		}
		t.rests[n.ID] = next
	}
}

// wasResting tells whether a daemon before this one had a tunnel rest.
func (t *tunnels) wasResting(c choice, peer tunnel.Peer) bool {
	carrier := t.carrier(c.Technology)
	status := carrier.peers[peer.Prefix]
	if _, begins := carrier.begins(); begins {
		return !status.Live
	}
	return status.Keepalive == 0
}

// reasons are what a node's tunnel rests or wakes by.
func (t *tunnels) reasons(n mesh.Node, peer tunnel.Peer, chosen choice) restReasons {
	c := t.carrier(chosen.Technology)
	status, there := c.peers[peer.Prefix]
	by := restReasons{
		idle: pairIdle(t.idle, chosen.announced), ready: there && t.isSettled(n, c) && peer.Former == (tunnel.Former{}), live: status.Live, handshake: status.LastHandshake,
		received: status.RxBytes,
		used:     t.lastUse(peer.Prefix),
	}
	if _, by.begins = c.begins(); by.begins {
		by.dormant = status.Dormant && !c.decides(n)
		by.ready = by.ready && t.hold != nil
	}
	if t.hold != nil {
		if last := t.hold.LastPacket(peer.Prefix); last.After(by.used) {
			by.used = last
		}
	}
	// Only one that is awake is greeted by the new key.
	by.ready = by.ready && (!t.rotating || c.technology != tunnel.WireGuard)
	// A peer that is not where it says to be could not be found by those who wake it.
	if status.Live && (status.BehindNAT || !isAnnounced(peer, status.Endpoint)) {
		by.ready = false
	}
	return by
}

// isSettled tells whether a node is reached by a carrier and not moved.
func (t *tunnels) isSettled(n mesh.Node, c *carrier) bool {
	if t.ways != nil {
		w := t.ways[n.ID]
		return w.on == c.technology && w.to == "" && w.left == ""
	}
	return !slices.ContainsFunc(t.carriers, func(other *carrier) bool {
		_, there := other.peers[n.Prefix]
		return other != c && there
	})
}

// isAnnounced tells whether a peer is where it would be called when it is to wake:
// at another of its addresses it is perhaps because that one does not work.
func isAnnounced(peer tunnel.Peer, at netip.AddrPort) bool {
	return at.Port() == peer.Endpoint.Port() && at.Addr().Unmap() == peer.Endpoint.Addr().Unmap()
}

// isHeld tells whether packets to a peer have to be kept, since its tunnel would
// lose them. The kernel's IPsec goes on without a session that charon knows of: what
// it carried it may still.
func (t *tunnels) isHeld(id mesh.NodeID, c *carrier, status tunnel.PeerStatus) bool {
	if _, begins := c.begins(); !begins || t.hold == nil {
		return false
	}
	if t.rests[id].resting() {
		return true
	}
	before, known := t.state.peers[id]
	carries := c.driver.Name() == tunnel.IPsecKernel && known && before.technology == c.technology && before.device.Index == c.device.Index && !before.held
	return !status.Live && !carries
}

// release lets the packets go whose tunnel is there, and lets sessions go that
// nothing was carried by for long.
func (t *tunnels) release(ctx context.Context, now time.Time, peers map[mesh.NodeID]peerState) error {
	if t.hold == nil {
		return nil
	}
	ways := make(map[netip.Prefix]int, len(peers))
	var sleepers []mesh.Node
	for _, n := range t.nodes {
		p, there := peers[n.ID]
		switch {
		case !there || p.held && !p.Live && !p.Dormant || p.device.Index == 0:
		case p.held && t.rests[n.ID].resting() && !t.carrier(p.technology).decides(n):
			// The other end may let the session go just now: wake has a look first.
		case p.held && t.rests[n.ID].over(now):
			sleepers = append(sleepers, n)
		case !p.held || p.Live:
			ways[p.Prefix] = p.device.Index
		}
	}
	t.hold.Lead(ways)
	keys := map[tunnel.Rester][]tunnel.PublicKey{}
	for _, n := range sleepers {
		// What comes from now on waits; what came before has to be carried yet.
		if t.hold.LastPacket(n.Prefix).After(t.rests[n.ID].since) {
			poke(t.sized)
			continue
		}
		if r, ok := t.carrier(peers[n.ID].technology).begins(); ok {
			keys[r] = append(keys[r], peers[n.ID].PublicKey)
		}
	}
	var problems []error
	for r, of := range keys {
		problems = append(problems, r.Sleep(ctx, of...))
	}
	return errors.Join(problems...)
}

// wake begins the sessions that packets wait for.
func (t *tunnels) wake(ctx context.Context) {
	t.round.Lock()
	defer t.round.Unlock()
	if t.hold == nil {
		return
	}
	asked := map[netip.Prefix]bool{}
	for _, to := range t.hold.Asked() {
		asked[to] = true
	}
	keys := map[tunnel.Rester][]tunnel.PublicKey{}
	for _, n := range t.nodes {
		c := t.carrier(t.ways[n.ID].on)
		if !asked[n.Prefix] || c == nil {
			continue
		}
		status := c.peers[n.Prefix]
		r, begins := c.begins()
		if !begins || status.PublicKey == (tunnel.PublicKey{}) {
			continue
		}
		rested := t.rests[n.ID].resting()
		if rested {
			t.log.Info("tunnel is woken by a packet", "node", n.ID)
			t.rests[n.ID] = rest{active: time.Now()}
		}
		if status.Live && !status.Dormant {
			poke(t.sized) // which is told to all that follow from it
			if !rested {
				continue
			}
		}
		keys[r] = append(keys[r], status.PublicKey)
	}
	for r, of := range keys {
		if err := r.Wake(ctx, of...); err != nil {
			t.log.Warn("wake tunnels; trying again", "err", err)
			poke(t.sized)
		}
	}
}

// isUsed tells whether a tunnel is used that rests.
func (t *tunnels) isUsed() bool {
	for _, n := range t.nodes {
		if r := t.rests[n.ID]; r.resting() && t.lastUse(n.Prefix).After(r.since) {
			return true
		}
	}
	return false
}

// waiting are the nodes that are needed, by the records of a snapshot, and that it
// is not yet known how to reach: packets to them wait.
func (n *network) waiting(s *snapshot, t tunnelState) map[mesh.NodeID]reach {
	out := t.reaches()
	bury(s, out, n.tunnels.probes.stats)
	if t.hold == "" {
		return out
	}
	for id := range neededNodes(s) {
		c, known := t.choices[id]
		if _, reached := out[id]; !reached && (!known || c.err == nil || errors.Is(c.err, errUnneeded) || errors.Is(c.err, errSilent)) {
			out[id] = reach{device: t.hold, mtu: t.mtu, assumed: true}
		}
	}
	return out
}
