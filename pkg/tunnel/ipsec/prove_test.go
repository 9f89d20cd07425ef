package ipsec

import (
	"log/slog"
	"testing"
	"time"

	"edgenet.dev/edgenet/pkg/tunnel/probe"
)

func TestUserspaceIsProvedByItsDevice(t *testing.T) { provedByItsDevice(t, KindUserspace) }

func TestKernelIsProvedByItsDevice(t *testing.T) {
	requireKernel(t)
	provedByItsDevice(t, KindKernel)
}

// A probe that is bound to the device goes out by it, and its answer, that of the
// peer's kernel, comes by it: also where that is an interface of XFRM.
func provedByItsDevice(t *testing.T, kind Kind) {
	h := newHarness(t, kind, 2)
	f := newFleet(t, h)
	f.full(t)
	f.keep(t, 0, f.peer(1))
	f.keep(t, 1, f.peer(0))
	name, to := h.deviceName(t, 0), h.device(1).Address
	p, err := probe.New(probe.Config{Logger: slog.New(slog.DiscardHandler), Source: h.device(0).Address, Interval: 100 * time.Millisecond, Listen: probe.Via(name)})
	if err != nil {
		t.Fatal(err)
	}
	p.SetPeers([]probe.Peer{{Addr: to, Limit: h.device(0).MTU}})
	done := make(chan error, 1)
	go func() { done <- h.lab.Spaces[0].Do(func() error { return p.Run(t.Context()) }) }()
	t.Cleanup(func() {
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(30 * time.Second); p.Stats()[to].LastAnswer.IsZero(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("no answer: %+v", p.Stats()[to])
		}
	}
}
