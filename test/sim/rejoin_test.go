package sim

import (
	"context"
	"testing"
	"time"
)

// move gives a node that does not run another address, and starts it there.
func (n *node) move(ctx context.Context, to int) error {
	n.host = n.world.network.Host(address(to))
	return n.start(ctx)
}

// moveFirst moves that many nodes one after the other, each while the others run.
func (w *World) moveFirst(t *testing.T, count int) {
	t.Helper()
	for i, n := range w.nodes[:count] {
		if err := n.halt(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if err := n.move(t.Context(), 100+i); err != nil {
			t.Fatal(err)
		}
		w.whole(t)
	}
}

// A node that was away finds the mesh again though the authority, which was its
// token's seed, and all others but one are elsewhere by then, and it is too.
//
//	before:  10.1.0.0 authority   .1   .2   .3   .4 away
//	after:   10.1.0.100           .101 .102 .3   .104
func TestANodeComesBackWhenTheSeedsHaveMoved(t *testing.T) {
	inWorld(t, Config{Nodes: 5, Endpoints: 5, WAN: country}, func(t *testing.T, w *World) {
		away := w.nodes[4]
		if err := away.halt(); err != nil {
			t.Fatal(err)
		}
		w.moveFirst(t, 3)
		time.Sleep(10 * time.Minute)
		if err := away.move(t.Context(), 104); err != nil {
			t.Fatal(err)
		}
		t.Logf("whole after %s", w.whole(t))
	})
}

// All others are elsewhere: they find the node that was away, since it is where it
// was.
func TestANodeIsFoundWhenAllOthersHaveMoved(t *testing.T) {
	inWorld(t, Config{Nodes: 4, Endpoints: 4, WAN: country}, func(t *testing.T, w *World) {
		away := w.nodes[3]
		if err := away.halt(); err != nil {
			t.Fatal(err)
		}
		w.moveFirst(t, 3)
		if err := away.start(t.Context()); err != nil {
			t.Fatal(err)
		}
		t.Logf("whole after %s", w.whole(t))
	})
}

// All nodes stop at once and start at once: nobody is dead for good.
func TestAMassRestartHeals(t *testing.T) {
	inWorld(t, Config{Nodes: 8, Endpoints: 8, WAN: country}, func(t *testing.T, w *World) {
		for range 2 {
			if err := w.Stop(); err != nil {
				t.Fatal(err)
			}
			if err := w.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			took := w.whole(t)
			t.Logf("whole after %s", took)
			if took > 15*time.Second {
				t.Errorf("that is too long")
			}
		}
	})
}

// A partition heals by itself, whoever is on which side.
func TestAPartitionHeals(t *testing.T) {
	inWorld(t, Config{Nodes: 7, Endpoints: 7, WAN: country}, func(t *testing.T, w *World) {
		hosts := w.hosts()
		w.network.Cut(hosts[:2], hosts[2:])
		w.network.Cut(hosts[2:], hosts[:2])
		time.Sleep(5 * time.Minute)
		for i, n := range w.nodes {
			want := 5
			if i < 2 {
				want = 2
			}
			if got := n.sees(); got != want {
				t.Errorf("%s sees %d nodes in its part, want %d", name(i), got, want)
			}
		}
		w.network.Heal()
		if took := w.whole(t); took > 30*time.Second {
			t.Errorf("healed after %s", took)
		}
	})
}
