package sim

import (
	"context"
	"slices"
	"sync"
	"time"

	"edgenet.dev/edgenet/pkg/mesh"
)

// changes follows what is put until it is everywhere.
type changes struct {
	mu      sync.RWMutex
	watched map[string][]*change
}

// change is one new state of one record, on its way.
type change struct {
	version mesh.Version
	begin   time.Time
	mu      sync.Mutex
	// took is after how long each node had it, unreached until then.
	took []time.Duration
	left int
	// everywhere is closed when no node is left.
	everywhere chan struct{}
}

const unreached time.Duration = -1

// arrive notes that a node has verified a record: it is in its table at the same
// instant.
func (c *changes) arrive(node int, r mesh.Record) {
	c.mu.RLock()
	all := c.watched[r.Key]
	c.mu.RUnlock()
	for _, w := range all {
		if r.Version >= w.version { // What has replaced it will do.
			w.reach(node)
		}
	}
}

// reach notes that a node has a change.
func (c *change) reach(node int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.took[node] != unreached {
		return
	}
	c.took[node] = time.Since(c.begin)
	if c.left--; c.left == 0 {
		close(c.everywhere)
	}
}

// change puts an endpoint of a node anew, and follows that until forget. Nothing
// can arrive elsewhere before it is followed: that takes time, and there passes
// none.
func (w *World) change(ctx context.Context, n *node, key string) (*change, error) {
	b, err := payload(w.random.IntN(1<<16), n.mesh.Now())
	if err != nil {
		return nil, err
	}
	c := &change{begin: time.Now(), took: make([]time.Duration, len(w.nodes)), everywhere: make(chan struct{})}
	r, err := n.mesh.Put(ctx, mesh.KindEndpoint, key, b)
	if err != nil {
		return nil, err
	}
	c.version = r.Version
	for i, other := range w.nodes {
		if other != n && other.mesh != nil {
			c.took[i], c.left = unreached, c.left+1
		}
	}
	w.changes.mu.Lock()
	defer w.changes.mu.Unlock()
	if w.changes.watched == nil {
		w.changes.watched = make(map[string][]*change)
	}
	w.changes.watched[key] = append(w.changes.watched[key], c)
	return c, nil
}

// forget follows nothing any more.
func (c *changes) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.watched)
}

// await waits until a change is everywhere, or a limit is over.
func (c *change) await(ctx context.Context, limit time.Duration) error {
	t := time.NewTimer(limit)
	defer t.Stop()
	select {
	case <-c.everywhere:
		return nil
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// delays returns after how long the nodes had it, in order, and how many had not.
func (c *change) delays() (took []time.Duration, missing int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, d := range c.took {
		if d == unreached {
			missing++
		} else {
			took = append(took, d)
		}
	}
	slices.Sort(took)
	return took, missing
}

// pick returns a random endpoint of a random node among some that has one.
func (w *World) pick(among []*node) (*node, string) {
	for {
		n := among[w.random.IntN(len(among))]
		if len(n.endpoints) > 0 {
			return n, n.endpoints[w.random.IntN(len(n.endpoints))]
		}
	}
}
