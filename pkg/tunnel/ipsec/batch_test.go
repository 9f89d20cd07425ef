package ipsec

import (
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"edgenet.dev/edgenet/pkg/tunnel"
	"edgenet.dev/edgenet/pkg/tunnel/internal/proc"
)

// strangers are peers that nobody is, with different addresses.
func strangers(t *testing.T, count int) []tunnel.Peer {
	t.Helper()
	var out []tunnel.Peer
	for i := range count {
		public, _, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, tunnel.Peer{
			PublicKey: tunnel.PublicKey(public), Keepalive: 25 * time.Second, Rest: true,
			Endpoint: netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(i)}), listenPort),
			Prefix:   netip.MustParsePrefix(fmt.Sprintf("fd12:3400:1:%x::/64", 1+i)),
		})
	}
	return out
}

// Many peers are there after one call, each with an id of its own. What cannot be
// is Put's to tell of, and what is there by then is left as it is.
func TestManyPeersArePutAtOnce(t *testing.T) {
	t.Parallel()
	f := newFleet(t, newHarness(t, KindUserspace, 1))
	all := strangers(t, 3*batch+1)
	wrong, second := all[0], all[1]
	wrong.PublicKey[0], wrong.Prefix = wrong.PublicKey[0]^1, mesh
	second.PublicKey[0] ^= 1
	batcher, ok := f.drivers[0].(tunnel.Batcher)
	if !ok {
		t.Fatal("the driver takes no batches")
	}
	check := func(what string) {
		t.Helper()
		if err := batcher.PutAll(t.Context(), append(all, wrong, second)); err != nil {
			t.Fatal(err)
		}
		got := f.peers(t, 0)
		ids := map[uint32]bool{}
		for _, p := range all {
			have := got[p.PublicKey].Peer
			have.Rest = p.Rest
			if have != p {
				t.Errorf("%s: %+v is put as %+v", what, p, have)
			}
			ids[f.raw(0).seen.conns[p.PublicKey].child.reqID] = true
		}
		if len(got) != len(all) || len(ids) != len(all) {
			t.Errorf("%s: there are %d peers with %d ids, want %d", what, len(got), len(ids), len(all))
		}
	}
	check("new ones")
	before := f.raw(0).lastReqID
	check("the same again")
	f.put(t, 0, all...)
	if f.raw(0).lastReqID != before {
		t.Error("what was there was put again")
	}
}

// What is put at once and does not rest is begun with, by the node whose turn it is.
func TestPeersThatArePutAtOnceAreBegunWith(t *testing.T) {
	t.Parallel()
	f := newFleet(t, newHarness(t, KindUserspace, 2))
	for node := range f.names {
		if err := f.drivers[node].(tunnel.Batcher).PutAll(t.Context(), []tunnel.Peer{f.peer(1 - node)}); err != nil {
			t.Fatal(err)
		}
		if f.raw(node).tried[f.keys[1-node].Public()].IsZero() { // both have just been started
			t.Errorf("node %d has not begun", node)
		}
	}
	f.await(t, 0, 1)
	f.await(t, 1, 0)
}

// A charon that is asked for nothing has not answered.
func TestWhatIsNotAskedIsNotAnswered(t *testing.T) {
	now := time.Unix(1000, 0)
	d := newDriver(Config{Kind: KindUserspace, Logger: slog.New(slog.DiscardHandler), Now: func() time.Time { return now }}.withDefaults())
	d.device = tunnel.Device{Name: "device"}
	known := strangers(t, 1)
	d.seen = &snapshot{at: now, conns: map[tunnel.PublicKey]conn{known[0].PublicKey: {prefix: known[0].Prefix}}}
	for range 2 {
		d.silence.Unanswered(now)
	}
	if err := d.PutAll(t.Context(), known); err != nil {
		t.Fatal(err)
	}
	if !d.silence.Hangs(now.Add(proc.HangTime)) {
		t.Error("it is taken to have answered")
	}
}

// What follows a request without an answer is not asked of charon, though the driver
// has seen lately what it has.
func TestManyPeersDoNotWaitForAMuteCharon(t *testing.T) {
	now := time.Unix(1000, 0)
	d := newDriver(Config{Kind: KindUserspace, Logger: slog.New(slog.DiscardHandler), Now: func() time.Time { return now }, RunDir: t.TempDir(), Device: "device", Key: newKey(t)}.withDefaults())
	d.device, d.mute = tunnel.Device{Name: "device", Mesh: mesh, Address: mesh.Addr().Next(), ListenPort: listenPort}, true
	d.seen = &snapshot{at: now, conns: map[tunnel.PublicKey]conn{}}
	if err := d.PutAll(t.Context(), strangers(t, 1)); !errors.Is(err, errMute) {
		t.Errorf("got %v, want %v", err, errMute)
	}
}
