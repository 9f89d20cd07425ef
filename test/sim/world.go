package sim

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"edgenet.dev/edgenet/internal/records"
	"edgenet.dev/edgenet/pkg/mesh"
	"edgenet.dev/edgenet/test/sim/wan"
)

// Config says what to simulate.
type Config struct {
	// Nodes is how many nodes there are, Endpoints how many endpoints they have
	// together.
	Nodes, Endpoints int
	// Authorities is how many of the nodes may sign for the whole mesh, one if 0.
	Authorities int
	// Dir holds the nodes' state directories. It should be in memory.
	Dir string
	WAN wan.Config
	// Profile is that of all nodes, mesh.ProfileWAN if empty.
	Profile mesh.Profile
	// Shared has equal records be kept once for all nodes, and not written to
	// every node's disk at first: else a thousand nodes do not fit.
	Shared bool
}

// World is a mesh that is simulated. It lives in a bubble of testing/synctest.
type World struct {
	cfg     Config
	random  *rand.Rand
	network *wan.Network
	nodes   []*node
	changes changes
	gossip  gossipLog
	// shared is nil if nothing is shared; lent is what its first records take.
	shared *mesh.Shared
	lent   float64 // bytes
}

// node is one node of the mesh.
type node struct {
	world *World
	index int
	dir   string
	host  *wan.Host
	mesh  *mesh.Mesh
	id    mesh.NodeID
	// underlay wraps the host, if it is not nil.
	underlay func(*wan.Host) mesh.Network
	// stop ends Run; done is what Run returns.
	stop context.CancelFunc
	done chan error
	// endpoints are the keys of its own.
	endpoints []string
	// skew is how far its wall clock is ahead of the true time.
	skew atomic.Int64 // nanoseconds
}

// address returns that of a node.
func address(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, byte(1 + i>>16), byte(i >> 8), byte(i)})
}

func name(i int) string { return fmt.Sprintf("n%05d", i) }

// New makes the state of all nodes: each has joined the mesh by a token and knows
// all records. None runs yet.
func New(ctx context.Context, cfg Config) (*World, error) {
	w := &World{
		cfg: cfg, random: rand.New(rand.NewPCG(cfg.WAN.Seed, 1)), network: wan.New(cfg.WAN),
	}
	w.gossip.init()
	if cfg.Shared {
		w.shared = mesh.NewShared()
	}
	for i := range cfg.Nodes {
		w.nodes = append(w.nodes, &node{
			world: w, index: i, dir: filepath.Join(cfg.Dir, name(i)), host: w.network.Host(address(i)),
		})
	}
	if err := w.found(ctx); err != nil {
		return nil, fmt.Errorf("make %d nodes: %w", cfg.Nodes, err)
	}
	return w, nil
}

// config is what a node's Mesh is opened with.
func (n *node) config(network mesh.Network) mesh.Config {
	return mesh.Config{
		StateDir: n.dir, Name: name(n.index), Version: "sim",
		Links:   []mesh.Link{{Addr: n.host.Addr(), Carrier: "sim"}},
		Network: network,
		Profile: n.world.cfg.Profile,
		Now:     func() time.Time { return time.Now().Add(time.Duration(n.skew.Load())) },
		Logger:  slog.New(&n.world.gossip),
		Shared:  n.world.shared,
		Validate: func(r mesh.Record) error {
			if err := records.Validate(r); err != nil {
				return err
			}
			n.world.changes.arrive(n.index, r)
			return nil
		},
	}
}

// start opens a node and has it take part.
func (n *node) start(ctx context.Context) error {
	var network mesh.Network = n.host
	if n.underlay != nil {
		network = n.underlay(n.host)
	}
	m, err := mesh.Open(n.config(network))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	n.mesh, n.stop, n.done = m, cancel, make(chan error, 1)
	n.world.gossip.up(n.id, true)
	go func() { n.done <- m.Run(ctx) }()
	select {
	case <-m.Ready():
		return nil
	case err := <-n.done:
		cancel()
		return errors.Join(err, m.Close())
	}
}

// halt ends a node as a kill would: it says nothing.
func (n *node) halt() error {
	if n.stop == nil {
		return nil
	}
	n.world.gossip.up(n.id, false)
	n.stop()
	err := errors.Join(<-n.done, n.mesh.Close())
	n.stop, n.mesh = nil, nil
	return err
}

// Start starts all nodes within a second: those that start at the very same
// instant would go in step for ever, since their tickers do.
func (w *World) Start(ctx context.Context) error {
	var after []time.Duration
	for range w.nodes {
		after = append(after, time.Duration(w.random.Int64N(int64(time.Second))))
	}
	slices.Sort(after)
	begin := time.Now()
	for i, n := range w.nodes {
		err := wan.Wait(ctx, after[i]-time.Since(begin))
		if err == nil {
			err = n.start(ctx)
		}
		if err != nil {
			return fmt.Errorf("start node %s: %w", name(n.index), err)
		}
	}
	return nil
}

// Stop ends all nodes.
func (w *World) Stop() error {
	var errs []error
	for _, n := range w.nodes {
		errs = append(errs, n.halt())
	}
	return errors.Join(errs...)
}

// up returns the nodes that run.
func (w *World) up() []*node {
	var out []*node
	for _, n := range w.nodes {
		if n.mesh != nil {
			out = append(out, n)
		}
	}
	return out
}

// sees tells how many nodes are alive in a node's view, itself included.
func (n *node) sees() int {
	alive := 0
	for _, other := range n.mesh.Nodes() {
		if other.State == mesh.StateAlive {
			alive++
		}
	}
	return alive
}

// awaitWhole waits until every node that runs sees all that run as alive and no
// other, looking every so often. It returns how long that took.
func (w *World) awaitWhole(ctx context.Context, every, limit time.Duration) (time.Duration, error) {
	begin, all := time.Now(), w.up()
	for i := 0; i < len(all); {
		alive := all[i].sees()
		if alive == len(all) {
			i++ // A later look would only find what has come since.
			continue
		}
		if time.Since(begin) > limit {
			return 0, fmt.Errorf("await %d nodes: after %s %s sees %d", len(all), limit, name(all[i].index), alive)
		}
		if err := wan.Wait(ctx, every); err != nil {
			return 0, err
		}
	}
	return time.Since(begin), nil
}
