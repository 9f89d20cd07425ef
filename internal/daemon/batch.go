package daemon

import (
	"context"

	"edgenet.dev/edgenet/pkg/mesh"
	"edgenet.dev/edgenet/pkg/tunnel"
)

// putNew gives drivers at once what they have not yet, which is much after a start
// in a large mesh. Whatever comes of it, each peer is put by itself afterwards: that
// finds nothing to do, or says what is wrong.
func (t *tunnels) putNew(ctx context.Context, want map[mesh.NodeID]tunnel.Peer, choices map[mesh.NodeID]choice) {
	for _, c := range t.carriers {
		driver, ok := c.driver.(tunnel.Batcher)
		if !ok || c.peers == nil {
			continue
		}
		var missing []tunnel.Peer
		for id, peer := range want {
			if choices[id].Technology == c.technology && c.peers[peer.Prefix].PublicKey != peer.PublicKey {
				peer.Rest = t.rests[id].resting()
				missing = append(missing, peer)
			}
		}
		if len(missing) < 2 {
			continue
		}
		if err := driver.PutAll(ctx, missing); err != nil {
			t.log.Debug("peers cannot be put at once", "driver", c.driver.Name(), "err", err)
		}
	}
}
