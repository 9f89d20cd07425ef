package tunneltest

import (
	"maps"
	"net/netip"
	"slices"
	"testing"
	"time"

	"edgenet.dev/edgenet/pkg/tunnel"
)

// cases is the suite.
var cases = []struct {
	name string
	run  func(t *testing.T, h Harness)
}{
	{"up twice is a no-op", upTwice},
	{"put twice is a no-op", putTwice},
	{"packets flow both ways", packetsFlow},
	{"a source outside of the peer's prefix is dropped", allowedIPsHold},
	{"delete of an absent peer is no error", deleteAbsent},
	{"a deleted peer is gone", deletePresent},
	{"a prefix moves to a new key put first", rekeyPutFirst},
	{"a prefix moves to a new key put last", rekeyDeleteFirst},
	{"a wanted endpoint that changes is taken at once", endpointChanges},
	{"a new driver adopts and loses no packet", adoption},
	{"down without up and down twice are no errors", downTwice},
	{"up after down starts anew", upAfterDown},
	{"a crash is repaired by up and put", crash},
	{"a changed device is made so", deviceChanges},
}

// Conform runs the suite: each of its cases on a harness of its own, and side
// by side, for most of their time is spent waiting for handshakes. All have
// ended when it returns.
func Conform(t *testing.T, newHarness func(t *testing.T) Harness) {
	t.Helper()
	t.Run("conforms", func(t *testing.T) {
		for _, c := range cases {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				c.run(t, newHarness(t))
			})
		}
	})
}

// pair is both sides up, each with the other as its peer.
type pair struct {
	h       Harness
	drivers [2]tunnel.Driver
}

func (p pair) left() tunnel.Driver { return p.drivers[Left] }

func bringUp(t *testing.T, h Harness) pair {
	t.Helper()
	p := pair{h: h}
	for _, s := range []Side{Left, Right} {
		p.drivers[s] = h.Driver(t, s)
		up(t, p.drivers[s], h.Device(s))
		t.Cleanup(func() { takeDown(t, h, s) })
	}
	for _, s := range []Side{Left, Right} {
		put(t, p.drivers[s], h.Peer(s.Other()))
	}
	return p
}

// takeDown is each case's end, and proves Down for each state a case ends in.
func takeDown(t *testing.T, h Harness, s Side) {
	t.Helper()
	d := h.Driver(t, s)
	if err := d.Down(cleanupContext()); err != nil {
		t.Errorf("down of %s: %v", s, err)
	}
	if left := h.Leftovers(t, s); len(left) > 0 {
		t.Errorf("down of %s left %q", s, left)
	}
}

func upTwice(t *testing.T, h Harness) {
	p := bringUp(t, h)
	before := h.Fingerprint(t, Left)
	up(t, p.left(), h.Device(Left))
	same(t, before, h.Fingerprint(t, Left))
}

func putTwice(t *testing.T, h Harness) {
	p := bringUp(t, h)
	before := h.Fingerprint(t, Left)
	put(t, p.left(), h.Peer(Right))
	same(t, before, h.Fingerprint(t, Left))
	want := h.Peer(Right)
	if got := peers(t, p.left())[want.PublicKey].Peer; got != want {
		t.Errorf("peer is %+v, want %+v", got, want)
	}
}

func packetsFlow(t *testing.T, h Harness) {
	p := bringUp(t, h)
	for _, from := range []Side{Left, Right} {
		delivers(t, h, from)
	}
	got := peers(t, p.left())[h.Peer(Right).PublicKey]
	if got.LastHandshake.IsZero() || time.Since(got.LastHandshake) > time.Minute {
		t.Errorf("last handshake is %v, want now", got.LastHandshake)
	}
	if got.RxBytes == 0 || got.TxBytes == 0 {
		t.Errorf("bytes are %d in, %d out, want some", got.RxBytes, got.TxBytes)
	}
}

func allowedIPsHold(t *testing.T, h Harness) {
	bringUp(t, h)
	// In the mesh, but the /64 of a node that is no peer.
	prefix := h.Peer(Left).Prefix.Addr().As16()
	prefix[7] ^= 0xff
	prefix[15] = 1
	if h.Deliver(t, Left, netip.AddrFrom16(prefix), h.Device(Right).Address) {
		t.Error("a forged source was delivered")
	}
}

func deleteAbsent(t *testing.T, h Harness) {
	p := bringUp(t, h)
	before := h.Fingerprint(t, Left)
	remove(t, p.left(), h.Rekey(t, Right).PublicKey)
	same(t, before, h.Fingerprint(t, Left))
}

func deletePresent(t *testing.T, h Harness) {
	p := bringUp(t, h)
	remove(t, p.left(), h.Peer(Right).PublicKey)
	if got := peers(t, p.left()); len(got) != 0 {
		t.Errorf("peers are %v, want none", slices.Collect(maps.Keys(got)))
	}
	put(t, p.left(), h.Peer(Right))
	delivers(t, h, Right)
}

func rekeyPutFirst(t *testing.T, h Harness) {
	p := bringUp(t, h)
	old, now := h.Rekey(t, Right), h.Peer(Right)
	remove(t, p.left(), now.PublicKey)
	put(t, p.left(), old)
	put(t, p.left(), now)
	remove(t, p.left(), old.PublicKey)
	onlyPeer(t, p.left(), now)
	delivers(t, h, Left)
}

func rekeyDeleteFirst(t *testing.T, h Harness) {
	p := bringUp(t, h)
	old, now := h.Rekey(t, Right), h.Peer(Right)
	remove(t, p.left(), now.PublicKey)
	put(t, p.left(), old)
	remove(t, p.left(), old.PublicKey)
	put(t, p.left(), now)
	onlyPeer(t, p.left(), now)
	delivers(t, h, Left)
}

func endpointChanges(t *testing.T, h Harness) {
	p := bringUp(t, h)
	delivers(t, h, Left)
	moved := h.Peer(Right)
	moved.Endpoint = netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), 9)
	put(t, p.left(), moved)
	onlyPeer(t, p.left(), moved)
}

func adoption(t *testing.T, h Harness) {
	bringUp(t, h)
	delivers(t, h, Left)
	before := h.Fingerprint(t, Left)
	stop := h.Stream(t, Left)

	d := h.Driver(t, Left)
	up(t, d, h.Device(Left))
	put(t, d, h.Peer(Right))
	onlyPeer(t, d, h.Peer(Right))

	sent, received := stop()
	if sent == 0 || received != sent {
		t.Errorf("%d of %d datagrams arrived, want all of some", received, sent)
	}
	same(t, before, h.Fingerprint(t, Left))
}

func downTwice(t *testing.T, h Harness) {
	takeDown(t, h, Left)
	d := h.Driver(t, Left)
	up(t, d, h.Device(Left))
	down(t, d)
	down(t, d)
	if left := h.Leftovers(t, Left); len(left) > 0 {
		t.Errorf("down left %q", left)
	}
}

func upAfterDown(t *testing.T, h Harness) {
	p := bringUp(t, h)
	down(t, p.left())
	up(t, p.left(), h.Device(Left))
	put(t, p.left(), h.Peer(Right))
	delivers(t, h, Left)
}

func crash(t *testing.T, h Harness) {
	p := bringUp(t, h)
	delivers(t, h, Left)
	if !h.Crash(t, Left) {
		t.Skip("driver has no process of its own")
	}
	up(t, p.left(), h.Device(Left))
	put(t, p.left(), h.Peer(Right))
	delivers(t, h, Left)
}

func deviceChanges(t *testing.T, h Harness) {
	p := bringUp(t, h)
	want := h.Device(Left)
	want.MTU -= 20
	want.ListenPort++
	up(t, p.left(), want)
	put(t, p.left(), h.Peer(Right)) // a driver may have to begin anew for a port
	before := h.Fingerprint(t, Left)
	up(t, p.left(), want)
	put(t, p.left(), h.Peer(Right))
	same(t, before, h.Fingerprint(t, Left))
	delivers(t, h, Left) // the right side learns the new port by roaming
}
