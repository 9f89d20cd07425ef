package daemon

import (
	"maps"
	"net/netip"
	"testing"
	"time"

	"edgenet.dev/edgenet/pkg/mesh"
	"edgenet.dev/edgenet/pkg/tunnel/probe"
)

// A node is dead to the datapath if the mesh says so and its tunnel is silent, and
// never by one of the two alone.
func TestADeadNodeIsOneThatDoesNotAnswer(t *testing.T) {
	addr := netip.MustParseAddr("fd00:1:2222::1")
	silent := map[netip.Addr]probe.Stats{addr: {SilentSince: time.Now()}}
	heard := map[netip.Addr]probe.Stats{addr: {}}
	for _, c := range []struct {
		state mesh.State
		stats map[netip.Addr]probe.Stats
		want  bool
	}{
		{mesh.StateDead, silent, true},
		{mesh.StateDead, heard, false},
		{mesh.StateDead, nil, false},
		{mesh.StateExpired, nil, true},
		{mesh.StateSuspect, silent, false},
		{mesh.StateAlive, silent, false},
	} {
		s := &snapshot{nodes: map[mesh.NodeID]mesh.Node{there: {ID: there, Addr: addr, State: c.state}}}
		asked := 0
		reaches := map[mesh.NodeID]reach{there: {device: "tun", mtu: 1400}, here: {device: "tun"}}
		before := maps.Clone(reaches)
		bury(s, reaches, func() map[netip.Addr]probe.Stats { asked++; return c.stats })
		if got := reaches[there].dead; got != c.want {
			t.Errorf("%s, %v: dead is %t", c.state, c.stats, got)
		}
		if !c.want && !maps.Equal(before, reaches) {
			t.Errorf("%s: %v became %v", c.state, before, reaches)
		}
		if c.state != mesh.StateDead && asked > 0 {
			t.Errorf("%s: the probes were asked", c.state)
		}
	}
}
