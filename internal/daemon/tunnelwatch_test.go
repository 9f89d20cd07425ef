package daemon_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"connectrpc.com/connect"

	api "edgenet.dev/edgenet/api/edgenet/v1"
	"edgenet.dev/edgenet/internal/daemon/daemontest"
)

// watchTunnels passes on what a watch is sent. The channel has no room: who does not
// read is slow.
func watchTunnels(t *testing.T, n *daemontest.Node, names ...string) <-chan *api.WatchTunnelsResponse {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	sent, done := make(chan *api.WatchTunnelsResponse), make(chan error, 1)
	go func() {
		done <- n.WatchTunnels(ctx, &api.WatchTunnelsRequest{Nodes: names}, func(m *api.WatchTunnelsResponse) error {
			select {
			case sent <- m:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	return sent
}

func words(m *api.WatchTunnelsResponse) string {
	e := m.GetEvent()
	return strings.Join([]string{e.GetType(), e.GetNode(), e.GetWas(), e.GetIs(), e.GetWhy()}, " ")
}

func TestTunnelsAreWatched(t *testing.T) {
	cloud, _ := pair(t)
	sent := watchTunnels(t, cloud, "edge-1")
	const fastest = "the fastest that both have: WireGuard, in userspace on cloud-1 and edge-1"
	const why = "tunnel policy any: ipsec: not possible on cloud-1 and edge-1"
	first := <-sent
	if words(first) != "present edge-1  connecting "+fastest || first.GetEvent().GetTunnel().GetDriver() != "wireguard-userspace" {
		t.Errorf("the first is %v", first)
	}
	if second := <-sent; words(second) != "synced    " {
		t.Errorf("the second is %v", second)
	}
	if err := setRule(cloud, "any", "ipsec", true)(t); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"problem edge-1  impossible " + why, "state edge-1 connecting down " + why} {
		if m := <-sent; words(m) != want {
			t.Errorf("told %q, want %q", words(m), want)
		}
	}
	if err := cloud.RemoveTunnelRule(t.Context(), &api.RemoveTunnelRuleRequest{Between: "any"}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"problem-over edge-1 impossible  " + why, "state edge-1 down connecting " + fastest} {
		if m := <-sent; words(m) != want {
			t.Errorf("told %q, want %q", words(m), want)
		}
	}
}

// Who does not read holds nobody up, is told that something was left out, and then
// how it is.
func TestASlowWatchIsToldWhatItMissed(t *testing.T) {
	cloud, _ := pair(t)
	slow := watchTunnels(t, cloud)
	<-slow // there is a watch; what follows waits
	const many = 10_000
	cloud.TellOfTunnels(many)
	told, left, presents := uint64(0), uint64(0), 0
	for m := range slow {
		left += m.GetLeftOut()
		switch typ := m.GetEvent().GetType(); {
		case typ == "rekeyed":
			told++
		case typ == "present" && left > 0:
			presents++
		}
		if presents > 0 && m.GetEvent().GetType() == "synced" {
			break
		}
	}
	if told+left != many || told == 0 || presents != 1 {
		t.Errorf("told of %d, %d were left out, of %d; then of %d tunnels", told, left, many, presents)
	}
	cloud.TellOfTunnels(1)
	if m := <-slow; m.GetEvent().GetType() != "rekeyed" {
		t.Errorf("after that: %v", m)
	}
}

func TestOneTunnelIsAskedFor(t *testing.T) {
	cloud, edge := pair(t)
	one, err := cloud.GetTunnel("edge-1")
	if err != nil || one.GetNode() != "edge-1" || one.GetTunnel().GetState() != "connecting" || one.GetTunnel().GetSince() == nil {
		t.Errorf("got %v, %v", one, err)
	}
	_, err = edge.GetTunnel("edge-1")
	wantCode(t, err, connect.CodeInvalidArgument, `node "edge-1" is this node itself`)
	_, err = edge.GetTunnel("edge-9")
	wantCode(t, err, connect.CodeNotFound, `node "edge-9": not found`)
	err = edge.WatchTunnels(t.Context(), &api.WatchTunnelsRequest{Nodes: []string{"edge-9"}}, nil)
	wantCode(t, err, connect.CodeNotFound, `watch tunnels: node "edge-9": not found`)
}
