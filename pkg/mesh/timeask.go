package mesh

import (
	"context"
	"math/rand/v2"
	"time"

	"edgenet.dev/edgenet/pkg/mesh/internal/wire"
)

const (
	// clockPeers is how many peers a node asks of its own accord: of four clocks one
	// can be wrong, its own or another.
	clockPeers = 3
	// askTimeFirst is after what time it asks again where it has not heard from
	// enough; it doubles, up to askTimeLast.
	askTimeFirst = time.Second
	askTimeLast  = time.Minute
)

// runAskTime asks peers what time it is, soon after the daemon began: nothing else
// may call a peer for minutes, and what is signed meanwhile by a clock that is ahead
// is taken by nobody.
func (s *session) runAskTime(ctx context.Context) {
	for wait := askTimeFirst; pause(ctx, jitter(wait)); wait = min(2*wait, askTimeLast) {
		peers := s.peers(StateAlive)
		rand.Shuffle(len(peers), func(i, j int) { peers[i], peers[j] = peers[j], peers[i] })
		for _, n := range peers {
			if s.m.replica.times.heard() >= clockPeers {
				return
			}
			if s.m.replica.times.heardOf(n.ID) {
				continue
			}
			if _, err := s.m.exchange(ctx, PeerURL(n.ID), &wire.SyncRequest{}); err != nil {
				s.log.Debug("ask what time it is", "peer", n.ID, "err", err)
			}
		}
	}
}
