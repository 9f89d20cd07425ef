package ipsec

import (
	"context"
	"log/slog"
	"slices"
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

// What the peer has made since Peers was asked it has made to wake: that is not ended,
// whatever charon says of its age. What Peers has told of is.
func TestAChildThatWakesIsNotEnded(t *testing.T) {
	now := time.Unix(10_000, 0)
	key := tunnel.PublicKey{1}
	old, fresh := childSA{id: 1, state: "INSTALLED", spiIn: 7, installed: now}, childSA{id: 2, state: "INSTALLED", spiIn: 8, installed: now.Add(-time.Second)}
	ended := childSA{id: 3, state: "DELETING"}
	for name, c := range map[string]struct {
		slumbers time.Time
		has      []childSA
		ends     bool
	}{
		"what was there is there":               {has: []childSA{old}, ends: true},
		"there is another":                      {has: []childSA{old, fresh}},
		"there is another alone":                {has: []childSA{fresh}},
		"there is another after what was ended": {slumbers: now, has: []childSA{fresh}},
		"what was there is being ended":         {has: []childSA{ended}},
	} {
		d := newDriver(Config{Now: func() time.Time { return now }, RunDir: t.TempDir(), Device: "i", Logger: slog.New(slog.DiscardHandler)})
		d.device.Name = "i"
		d.status(key, conn{}, []ikeSA{{id: 1, state: "ESTABLISHED", children: []childSA{old}}})
		if !c.slumbers.IsZero() {
			d.slumbers[key] = c.slumbers
		}
		s := &snapshot{sas: map[tunnel.PublicKey][]ikeSA{key: {{id: 1, state: "ESTABLISHED", children: c.has}}}}
		// There is no charon: whatever is asked of it is an error.
		if err := d.sleep(t.Context(), s, key); (err != nil) != c.ends {
			t.Errorf("%s: %v, want that a child is ended: %t", name, err, c.ends)
		}
		if wakes := slices.Contains(c.has, fresh); wakes && !d.slumbers[key].IsZero() {
			t.Errorf("%s: the peer is taken for one that sleeps", name)
		}
	}
}

// The peer may end the child that there was when this end woke, as it cannot know of
// that: it is called then, and not taken for one that rests.
func TestAPeerThatIsWokenIsNotDormant(t *testing.T) {
	now := time.Unix(10_000, 0)
	key := tunnel.PublicKey{1}
	d := newDriver(Config{Now: func() time.Time { return now }, RunDir: t.TempDir(), Device: "i", Logger: slog.New(slog.DiscardHandler)})
	d.device.Name = "i"
	dormant := []ikeSA{{id: 1, state: "ESTABLISHED"}}
	if !d.status(key, conn{}, dormant).Dormant {
		t.Fatal("a peer that has ended its child is not dormant")
	}
	d.tried[key] = now // it was begun, so that there is nothing to do
	if err := d.Wake(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	d.tried[key] = now.Add(-time.Minute)
	if d.status(key, conn{}, dormant).Dormant {
		t.Error("a peer that was woken is dormant")
	}
	if now = now.Add(retryAfter); !d.status(key, conn{}, dormant).Dormant {
		t.Error("a peer that has ended its child is not dormant for long after it was woken")
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
