package tunneltest_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"go.uber.org/goleak"

	"edgenet.dev/edgenet/pkg/tunnel"
	"edgenet.dev/edgenet/pkg/tunnel/tunneltest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestMemoryConforms(t *testing.T) {
	tunneltest.Conform(t, func(*testing.T) tunneltest.Harness { return &memoryHarness{} })
}

type memoryHarness struct{ network tunneltest.Network }

func key(side tunneltest.Side) tunnel.PublicKey { return tunnel.PublicKey{1, byte(side)} }

func (h *memoryHarness) Driver(_ *testing.T, side tunneltest.Side) tunnel.Driver {
	return h.network.Driver(key(side))
}

func (h *memoryHarness) Device(side tunneltest.Side) tunnel.Device {
	return tunnel.Device{
		Name:       "en" + side.String(),
		ListenPort: 51820,
		MTU:        1420,
		Address:    h.Peer(side).Prefix.Addr().Next(),
		Mesh:       netip.MustParsePrefix("fd12:3400::/24"),
	}
}

func (h *memoryHarness) Peer(side tunneltest.Side) tunnel.Peer {
	return tunnel.Peer{
		PublicKey: key(side),
		Endpoint:  netip.MustParseAddrPort(fmt.Sprintf("192.0.2.%d:51820", 10+int(side))),
		Prefix:    netip.MustParsePrefix(fmt.Sprintf("fd12:3400:0:%x::/64", 1+int(side))),
		Keepalive: 25 * time.Second,
	}
}

func (h *memoryHarness) Rekey(_ *testing.T, side tunneltest.Side) tunnel.Peer {
	p := h.Peer(side)
	p.PublicKey[31] = 0xff
	return p
}

func (h *memoryHarness) Deliver(t *testing.T, from tunneltest.Side, src, dst netip.Addr) bool {
	_, first := h.network.Send(key(from), src, dst, 100)
	if _, err := h.network.Send(key(from), h.Device(from).Address, dst, 100); err != nil {
		t.Fatal(err)
	}
	return first == nil
}

func (h *memoryHarness) Stream(t *testing.T, from tunneltest.Side) func() (int, int) {
	sent, received := 0, 0
	send := func() {
		sent++
		if h.Deliver(t, from, h.Device(from).Address, h.Device(from.Other()).Address) {
			received++
		}
	}
	send()
	return func() (int, int) {
		send()
		return sent, received
	}
}

func (h *memoryHarness) Crash(_ *testing.T, side tunneltest.Side) bool {
	h.network.Driver(key(side)).Crash()
	return true
}

func (h *memoryHarness) Fingerprint(_ *testing.T, side tunneltest.Side) string {
	return fmt.Sprint(h.network.Writes(key(side)))
}

func (h *memoryHarness) Leftovers(t *testing.T, side tunneltest.Side) []string {
	if _, err := h.Driver(t, side).Peers(t.Context()); err == nil {
		return []string{"device"}
	}
	return nil
}
