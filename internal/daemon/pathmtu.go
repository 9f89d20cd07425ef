package daemon

import (
	"fmt"
	"time"

	"edgenet.dev/edgenet/pkg/tunnel/probe"
)

const (
	// useInterval is how long a tunnel is watched before it is called busy or not.
	useInterval = time.Second
	// useLeast is how many bytes have to be sent in that time: more than the
	// answers to what the peer asks, less than a packet that could be too large.
	useLeast = 1000
	// useLasts is how long a tunnel counts as busy after that.
	useLasts = 10 * time.Second
	// tunnelPadding is what a tunnel may add to a packet in its counters, in
	// bytes: WireGuard's 32, and up to 15 to fill a block.
	tunnelPadding = 47
)

// pathSize is how large packets to a peer may be, in bytes inside the tunnel.
type pathSize struct {
	mtu   int
	basis probe.Basis
	// most is what is in force: while nothing is found out yet, it is what is not
	// known to be lost. Who is told of less keeps to that for ten minutes, or as
	// long as a connection lasts; who sends too much meanwhile sends it again.
	most int
}

// usage tells whether tenants use a tunnel.
type usage struct {
	since        time.Time // when the rest was counted
	sent, probed uint64    // bytes through the tunnel, and those of probes
	lastBusy     time.Time
}

// next counts what was sent since u, if that is long enough ago.
func (u usage) next(now time.Time, sent, probed uint64) usage {
	switch {
	case u.since.IsZero() || sent < u.sent || probed < u.probed: // new, or begun anew
		return usage{since: now, sent: sent, probed: probed, lastBusy: u.lastBusy}
	case now.Sub(u.since) < useInterval:
		return u
	}
	if sent-u.sent >= probed-u.probed+useLeast {
		u.lastBusy = now
	}
	u.since, u.sent, u.probed = now, sent, probed
	return u
}

func (u usage) busy(now time.Time) bool {
	return !u.lastBusy.IsZero() && now.Sub(u.lastBusy) < useLasts
}

// measure has the peers of the state probed, and fills in what is known of how
// large their packets may be.
func (t *tunnels) measure(state *tunnelState, now time.Time) error {
	known := t.probes.stats()
	peers := make([]probe.Peer, 0, len(state.peers))
	for id, p := range state.peers {
		addr := nodeAddr(p.Prefix)
		s := known[addr]
		p.use = t.state.peers[id].use.next(now, p.TxBytes, s.Bytes+s.Requests*tunnelPadding)
		state.peers[id] = p
		c := t.carrier(p.technology)
		peers = append(peers, probe.Peer{
			// Links that have grown may make a wider way of it, though the device stays.
			Addr: addr, Path: fmt.Sprint(p.driver, p.Endpoint, c.left), Limit: c.limit(), Busy: p.use.busy(now), Resting: p.rest.resting(),
		})
	}
	err := t.probes.set(t.life, state.device.Address, "", peers)
	known = t.probes.stats()
	state.stats = known
	for id, p := range state.peers {
		before := t.state.peers[id].size
		p.size = sizeOf(known[nodeAddr(p.Prefix)], before, t.carrier(p.technology).limit())
		if (before.mtu != p.size.mtu || before.basis != p.size.basis) && p.size.basis != probe.Searching {
			t.log.Info("path MTU", "node", id, "bytes", p.size.mtu, "is", p.size.basis, "was", before.mtu)
		}
		state.peers[id] = p
	}
	return err
}

// limit is how large a packet by the carrier is ever tried: what its device takes,
// if this host's own links take that whole. Else it is a size that a search finds, as
// the other end does.
func (c *carrier) limit() int {
	if c.left >= c.device.MTU {
		return c.device.MTU
	}
	return c.left / probe.Step * probe.Step
}

// sizeOf is what is known of a peer. Of one that is not measured it is what was
// known before, or that every way carries what it does.
func sizeOf(s probe.Stats, before pathSize, limit int) pathSize {
	switch {
	case s.MTU > 0:
		return pathSize{mtu: s.MTU, basis: s.MTUBasis, most: s.MTUMost}
	case before.mtu > 0:
		return before
	}
	return pathSize{mtu: min(probe.Floor, limit), basis: probe.Assumed, most: limit}
}
