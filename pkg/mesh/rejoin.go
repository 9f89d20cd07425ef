package mesh

import (
	"context"
	"math/rand/v2"
	"net"
	"net/netip"
	"strconv"
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
	wait := rejoinFirst
	for ctx.Err() == nil {
		missing := s.peers(StateDead)
		if len(missing) > 0 || s.lost() {
			if s.look(ctx, missing) {
				wait = rejoinFirst
			}
		}
		if len(missing) == 0 && !s.lost() {
			wait = rejoinLast
		}
		t := time.NewTimer(jitter(wait))
		select {
		case <-ctx.Done():
		case <-s.rejoin:
			wait = rejoinFirst
			pause(ctx, wait) // Let what has just come settle.
		case <-t.C:
			wait = min(2*wait, rejoinLast)
		}
		t.Stop()
	}
}

// lost tells whether the node knows nobody that is alive, but seeds.
func (s *session) lost() bool {
	return len(s.in.seeds) > 0 && len(s.peers(StateAlive))+len(s.peers(StateSuspect)) == 0
}

// look tries to reach some of the missing nodes, and then the seeds. It tells
// whether anybody answered.
func (s *session) look(ctx context.Context, missing []Node) bool {
	rand.Shuffle(len(missing), func(i, j int) { missing[i], missing[j] = missing[j], missing[i] })
	var addrs []string
	for _, n := range missing[:min(len(missing), rejoinAtOnce)] {
		if a, ok := s.m.gossipAddr(n.ID); ok {
			addrs = append(addrs, a)
		}
	}
	if len(addrs) > 0 {
		n, err := s.list.Join(addrs)
		if n > 0 {
			return true
		}
		s.log.Debug("look for nodes", "err", err)
	}
	if !s.lost() {
		return false
	}
	for _, seed := range s.in.seeds {
		if err := s.m.syncAddr(ctx, seed); err != nil {
			s.log.Debug("ask seed", "seed", seed, "err", err)
			continue
		}
		return true
	}
	return false
}

// gossipAddr returns where a node gossips.
func (m *Mesh) gossipAddr(id NodeID) (string, bool) {
	e := m.replica.table.get(ref{KindNode, string(id)})
	if e == nil || e.info == nil {
		return "", false
	}
	return net.JoinHostPort(e.info.links[0].Addr.String(), strconv.Itoa(int(e.info.gossipPort))), true
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
