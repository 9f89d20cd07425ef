package wireguard

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"edgenet.dev/edgenet/pkg/tunnel"
	"edgenet.dev/edgenet/pkg/tunnel/tunneltest"
)

func TestUserspaceGoesOverToAnotherKey(t *testing.T) { goesOverToAnotherKey(t, KindUserspace) }

func TestKernelGoesOverToAnotherKey(t *testing.T) {
	requireKernel(t)
	goesOverToAnotherKey(t, KindKernel)
}

// inHalf is an address in one half of a prefix.
func inHalf(of netip.Prefix, upper bool) netip.Addr {
	addr := tunnel.Half(of, upper).Addr().As16()
	addr[15] = 9
	return netip.AddrFrom16(addr)
}

// tenantIn is a tenants' address in the half of another one, which is the node's own.
func tenantIn(own netip.Addr) netip.Addr {
	addr := own.As16()
	addr[8] |= 1
	return netip.AddrFrom16(addr)
}

// The left node goes over to another key: packets of the half that is the old
// key's pass until it is deleted, those of the other half from the moment on at
// which the node has the new one.
func goesOverToAnotherKey(t *testing.T, kind Kind) {
	h := newHarness(t, kind)
	left, right := h.Driver(t, tunneltest.Left), h.Driver(t, tunneltest.Right)
	bringUp(t, h, left, right)
	before, far := h.Peer(tunneltest.Left), h.Peer(tunneltest.Right).Prefix.Addr().Next()
	next, err := generateAfter(h.keys[tunneltest.Left])
	if err != nil {
		t.Fatal(err)
	}
	after := before
	after.PublicKey, after.Keepalive = next.Public(), 0
	old, other := inHalf(before.Prefix, before.PublicKey.Upper()), inHalf(before.Prefix, after.PublicKey.Upper())
	stream := func(from tunneltest.Side, src, dst netip.Addr) func(string) {
		stop := h.lab.Stream(t, int(from), int(from.Other()), src, dst)
		return func(which string) {
			t.Helper()
			sent, received := stop()
			t.Logf("%s: %d of %d datagrams lost", which, sent-received, sent)
			if sent != received {
				t.Errorf("%s: %d of %d datagrams were lost", which, sent-received, sent)
			}
		}
	}
	settles(t, func(from tunneltest.Side, src, dst netip.Addr) (int, int) {
		return h.lab.Stream(t, int(from), int(from.Other()), src, dst)()
	}, old, far)
	there, back := stream(tunneltest.Left, old, far), stream(tunneltest.Right, far, old)

	after.Former = tunnel.Former{
		PublicKey: before.PublicKey, Half: tunnel.Half(before.Prefix, before.PublicKey.Upper()),
		Address: h.Device(tunneltest.Left).Address, Keepalive: before.Keepalive,
	}
	put(t, right, after)
	fingerprint := h.Fingerprint(t, tunneltest.Right)
	put(t, right, after)
	if again := h.Fingerprint(t, tunneltest.Right); again != fingerprint {
		t.Errorf("the same once more changed\n%s\nto\n%s", fingerprint, again)
	}
	there("by the old key, while both are known")
	tenants := func(string) {}
	if kind == KindUserspace { // which has tenants' packets say what they go by, whatever they said
		tenants = stream(tunneltest.Left, tenantIn(old), far)
	}
	setKey(t, left, next)
	meets(t, right, next.Public())
	tenants("said to be the old key's, before and after it was replaced")
	there = stream(tunneltest.Left, other, far)
	back("to the old key, before and after it was replaced")
	back = stream(tunneltest.Right, far, other)

	after.Former, after.Keepalive = tunnel.Former{}, before.Keepalive
	put(t, right, after)
	if err := right.Delete(t.Context(), before.PublicKey); err != nil {
		t.Fatal(err)
	}
	whole := stream(tunneltest.Right, far, old)
	there("by the new key")
	back("to the new key")
	whole("to the old half by the new key")
	peers, err := right.Peers(t.Context())
	if err != nil || len(peers) != 1 || peers[next.Public()].Prefix != before.Prefix || !peers[next.Public()].Live {
		t.Errorf("peers are %+v, %v, want the one with %s and a session", peers, err, before.Prefix)
	}
}

// settles waits until packets pass both ways without a loss: what is sent before the
// first session waits, and more than fits may be lost.
func settles(t *testing.T, stream func(from tunneltest.Side, src, dst netip.Addr) (sent, received int), left, right netip.Addr) {
	t.Helper()
	for range 10 {
		sent1, received1 := stream(tunneltest.Left, left, right)
		sent2, received2 := stream(tunneltest.Right, right, left)
		if sent1 == received1 && sent2 == received2 {
			return
		}
	}
	t.Fatal("packets are lost though nothing is changed")
}

func bringUp(t *testing.T, h *harness, drivers ...tunnel.Driver) {
	t.Helper()
	for side, d := range drivers {
		if _, err := d.Up(t.Context(), h.Device(tunneltest.Side(side))); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := d.Down(context.WithoutCancel(t.Context())); err != nil { // the context has ended by now
				t.Error(err)
			}
		})
	}
	// The left one alone begins, when the other one knows it: of two that begin at
	// once, one may go by a session that is the other's next, which a new key ends.
	for side, d := range slices.Backward(drivers) {
		peer := h.Peer(tunneltest.Side(side).Other())
		if tunneltest.Side(side) != tunneltest.Left {
			peer.Keepalive = 0
		}
		put(t, d, peer)
	}
}

func put(t *testing.T, d tunnel.Driver, p tunnel.Peer) {
	t.Helper()
	if err := d.Put(t.Context(), p); err != nil {
		t.Fatal(err)
	}
}

func setKey(t *testing.T, d tunnel.Driver, key PrivateKey) {
	t.Helper()
	spaced := d.(tunneltest.Spaced)
	err := spaced.Space.Do(func() error {
		d := spaced.Driver.(*driver)
		called := false
		if err := d.SetKey(t.Context(), key, func() { called = true }); err != nil || !called {
			return fmt.Errorf("the device has the key is said: %t, %w", called, err)
		}
		if has, err := d.Key(t.Context()); err != nil || has != key.Public() {
			return fmt.Errorf("the device has another key than it was given: %w", err)
		}
		return d.Greet(t.Context())
	})
	if err != nil {
		t.Fatal(err)
	}
}

// meets waits until a driver's peer has made a handshake, though nobody sends
// anything.
func meets(t *testing.T, d tunnel.Driver, key tunnel.PublicKey) {
	t.Helper()
	deadline := time.Now().Add(tunneltest.DeliverTimeout)
	for time.Now().Before(deadline) {
		peers, err := d.Peers(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if peers[key].Live {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("the peer with the new key makes no handshake")
}

// What a former key keeps is asked for once, and added: there is no moment in
// which it has nothing.
func TestPlanOfAFormerKeyTakesNothingAway(t *testing.T) {
	prefix := netip.MustParsePrefix("fd12:3400:0:1::/64")
	endpoint := netip.MustParseAddrPort("198.18.0.1:51820")
	oldKey, newKey := tunnel.PublicKey{1}, tunnel.PublicKey{2}
	want := tunnel.Peer{PublicKey: newKey, Endpoint: endpoint, Prefix: prefix, Former: tunnel.Former{
		PublicKey: oldKey, Half: tunnel.Half(prefix, true), Address: prefix.Addr().Next(),
	}}
	d := &driver{wanted: map[tunnel.PublicKey]netip.AddrPort{}, now: time.Now}
	s := &snapshot{peers: map[tunnel.PublicKey]peer{oldKey: {endpoint: endpoint, allowed: []netip.Prefix{prefix}, configured: true}}}
	changes := d.plans(s, want)
	if len(changes) != 2 || changes[0].ReplaceAllowedIPs || len(changes[0].AllowedIPs) != 2 || !changes[0].UpdateOnly {
		t.Fatalf("changes are %+v, want an addition to the former key first", changes)
	}
	for _, c := range changes {
		s.put(tunnel.PublicKey(c.PublicKey), c)
	}
	if got := s.peers[oldKey].status(oldKey, d.now()).Prefix; got != want.Former.Half {
		t.Errorf("the former key has %s, want %s", got, want.Former.Half)
	}
	if got := s.peers[newKey].status(newKey, d.now()).Prefix; got != prefix {
		t.Errorf("the new key has %s, want %s", got, prefix)
	}
	if again := d.plans(s, want); len(again) != 0 {
		t.Errorf("the same once more changes %+v", again)
	}
}

func TestFormerKeysThatCannotBeAreRefused(t *testing.T) {
	prefix := netip.MustParsePrefix("fd12:3400:0:1::/64")
	good := tunnel.Peer{PublicKey: tunnel.PublicKey{2}, Prefix: prefix, Former: tunnel.Former{PublicKey: tunnel.PublicKey{1}, Half: tunnel.Half(prefix, true)}}
	if err := validatePeer(good); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*tunnel.Former){
		"no key":            func(f *tunnel.Former) { f.PublicKey = tunnel.PublicKey{} },
		"the same key":      func(f *tunnel.Former) { f.PublicKey = good.PublicKey },
		"all of the prefix": func(f *tunnel.Former) { f.Half = prefix },
		"another's half":    func(f *tunnel.Former) { f.Half = netip.MustParsePrefix("fd12:3400:0:2::/65") },
		"another's address": func(f *tunnel.Former) { f.Address = netip.MustParseAddr("fd12:3400:0:2::1") },
		"keepalive":         func(f *tunnel.Former) { f.Keepalive = -1 },
	} {
		p := good
		change(&p.Former)
		if validatePeer(p) == nil {
			t.Errorf("%s: is accepted", name)
		}
	}
}
