package daemon

import (
	"net/netip"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	api "edgenet.dev/edgenet/api/edgenet/v1"
	"edgenet.dev/edgenet/pkg/mesh"
	"edgenet.dev/edgenet/pkg/tunnel/probe"
)

// ListTunnels returns the tunnel to every other node that has not left, by name.
func (d *Daemon) ListTunnels() []*api.PeerTunnel {
	t, stats := d.tunnels.current(), d.tunnels.probes.stats()
	out := []*api.PeerTunnel{}
	for _, n := range d.mesh.Nodes() {
		if hasTunnel(n) {
			out = append(out, apiPeerTunnel(n, t, stats))
		}
	}
	return out
}

// GetTunnel returns the tunnel to a node by its name or id.
func (d *Daemon) GetTunnel(nameOrID string) (*api.PeerTunnel, error) {
	n, ok := d.mesh.Node(nameOrID)
	switch {
	case !ok:
		return nil, notFound("node %q: not found", nameOrID)
	case n.Local:
		return nil, invalid("node %q is this node itself: it has no tunnel to it", nameOrID)
	case n.State == mesh.StateEvicted:
		return nil, notFound("node %q was evicted from the mesh", nameOrID)
	case n.State == mesh.StateExpired:
		return nil, notFound("node %q has no tunnels: its certificate has expired", nameOrID)
	case n.State.Gone():
		return nil, notFound("node %q has left the mesh", nameOrID)
	}
	return apiPeerTunnel(n, d.tunnels.current(), d.tunnels.probes.stats()), nil
}

// hasTunnel tells whether there is something to say of the tunnel to a node.
func hasTunnel(n mesh.Node) bool { return !n.Local && !n.State.Gone() }

func apiPeerTunnel(n mesh.Node, t tunnelState, stats map[netip.Addr]probe.Stats) *api.PeerTunnel {
	out := &api.PeerTunnel{Node: n.Name, NodeId: string(n.ID), Tunnel: apiTunnel(n, t, stats)}
	c, looked := t.choices[n.ID]
	if looked && c.err == nil {
		out.Technology, out.Driver, out.PeerDriver = string(c.Technology), c.Local, c.Remote
	}
	if seen, there := t.seen[n.ID]; there {
		out.Why = seen.why
	} else {
		out.Why = facts{choice: c, looked: looked, broken: t.problem}.why()
	}
	return out
}

func apiTunnel(n mesh.Node, t tunnelState, stats map[netip.Addr]probe.Stats) *api.Tunnel {
	out := &api.Tunnel{Driver: t.driver, Device: t.device.Name, State: tunnelDown, Mtu: uint32(t.device.MTU)}
	seen, known := t.seen[n.ID]
	if known {
		out.State, out.Since, out.Rekeys = seen.state, timestamppb.New(seen.since), seen.rekeys
		for _, p := range seen.problems {
			out.Problems = append(out.Problems, &api.TunnelProblem{Kind: p.kind, Message: p.words, Since: timestamppb.New(p.since)})
		}
	}
	peer, ok := t.peers[n.ID]
	if !ok {
		if out.GetState() == tunnelUnneeded {
			out.Driver, out.Device, out.Mtu = "", "", 0
		}
		return out
	}
	out.Driver, out.Device, out.Mtu = peer.driver, peer.device.Name, uint32(peer.device.MTU)
	if peer.Endpoint.IsValid() {
		out.Endpoint = peer.Endpoint.String()
	}
	out.RxBytes, out.TxBytes = peer.RxBytes, peer.TxBytes
	out.ReplayedPackets, out.ForgedPackets = peer.Replayed, peer.Forged
	out.Cipher = cipherName(peer.Cipher)
	out.LastHandshake, out.SessionSince = timeOrNone(peer.LastHandshake), timeOrNone(peer.Authenticated)
	out.PathMtu, out.PathMtuBasis = uint32(peer.size.mtu), peer.size.basis.String()
	if st, ok := stats[n.Addr]; ok {
		measured(out, st)
	}
	return out
}

// measured fills in what probes have found. A time that was measured before answers
// ceased is not one of now.
func measured(out *api.Tunnel, st probe.Stats) {
	if st.SilentSince.IsZero() {
		out.RttMs, out.RttVariationMs = milliseconds(st.RTT), milliseconds(st.Variation)
	}
	out.LastAnswer, out.PathMtuConfirmed = timeOrNone(st.LastAnswer), timeOrNone(st.MTUConfirmed)
	out.Probes, out.ProbesLost = uint32(st.Sent), uint32(st.Lost)
}

// forgetFigures leaves what does not change all the time.
func forgetFigures(t *api.Tunnel) {
	t.RxBytes, t.TxBytes, t.ReplayedPackets, t.ForgedPackets = 0, 0, 0, 0
	t.RttMs, t.RttVariationMs, t.Probes, t.ProbesLost, t.Rekeys = 0, 0, 0, 0, 0
	t.LastHandshake, t.SessionSince, t.LastAnswer, t.PathMtuConfirmed = nil, nil, nil, nil
}

// timeOrNone is absent for the zero time.
func timeOrNone(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// cipherName is a cipher in the API's words; drivers have those of what they drive.
func cipherName(driver string) string {
	switch {
	case strings.HasPrefix(driver, "aes_gcm_16-256"):
		return "aes-256-gcm"
	case strings.HasPrefix(driver, "chacha20"):
		return "chacha20-poly1305"
	}
	return driver
}
