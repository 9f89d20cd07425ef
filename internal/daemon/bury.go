package daemon

import (
	"net/netip"

	"edgenet.dev/edgenet/pkg/mesh"
	"edgenet.dev/edgenet/pkg/tunnel/probe"
)

// bury marks the nodes that are dead: the mesh says so, and what is sent through the
// tunnel is not answered either. A node that others do not hear, or of which
// somebody lies, keeps its traffic for as long as the tunnel carries it.
func bury(s *snapshot, reaches map[mesh.NodeID]reach, probed func() map[netip.Addr]probe.Stats) {
	var stats map[netip.Addr]probe.Stats
	for id, r := range reaches {
		node, known := s.nodes[id]
		if known && node.State == mesh.StateExpired { // It has no tunnel that could be asked.
			r.dead = true
			reaches[id] = r
		}
		if !known || node.State != mesh.StateDead {
			continue
		}
		if stats == nil { // Hardly ever is a node dead.
			stats = probed()
		}
		if st, known := stats[node.Addr]; known && !st.SilentSince.IsZero() {
			r.dead = true
			reaches[id] = r
		}
	}
}
