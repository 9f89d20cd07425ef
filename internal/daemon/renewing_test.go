package daemon

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"edgenet.dev/edgenet/pkg/mesh"
	"edgenet.dev/edgenet/pkg/tunnel"
	"edgenet.dev/edgenet/pkg/tunnel/probe"
)

// renewer is a driver that notes what is to be renewed.
type renewer struct {
	tunnel.Driver
	since map[tunnel.PublicKey]time.Time
}

func (r *renewer) Renew(_ context.Context, key tunnel.PublicKey, since time.Time) error {
	r.since[key] = since
	return nil
}

// The session of a node is made anew that the mesh hears and the tunnel does not.
func TestASilentSessionIsRenewed(t *testing.T) {
	silent := time.Unix(1_000_000, 0)
	prefix := netip.MustParsePrefix("fd00:1:1111::/64")
	for name, c := range map[string]struct {
		state   mesh.State
		since   time.Time
		live    bool
		resting bool
		renewed bool
	}{
		"silent":                    {mesh.StateAlive, silent, true, false, true},
		"it answers":                {mesh.StateAlive, time.Time{}, true, false, false},
		"it has no session":         {mesh.StateAlive, silent, false, false, false},
		"it is perhaps dead":        {mesh.StateSuspect, silent, true, false, false},
		"it is dead":                {mesh.StateDead, silent, true, false, false},
		"nothing is to be answered": {mesh.StateAlive, silent, true, true, false},
	} {
		r := &renewer{since: map[tunnel.PublicKey]time.Time{}}
		node := mesh.Node{ID: there, State: c.state, Prefix: prefix}
		tun := &tunnels{nodes: []mesh.Node{node}, rests: map[mesh.NodeID]rest{}, carriers: []*carrier{{
			technology: tunnel.IPsec, driver: r,
			peers: map[netip.Prefix]tunnel.PeerStatus{prefix: {Peer: tunnel.Peer{PublicKey: lowerKey1, Prefix: prefix}, Live: c.live}},
		}}}
		if c.resting {
			tun.rests[there] = rest{since: silent}
		}
		choices := map[mesh.NodeID]choice{there: {Choice: tunnel.Choice{Technology: tunnel.IPsec}}}
		if err := tun.renew(t.Context(), choices, map[netip.Addr]probe.Stats{nodeAddr(prefix): {SilentSince: c.since}}); err != nil {
			t.Fatal(err)
		}
		if got, renewed := r.since[lowerKey1]; renewed != c.renewed || renewed && got != c.since {
			t.Errorf("%s: it is renewed: %v, silent since %v", name, renewed, got)
		}
	}
}
