package ipsec

import (
	"context"
	"testing"
	"time"

	"edgenet.dev/edgenet/pkg/tunnel"
	"edgenet.dev/edgenet/pkg/tunnel/tunneltest"
)

func TestUserspaceRestsAndWakes(t *testing.T) { restsAndWakes(t, KindUserspace) }

func TestKernelRestsAndWakes(t *testing.T) {
	requireKernel(t)
	restsAndWakes(t, KindKernel)
}

// asleep is how a peer is put that rests.
func (f *fleet) asleep(node int) tunnel.Peer {
	p := f.peer(node)
	p.Rest = true
	return p
}

// awaitStatus makes rounds with peers that rest until a status is as wanted.
func (f *fleet) awaitStatus(t *testing.T, node, other int, what string, is func(tunnel.PeerStatus) bool) {
	t.Helper()
	deadline := time.Now().Add(tunneltest.DeliverTimeout)
	var st tunnel.PeerStatus
	for time.Now().Before(deadline) {
		if st = f.peers(t, node)[f.keys[other].Public()]; is(st) {
			return
		}
		f.put(t, node, f.asleep(other))
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatalf("node %d: %s: peer is %+v", node, what, st)
}

// One end lets the session go: the other one sees first that it is wanted so, and
// then no session. Neither begins one, until it is woken, whichever does that, and
// though both do at once.
func restsAndWakes(t *testing.T, kind Kind) {
	t.Parallel()
	h := newHarness(t, kind, 2)
	f := newFleet(t, h)
	f.full(t)
	live := func(st tunnel.PeerStatus) bool { return st.Live }
	for _, wakers := range [][]int{{0}, {1}, {0, 1}} {
		f.put(t, 0, f.asleep(1))
		f.put(t, 1, f.asleep(0))
		if st := f.peers(t, 0)[f.keys[1].Public()]; !st.Live || st.Dormant || st.BehindNAT {
			t.Fatalf("before it is let go the peer is %+v", st)
		}
		sleep := func() {
			if err := f.raw(0).Sleep(t.Context(), f.keys[1].Public()); err != nil {
				t.Fatal(err)
			}
		}
		if !f.Deliver(t, 1, f.device(1).Address, f.device(0).Address) {
			t.Fatal("the peer's packet does not arrive")
		}
		sleep()
		if st := f.peers(t, 0)[f.keys[1].Public()]; !st.Live {
			t.Fatalf("the session goes though the peer sends: it is %+v", st)
		}
		sleep()
		f.awaitStatus(t, 1, 0, "sees it dormant", func(st tunnel.PeerStatus) bool { return st.Dormant && !st.Live })
		f.awaitStatus(t, 0, 1, "has no session", func(st tunnel.PeerStatus) bool {
			sleep()
			return !st.Dormant && !st.Live
		})
		f.awaitStatus(t, 1, 0, "has no session", func(st tunnel.PeerStatus) bool { return !st.Dormant && !st.Live })
		woken := time.Now()
		for _, node := range wakers {
			for range 2 { // the second time it is under way
				if err := f.raw(node).Wake(t.Context(), f.keys[1-node].Public()); err != nil {
					t.Fatal(err)
				}
			}
		}
		f.awaitStatus(t, 0, 1, "is woken", live)
		f.awaitStatus(t, 1, 0, "is woken", live)
		t.Logf("woken by %v in %s", wakers, time.Since(woken))
		for node := range f.names { // as rounds do, which settle who of two goes
			f.put(t, node, f.peer(1-node))
		}
	}
}

// However many are woken, or let go, at once: charon, which always lists all of its
// SAs, is read once.
func TestManyAreWokenAtOnce(t *testing.T) {
	const peers = 3
	f := newFleet(t, newHarness(t, KindUserspace, 1+peers))
	var keys []tunnel.PublicKey
	for other := 1; other <= peers; other++ {
		f.put(t, 0, f.asleep(other))
		f.put(t, other, f.asleep(0))
		keys = append(keys, f.keys[other].Public())
	}
	f.areReadFor(t, keys, sleepAge/peers, 1)
	f.areReadFor(t, keys, sleepAge+1, peers) // each has had the time to wake
	if err := f.raw(0).Wake(t.Context(), keys...); err != nil {
		t.Fatal(err)
	}
	for other := 1; other <= peers; other++ {
		f.awaitStatus(t, 0, other, "is woken", func(st tunnel.PeerStatus) bool { return st.Live })
	}
	if err := f.raw(0).Sleep(t.Context(), keys...); err != nil {
		t.Fatal(err)
	}
	for other := 1; other <= peers; other++ {
		f.awaitStatus(t, 0, other, "is let go", func(st tunnel.PeerStatus) bool { return !st.Live })
	}
}

// areReadFor counts how often node 0's charon is read for some peers, of whom each takes
// so long.
func (f *fleet) areReadFor(t *testing.T, keys []tunnel.PublicKey, each time.Duration, want int) {
	t.Helper()
	d, seen := f.raw(0), map[*snapshot]int{}
	before, clock := d.now, d.now()
	d.now = func() time.Time { return clock }
	defer func() { d.now = before }()
	err := d.each(t.Context(), "count", keys, sleepAge, func(_ context.Context, s *snapshot, _ tunnel.PublicKey) error {
		seen[s]++
		clock = clock.Add(each)
		return nil
	})
	if err != nil || len(seen) != want || seen[d.seen] != len(keys)/want {
		t.Errorf("%d readings for %d peers of %s each, %v, want %d", len(seen), len(keys), each, err, want)
	}
}
