package mesh

import (
	"context"
	"math/rand/v2"
	"net/netip"
	"time"
)

// How a node looks for the others.
const (
	rejoinFirst = 250 * time.Millisecond
	rejoinLast  = 10 * time.Second
	// rejoinAtOnce is how many are tried in one round: each that does not
	// answer takes up to streamTimeout.
	rejoinAtOnce = 5
)

// runRejoin looks for known nodes that are not alive, for ever, until ctx ends.
func (s *session) runRejoin(ctx context.Context) {
	wait := rejoinFirst / 2
	for ctx.Err() == nil {
		missing := s.peers(StateDead)
		if len(missing) > 0 || s.lost() {
			s.look(ctx, missing)
			wait = nextLook(wait, len(missing), len(s.peers(StateDead)))
		} else {
			wait = rejoinLast
		}
		t := time.NewTimer(jitter(wait))
		select {
		case <-ctx.Done():
		case <-s.rejoin:
			wait = rejoinFirst
			pause(ctx, wait) // Let what has just come settle.
		case <-t.C:
		}
		t.Stop()
	}
}

// nextLook returns the wait after a look, given the one before it and how many
// nodes were missing before and after. That somebody has answered is no success:
// at a dead node's address there may be another by now, for ever.
func nextLook(wait time.Duration, before, after int) time.Duration {
	if before != after {
		return rejoinFirst
	}
	return min(2*wait, rejoinLast)
}

// lost tells whether the node knows nobody that is alive, but seeds.
func (s *session) lost() bool {
	return len(s.in.seeds) > 0 && len(s.peers(StateAlive))+len(s.peers(StateSuspect)) == 0
}

// look tries to reach some of the missing nodes, and then the seeds.
func (s *session) look(ctx context.Context, missing []Node) {
	rand.Shuffle(len(missing), func(i, j int) { missing[i], missing[j] = missing[j], missing[i] })
	var addrs []string
	for _, n := range missing[:min(len(missing), rejoinAtOnce)] {
		if a, ok := s.m.gossipAddr(n.ID); ok {
			addrs = append(addrs, a)
		}
	}
	if len(addrs) > 0 {
		n, err := s.list.Join(addrs)
		s.log.Debug("look for nodes", "answered", n, "err", err)
	}
	if !s.lost() {
		return
	}
	for _, seed := range s.in.seeds {
		if err := s.m.syncAddr(ctx, seed); err != nil {
			s.log.Debug("ask seed", "seed", seed, "err", err)
			continue
		}
		return
	}
}

// gossipAddr returns where a node gossips.
func (m *Mesh) gossipAddr(id NodeID) (string, bool) {
	addr, ok := m.gossipAddrPort(id)
	return addr.String(), ok
}

// gossipAddrPort is gossipAddr, not as text.
func (m *Mesh) gossipAddrPort(id NodeID) (netip.AddrPort, bool) {
	e := m.replica.table.get(ref{KindNode, string(id)})
	if e == nil || e.info == nil {
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(e.info.links[0].Addr, e.info.gossipPort), true
}

// peerAddrs returns where a node serves the peer API.
func (m *Mesh) peerAddrs(id NodeID) []netip.AddrPort {
	e := m.replica.table.get(ref{KindNode, string(id)})
	if e == nil || e.info == nil {
		return nil
	}
	out := make([]netip.AddrPort, 0, len(e.info.links))
	for _, l := range e.info.links {
		out = append(out, netip.AddrPortFrom(l.Addr, e.info.peerPort))
	}
	return out
}
