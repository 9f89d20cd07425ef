package wireguard

import (
	"net/netip"
	"testing"
	"time"

	"edgenet.dev/edgenet/pkg/tunnel/probe"
	"edgenet.dev/edgenet/pkg/tunnel/tunneltest"
)

// The prober's raw socket through a real tunnel: the peer's kernel answers.
func TestTunnelIsMeasured(t *testing.T) {
	n := newNode(t)
	n.up(t)
	other := n.harness.Driver(t, tunneltest.Right)
	t.Cleanup(func() {
		if err := other.Down(contextOfCleanup()); err != nil {
			t.Errorf("down: %v", err)
		}
	})
	peer := n.Device(tunneltest.Right)
	if _, err := other.Up(t.Context(), peer); err != nil {
		t.Fatal(err)
	}
	if err := other.Put(t.Context(), n.Peer(tunneltest.Left)); err != nil {
		t.Fatal(err)
	}
	if err := n.Put(t.Context(), n.Peer(tunneltest.Right)); err != nil {
		t.Fatal(err)
	}

	p, err := probe.New(probe.Config{Logger: discard, Source: n.want.Address, Interval: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	p.SetPeers([]probe.Peer{{Addr: peer.Address, Limit: n.want.MTU}})
	ended := make(chan error, 1)
	go func() { ended <- n.space.Do(func() error { return p.Run(t.Context()) }) }()
	t.Cleanup(func() { // t.Context is done by now
		if err := <-ended; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	got := awaitAnswers(t, p, peer.Address)
	if got.RTT <= 0 || got.RTT > 10*time.Second {
		t.Errorf("round-trip time is %s", got.RTT)
	}
}

func awaitAnswers(t *testing.T, p *probe.Prober, addr netip.Addr) probe.Stats {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(tunneltest.DeliverTimeout)
	for {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("stats are %+v, want answers", p.Stats()[addr])
		}
		if s := p.Stats()[addr]; s.Sent-s.Lost >= 10 {
			return s
		}
	}
}
