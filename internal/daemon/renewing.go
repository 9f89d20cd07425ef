package daemon

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"edgenet.dev/edgenet/pkg/mesh"
	"edgenet.dev/edgenet/pkg/tunnel"
	"edgenet.dev/edgenet/pkg/tunnel/probe"
)

// renew has sessions made anew by which a node does not answer, though the mesh hears
// it: the two ends may believe in different ones. A node that is dead begins by itself
// when it comes back.
func (t *tunnels) renew(ctx context.Context, choices map[mesh.NodeID]choice, stats map[netip.Addr]probe.Stats) error {
	var problems []error
	for _, n := range t.nodes {
		c := t.carrier(choices[n.ID].Technology)
		if c == nil || n.State != mesh.StateAlive || t.rests[n.ID].resting() || !t.isSettled(n, c) {
			continue
		}
		r, can := c.driver.(tunnel.Renewer)
		since := stats[nodeAddr(n.Prefix)].SilentSince
		status := c.peers[n.Prefix]
		if !can || since.IsZero() || !status.Live {
			continue
		}
		if err := r.Renew(ctx, status.PublicKey, since); err != nil {
			problems = append(problems, about(n, problemDriver, fmt.Errorf("renew the tunnel's session: %w", err)))
		}
	}
	return errors.Join(problems...)
}
