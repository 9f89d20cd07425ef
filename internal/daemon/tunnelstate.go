package daemon

import (
	"context"
	"errors"
	"net/netip"

	"edgenet.dev/edgenet/pkg/mesh"
	"edgenet.dev/edgenet/pkg/tunnel"
	"edgenet.dev/edgenet/pkg/tunnel/probe"
)

// tunnelState is what the last round found. It is replaced, never changed.
type tunnelState struct {
	// device is that which is always up, driver what makes it.
	device tunnel.Device
	driver string
	// mtu is how large packets of endpoints may be in the overlay, in bytes.
	mtu int
	// devices are all that are up, that one first.
	devices []tunnel.Device
	// hold is the device in which packets wait; empty if there is none.
	hold string
	// givenUp is how many packets waited in vain.
	givenUp uint64
	peers   map[mesh.NodeID]peerState
	// keys are what the nodes with a peer of WireGuard's are known by.
	keys map[mesh.NodeID]peerKeys
	// choices say how each node is reached, or why it must not be.
	choices map[mesh.NodeID]choice
	problem error
	// stale is true if the last round has come to nothing: but for why, and stats,
	// this is from one before.
	stale bool
	// stats are what probes had found by the end of the round, by overlay address.
	stats map[netip.Addr]probe.Stats
	// seen is how the tunnel to each node is, round tells one such state from another.
	seen  map[mesh.NodeID]seenTunnel
	round uint64
}

// peerState is one tunnel as the last round found it.
type peerState struct {
	tunnel.PeerStatus
	// technology, driver and device are what packets to it go by.
	technology tunnel.Technology
	driver     string
	device     tunnel.Device
	// reqID is what its packets are known by that come by the kernel's IPsec, by
	// whatever packets to it go; 0 if none can come.
	reqID uint32
	// size is how large packets to it may be.
	size pathSize
	use  usage
	// upper is the half of its /64 that packets to it have.
	upper bool
	// rest says whether it rests, held whether packets wait for it.
	rest rest
	held bool
}

// ready is true when the device is up.
func (s tunnelState) ready() bool { return s.device.Name != "" }

// why says what keeps the device from being ready.
func (s tunnelState) why() error {
	if s.problem == nil {
		return errors.New("it is being made; try again")
	}
	return s.problem
}

// reaches are the nodes that a tunnel leads to.
func (s tunnelState) reaches() map[mesh.NodeID]reach {
	out := make(map[mesh.NodeID]reach, len(s.peers))
	for id, p := range s.peers {
		device := p.device.Name
		if p.held {
			device = s.hold
		}
		out[id] = reach{device: device, mtu: p.size.most, assumed: p.size.basis == probe.Assumed, reqID: p.reqID, upper: p.upper}
	}
	return out
}

func (t *tunnels) current() tunnelState {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.state
}

// replace makes next the state, and returns the one before.
func (t *tunnels) replace(next tunnelState) (before tunnelState) {
	t.mu.Lock()
	defer t.mu.Unlock()
	before, t.state = t.state, next
	if t.news != nil {
		close(t.news)
		t.news = nil
	}
	return before
}

// awaitReady waits a bounded time for a device that is being made, as it is for a
// moment after a start.
func (t *tunnels) awaitReady(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, arrival)
	defer cancel()
	_ = t.awaitState(ctx, func(s tunnelState) bool { return s.ready() || s.problem != nil })
}

// awaitState waits for a state, and returns ctx's error if that ends first.
func (t *tunnels) awaitState(ctx context.Context, is func(tunnelState) bool) error {
	for {
		t.mu.Lock()
		if is(t.state) {
			t.mu.Unlock()
			return nil
		}
		if t.news == nil {
			t.news = make(chan struct{})
		}
		news := t.news
		t.mu.Unlock()
		select {
		case <-news:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// samePeer compares what others derive from a peer.
func samePeer(a, b peerState) bool {
	return a.Prefix == b.Prefix && a.Endpoint == b.Endpoint && a.Live == b.Live && a.size == b.size && a.device == b.device && a.reqID == b.reqID && a.upper == b.upper && a.held == b.held && a.rest.since.Equal(b.rest.since)
}
