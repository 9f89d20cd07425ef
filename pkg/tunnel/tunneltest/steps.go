package tunneltest

import (
	"context"
	"maps"
	"slices"
	"testing"

	"edgenet.dev/edgenet/pkg/tunnel"
)

// cleanupContext is for clean-up functions: a test's own context is done by
// then.
func cleanupContext() context.Context { return context.Background() }

func up(t *testing.T, d tunnel.Driver, want tunnel.Device) {
	t.Helper()
	if _, err := d.Up(t.Context(), want); err != nil {
		t.Fatal(err)
	}
}

func put(t *testing.T, d tunnel.Driver, want tunnel.Peer) {
	t.Helper()
	if err := d.Put(t.Context(), want); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, d tunnel.Driver, key tunnel.PublicKey) {
	t.Helper()
	if err := d.Delete(t.Context(), key); err != nil {
		t.Fatal(err)
	}
}

func down(t *testing.T, d tunnel.Driver) {
	t.Helper()
	if err := d.Down(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func peers(t *testing.T, d tunnel.Driver) map[tunnel.PublicKey]tunnel.PeerStatus {
	t.Helper()
	got, err := d.Peers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func onlyPeer(t *testing.T, d tunnel.Driver, want tunnel.Peer) {
	t.Helper()
	got := peers(t, d)
	if keys := slices.Collect(maps.Keys(got)); len(keys) != 1 || got[want.PublicKey].Peer != want {
		t.Errorf("peers are %+v, want only %+v", got, want)
	}
}

// delivers sends from the side's own address to the other's.
func delivers(t *testing.T, h Harness, from Side) {
	t.Helper()
	if !h.Deliver(t, from, h.Device(from).Address, h.Device(from.Other()).Address) {
		t.Errorf("a datagram from %s was not delivered", from)
	}
}

func same(t *testing.T, before, after string) {
	t.Helper()
	if before != after {
		t.Errorf("it was touched:\nbefore %s\nafter  %s", before, after)
	}
}
