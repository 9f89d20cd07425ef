package daemon

import (
	"fmt"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"edgenet.dev/edgenet/pkg/mesh"
	"edgenet.dev/edgenet/pkg/tunnel"
	"edgenet.dev/edgenet/pkg/tunnel/probe"
)

// manyTunnels is what a round has found of so many, all up.
func manyTunnels(n int) (*tunnels, tunnelState) {
	state := tunnelState{
		device: tunnel.Device{Name: "en0", MTU: 1440}, driver: "wireguard-kernel",
		peers: map[mesh.NodeID]peerState{}, choices: map[mesh.NodeID]choice{},
	}
	t := &tunnels{probes: &probing{}, log: slog.New(slog.DiscardHandler)}
	for i := range n {
		f := healthy()
		f.node = mesh.Node{ID: mesh.NodeID(fmt.Sprintf("%040x", i)), Name: fmt.Sprintf("edge-%d", i), State: mesh.StateAlive}
		f.node.Prefix = netip.PrefixFrom(netip.AddrFrom16([16]byte{0xfd, 0, 0, 1, byte(i >> 8), byte(i)}), 64)
		f.node.Addr = nodeAddr(f.node.Prefix)
		t.nodes = append(t.nodes, f.node)
		state.peers[f.node.ID], state.choices[f.node.ID] = *f.peer, f.choice
	}
	return t, state
}

// Of a thousand tunnels: how they are, and what has changed, if nothing has and if
// everything has.
func BenchmarkSeen(b *testing.B) {
	const many = 1000
	for _, c := range []struct {
		name   string
		change func(*peerState)
		events int
	}{
		{"unchanged", func(*peerState) {}, 0},
		{"changed", func(p *peerState) { p.Live = false }, many},
	} {
		b.Run(c.name, func(b *testing.B) {
			t, state := manyTunnels(many)
			t.state.seen = t.seen(state, noon)
			for id, p := range state.peers {
				c.change(&p)
				state.peers[id] = p
			}
			b.ReportAllocs()
			for b.Loop() {
				now := noon.Add(resync)
				state.seen = t.seen(state, now)
				if events := tunnelEvents(now, t.state.seen, state.seen); len(events) != c.events {
					b.Fatalf("there are %d events", len(events))
				}
			}
		})
	}
}

// The answer to a caller who lists a thousand tunnels.
func BenchmarkListTunnels(b *testing.B) {
	t, state := manyTunnels(1000)
	state.seen = t.seen(state, noon)
	stats := map[netip.Addr]probe.Stats{}
	for _, n := range t.nodes {
		stats[n.Addr] = probe.Stats{RTT: time.Millisecond, LastAnswer: noon, Sent: 100}
	}
	b.ReportAllocs()
	for b.Loop() {
		for _, n := range t.nodes {
			_ = apiPeerTunnel(n, state, stats)
		}
	}
}
