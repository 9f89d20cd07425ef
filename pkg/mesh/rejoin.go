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
		missing, there := s.missing()
		if len(missing) > 0 || s.lost(there) {
			s.look(ctx, missing)
			after, _ := s.missing()
			wait = nextLook(wait, len(missing), len(after))
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

// missing returns the other nodes that are dead, or that memberlist takes for
// dead, in no order, and how many are not dead. Those whose certificates have ended
// are neither: they are let in again when they come with new ones.
func (s *session) missing() (dead []NodeID, there int) {
	now := s.m.replica.now()
	for _, e := range s.m.replica.table.ofKind(KindNode) {
		if e.Deleted || e.Node == s.m.id || e.credential().endedAt(now) {
			continue
		}
		isDead := s.members.state(e.Node) == StateDead
		if isDead || s.members.isDenied(e.Node) {
			dead = append(dead, e.Node)
		}
		if !isDead {
			there++
		}
	}
	return dead, there
}

// lost tells whether the node knows nobody that is there, but seeds.
func (s *session) lost(there int) bool { return len(s.in.seeds) > 0 && there == 0 }

// look tries to reach some of the missing nodes, and then the seeds.
func (s *session) look(ctx context.Context, missing []NodeID) {
	rand.Shuffle(len(missing), func(i, j int) { missing[i], missing[j] = missing[j], missing[i] })
	missing = missing[:min(len(missing), rejoinAtOnce)]
	var addrs []string
	for _, id := range missing {
		if a, ok := s.m.gossipAddr(id); ok {
			addrs = append(addrs, a)
		}
	}
	if len(addrs) > 0 {
		n, err := s.list.Join(addrs)
		s.log.Debug("look for nodes", "answered", n, "err", err)
		if n == 0 {
			// The gossip key may have been replaced while this node was away, or
			// that one: the peer API needs none, and has the next. Who sees nobody asks
			// several, for some may be gone.
			if _, there := s.missing(); there > 0 {
				missing = missing[:1]
			}
			for _, id := range missing {
				s.syncer.request(id, nil)
			}
		}
	}
	if _, there := s.missing(); !s.lost(there) {
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
	if e == nil || e.info() == nil {
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(e.info().links[0].Addr, e.info().gossipPort), true
}

// peerAddrs returns where a node serves the peer API.
func (m *Mesh) peerAddrs(id NodeID) []netip.AddrPort {
	e := m.replica.table.get(ref{KindNode, string(id)})
	if e == nil || e.info() == nil {
		return nil
	}
	out := make([]netip.AddrPort, 0, len(e.info().links))
	for _, l := range e.info().links {
		out = append(out, netip.AddrPortFrom(l.Addr, e.info().peerPort))
	}
	return out
}
