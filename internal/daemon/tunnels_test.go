package daemon

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"edgenet.dev/edgenet/internal/config"
	"edgenet.dev/edgenet/internal/records"
	"edgenet.dev/edgenet/pkg/mesh"
	"edgenet.dev/edgenet/pkg/tunnel"
)

func announcing(t *testing.T, id mesh.NodeID, prefix string, key tunnel.PublicKey) mesh.Node {
	t.Helper()
	payload, err := proto.Marshal(&records.Announcement{Wireguard: &records.WireGuard{PublicKey: key[:], Proof: proofOf(t, key, id), Port: 51820}})
	if err != nil {
		t.Fatal(err)
	}
	return mesh.Node{
		ID: id, Name: string(id[:4]), State: mesh.StateAlive, Announcement: payload,
		Prefix: netip.MustParsePrefix(prefix), Links: []mesh.Link{{Addr: netip.MustParseAddr("198.18.0.3")}},
	}
}

// choose is what a node that runs WireGuard chooses without a policy.
func choose(t *testing.T, nodes []mesh.Node) map[mesh.NodeID]choice {
	t.Helper()
	self := tunnel.End{Node: "self", Drivers: []string{tunnel.WireGuardUserspace}}
	return chooseAll(self, nodes, tunnel.Policy{})
}

// Two nodes have the same key, one being a copy of the other: the tunnel stays where
// it is.
func TestANodeCannotTakeAnothersTunnel(t *testing.T) {
	own, theirs := tunnel.PublicKey{1}, lowerKey1
	honest := announcing(t, here, "fd00:1:1111::/64", theirs)
	thief := announcing(t, there, "fd00:1:2222::/64", theirs)
	tun := &tunnels{
		links: []config.Underlay{{Addr: netip.MustParseAddr("198.18.0.2")}},
		carriers: []*carrier{{
			technology: tunnel.WireGuard, key: own,
			peers: map[netip.Prefix]tunnel.PeerStatus{honest.Prefix: {Peer: tunnel.Peer{PublicKey: theirs, Prefix: honest.Prefix}}},
		}},
	}
	for _, nodes := range [][]mesh.Node{{honest, thief}, {thief, honest}} {
		want, err := tun.wantPeers(nodes, choose(t, nodes))
		if len(want) != 1 || want[honest.ID].Prefix != honest.Prefix {
			t.Errorf("got peers %v, want the honest one alone", want)
		}
		if err == nil || !strings.Contains(err.Error(), "announces the tunnel key of node") {
			t.Errorf("got %v, want that it is said", err)
		}
	}
	copycat := []mesh.Node{announcing(t, there, "fd00:1:2222::/64", own)}
	want, err := tun.wantPeers(copycat, choose(t, copycat))
	if len(want) != 0 || err == nil || !strings.Contains(err.Error(), "own tunnel key") {
		t.Errorf("got %v, %v for a node with this node's key", want, err)
	}
}

// Who attaches a moment after a start waits for the device that is being made, and
// no longer than until it is known that it cannot be.
func TestAnAttachAwaitsTheTunnelDevice(t *testing.T) {
	for name, next := range map[string]tunnelState{
		"made":    {device: tunnel.Device{Name: "en0"}},
		"refused": {problem: errors.New("no such driver")},
	} {
		tun := &tunnels{}
		waited := make(chan struct{})
		go func() {
			defer close(waited)
			tun.awaitReady(t.Context())
		}()
		tun.replace(tunnelState{})
		select {
		case <-waited:
			t.Fatalf("%s: does not wait", name)
		case <-time.After(20 * time.Millisecond):
		}
		tun.replace(next)
		<-waited
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	(&tunnels{}).awaitReady(ctx) // returns
}
