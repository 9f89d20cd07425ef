package daemon

import (
	"fmt"
	"net/netip"

	"edgenet.dev/edgenet/pkg/tunnel"
)

// lead gives nodes that are reached by IPsec routes of their own: where both
// devices are up, the mesh's leads into WireGuard's. They are there while only
// IPsec's is up, too, so that nothing has to change when the other comes.
func (t *tunnels) lead() error {
	want := map[netip.Prefix]string{}
	devices := map[netip.Prefix]tunnel.Device{}
	for _, n := range t.nodes {
		w, ok := t.ways[n.ID]
		if c := t.carrier(w.on); ok && w.on != tunnel.WireGuard && c.device.Name != "" {
			want[n.Prefix], devices[n.Prefix] = c.device.Name, c.device
		}
	}
	set, err := t.ensureRoutes(t.mesh.MeshPrefix(), want)
	if err != nil {
		return fmt.Errorf("lead to nodes: %w", err)
	}
	for _, to := range set {
		if t.led[to] == devices[to] { // and not to one that is new
			t.log.Warn("the route to a node was gone and is set again", "prefix", to, "device", want[to])
		}
	}
	t.led = devices
	return nil
}
