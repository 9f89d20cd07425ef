package ipsec

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/strongswan/govici/vici"

	"edgenet.dev/edgenet/pkg/tunnel"
	"edgenet.dev/edgenet/pkg/tunnel/tunneltest"
)

// fleet is the nodes of a harness with their drivers, kept as a daemon would.
type fleet struct {
	*harness
	drivers []tunnel.Driver
}

// newFleet brings all nodes up.
func newFleet(t *testing.T, h *harness) *fleet {
	t.Helper()
	f := &fleet{harness: h}
	for node := range h.names {
		f.drivers = append(f.drivers, h.driver(t, node))
		t.Cleanup(func() {
			if err := f.drivers[node].Down(context.Background()); err != nil { //nolint:usetesting // a test's own context is done by then
				t.Errorf("down of node %d: %v", node, err)
			}
			if left := h.leftovers(t, node); len(left) > 0 {
				t.Errorf("down of node %d left %q", node, left)
			}
		})
		f.up(t, node)
	}
	return f
}

func (f *fleet) up(t *testing.T, node int) {
	t.Helper()
	if _, err := f.drivers[node].Up(t.Context(), f.device(node)); err != nil {
		t.Fatal(err)
	}
}

func (f *fleet) put(t *testing.T, node int, peers ...tunnel.Peer) {
	t.Helper()
	for _, p := range peers {
		if err := f.drivers[node].Put(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
}

func (f *fleet) peers(t *testing.T, node int) map[tunnel.PublicKey]tunnel.PeerStatus {
	t.Helper()
	got, err := f.drivers[node].Peers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// round is what a daemon does every two seconds and whenever it is poked.
func (f *fleet) round(ctx context.Context, node int, peers []tunnel.Peer) error {
	if _, err := f.drivers[node].Up(ctx, f.device(node)); err != nil {
		return err
	}
	if _, err := f.drivers[node].Peers(ctx); err != nil {
		return err
	}
	for _, p := range peers {
		if err := f.drivers[node].Put(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

// keep makes rounds on a node until the returned function is called.
func (f *fleet) keep(t *testing.T, node int, peers ...tunnel.Peer) (stop func()) {
	t.Helper()
	const resync = 2 * time.Second // the daemon's
	ctx, cancel := context.WithCancel(t.Context())
	dirty := make(chan struct{}, 1)
	var tasks sync.WaitGroup
	watcher := f.drivers[node].(tunneltest.Spaced)
	tasks.Go(func() {
		err := watcher.Watch(ctx, func() {
			select {
			case dirty <- struct{}{}:
			default:
			}
		})
		if err != nil {
			t.Errorf("watch: %v", err)
		}
	})
	tasks.Go(func() {
		ticker := time.NewTicker(resync)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			case <-dirty:
			}
			// One that charon's end cut off is made again at once.
			if err := f.round(ctx, node, peers); err != nil && ctx.Err() == nil {
				t.Logf("round of node %d: %v", node, err)
			}
		}
	})
	stop = sync.OnceFunc(func() {
		cancel()
		tasks.Wait()
	})
	t.Cleanup(stop)
	return stop
}

// full makes a tunnel between every two nodes, and waits until all are live.
func (f *fleet) full(t *testing.T) {
	t.Helper()
	for a := range f.names {
		for b := range f.names {
			if a != b {
				f.put(t, a, f.peer(b))
			}
		}
	}
	for a := range f.names {
		for b := range f.names {
			if a != b {
				f.await(t, a, b)
			}
		}
	}
}

// await waits until a node has a live tunnel to another.
func (f *fleet) await(t *testing.T, node, other int) tunnel.PeerStatus {
	t.Helper()
	deadline := time.Now().Add(tunneltest.DeliverTimeout)
	for time.Now().Before(deadline) {
		if st := f.peers(t, node)[f.keys[other].Public()]; st.Live {
			return st
		}
		f.put(t, node, f.peer(other))
	}
	t.Fatalf("node %d has no tunnel to node %d", node, other)
	return tunnel.PeerStatus{}
}

// raw returns the driver without its namespace.
func (f *fleet) raw(node int) *driver { return f.drivers[node].(tunneltest.Spaced).Driver.(*driver) }

// command asks a node's charon for something that no driver would.
func (f *fleet) command(t *testing.T, node int, name string, message any) error {
	t.Helper()
	m, err := vici.MarshalMessage(message)
	if err != nil {
		t.Fatal(err)
	}
	return request(t.Context(), f.dir(node), name, m)
}
