package sim

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing/synctest"
	"time"

	"edgenet.dev/edgenet/test/sim/wan"
)

// Trial is a small mesh to which a schedule of faults and writes is done, as its
// seed draws it.
type Trial struct {
	Seed uint64
	// Length is how long that lasts.
	Length time.Duration
	// Dir holds the nodes' state directories. It should be in memory.
	Dir string
	// Limit is how long a mesh may take to heal.
	Limit time.Duration
}

// Outcome is what a trial has shown.
type Outcome struct {
	// Wrong is what must not be, in words.
	Wrong []string
	// Writes is how many were acknowledged, Alike after how long without faults
	// all nodes had the same.
	Writes int
	Alike  time.Duration
}

// err is nil if nothing is wrong.
func (o *Outcome) err() error {
	if len(o.Wrong) == 0 {
		return nil
	}
	return errors.New(strings.Join(o.Wrong, "\n"))
}

// shape draws how many nodes and authorities the seed has.
func (c Trial) shape() lot {
	random := rand.New(rand.NewPCG(c.Seed, 2))
	return lot{Rand: random, nodes: 8 + random.IntN(5), authorities: 2 + random.IntN(2)}
}

// Schedule is what the trial's seed draws.
func (c Trial) schedule() schedule { return c.shape().draw(c.Length) }

// trial is a Trial under way.
type trial struct {
	*World
	Trial
	history *history
	begin   time.Time
	due     timeline
	// cuts are those in force, by what has made them.
	cuts  map[int]cut
	names int
	// storms is how many weathers are in force.
	storms int
}

// cut is two sides between which nothing gets through, one way.
type cut struct{ from, to []*wan.Host }

// run does a schedule, in a bubble of testing/synctest. The error says what has
// kept it from that.
func (c Trial) run(ctx context.Context, steps schedule) (*Outcome, error) {
	shape := c.shape()
	w, err := New(ctx, Config{
		Nodes: shape.nodes, Authorities: shape.authorities, Endpoints: 3 * shape.nodes, Dir: c.Dir,
		WAN: wan.Config{
			Latency: 20 * time.Millisecond, Jitter: 2 * time.Millisecond, Loss: 0.001, Tick: time.Millisecond, Seed: c.Seed,
		},
	})
	if err != nil {
		time.Sleep(linger)
		return nil, err
	}
	t := &trial{World: w, Trial: c, history: newHistory(shape.nodes), cuts: make(map[int]cut)}
	out := &Outcome{}
	err = t.do(ctx, steps, out)
	out.Wrong = t.history.wrong
	return out, errors.Join(err, w.end())
}

// do starts the mesh, does the steps, and looks at what has become of it.
func (t *trial) do(ctx context.Context, steps schedule, out *Outcome) error {
	if err := t.remember(); err != nil {
		return err
	}
	if err := t.Start(ctx); err != nil {
		return err
	}
	if _, err := t.awaitWhole(ctx, time.Second, t.Limit); err != nil {
		return err
	}
	t.begin = time.Now()
	for _, s := range steps {
		t.in(s.at, func(ctx context.Context) error { return t.step(ctx, s) })
	}
	for t.due.Len() > 0 {
		next := heap.Pop(&t.due).(event)
		if err := wan.Wait(ctx, next.at-time.Since(t.begin)); err != nil {
			return err
		}
		synctest.Wait() // What others do at this instant is done.
		if err := next.do(ctx); err != nil {
			return fmt.Errorf("after %s: %w", next.at, err)
		}
		t.observe()
	}
	for _, writes := range t.history.writes {
		out.Writes += len(writes)
	}
	return t.finish(ctx, out)
}

// remember takes the records that the mesh was made with for written.
func (t *trial) remember() error {
	for _, n := range t.nodes {
		disk, err := n.onDisk()
		if err != nil {
			return err
		}
		for _, key := range n.endpoints {
			r := ref{endpointKind, key}
			s := disk[r]
			t.history.acknowledge(n.index, r, written{by: n.id, payload: s.payload, above: s.version - 1, upTo: s.version})
		}
		t.history.forget(n.index)
	}
	return nil
}

// observe has a look at all nodes that run.
func (t *trial) observe() {
	for _, n := range t.up() {
		t.history.look(n.index, n.mesh)
	}
}

// finish waits until all nodes that are there have the same, and compares that
// with what was written. Clocks stay as they are.
func (t *trial) finish(ctx context.Context, out *Outcome) error {
	healed := time.Now()
	if _, err := t.awaitWhole(ctx, time.Second, t.Limit); err != nil {
		t.history.blame("the mesh does not heal: %v", err)
		return nil
	}
	for {
		same, difference, err := t.alike()
		switch {
		case err != nil:
			return err
		case same != nil:
			out.Alike = time.Since(healed)
			t.history.settle(same)
			return t.stays(ctx, same)
		case time.Since(healed) > t.Limit:
			t.history.blame("%s after the last fault nodes do not have the same: %s", t.Limit, difference)
			return nil
		}
		if err := wan.Wait(ctx, time.Second); err != nil {
			return err
		}
		t.observe()
	}
}

// stays looks whether nothing comes to a mesh that is at rest.
func (t *trial) stays(ctx context.Context, before map[ref]state) error {
	if err := wan.Wait(ctx, 20*time.Second); err != nil {
		return err
	}
	t.observe()
	after, difference, err := t.alike()
	if err != nil {
		return err
	}
	if after == nil {
		t.history.blame("nodes had the same and have no longer: %s", difference)
		return nil
	}
	for r, s := range after {
		if !s.equal(before[r]) {
			t.history.blame("%s has changed by itself", r)
		}
	}
	return nil
}

// alike returns what all nodes have on disk, if that is the same to the last
// byte of every envelope, and one difference if it is not.
func (t *trial) alike() (same map[ref]state, difference string, err error) {
	synctest.Wait() // Nothing is being written.
	for _, n := range t.nodes {
		disk, err := n.onDisk()
		if err != nil {
			return nil, "", err
		}
		if same == nil {
			same = disk
			continue
		}
		for r, s := range same {
			if other := disk[r]; !s.equal(other) {
				return nil, fmt.Sprintf("%s is of version %d on %s and %d on %s", r, s.version, name(0), other.version, name(n.index)), nil
			}
		}
		for r, s := range disk {
			if _, ok := same[r]; !ok {
				return nil, fmt.Sprintf("%s is of version %d on %s and not on %s", r, s.version, name(n.index), name(0)), nil
			}
		}
	}
	return same, "", nil
}

// event is something that is done at a time since the trial's beginning.
type event struct {
	at time.Duration
	do func(context.Context) error
}

// timeline has events, the next first.
type timeline []event

func (t timeline) Len() int           { return len(t) }
func (t timeline) Less(i, j int) bool { return t[i].at < t[j].at }
func (t timeline) Swap(i, j int)      { t[i], t[j] = t[j], t[i] }
func (t *timeline) Push(x any)        { *t = append(*t, x.(event)) }
func (t *timeline) Pop() any {
	last := len(*t) - 1
	e := (*t)[last]
	*t = (*t)[:last]
	return e
}

// in has something done at a time since the beginning.
func (t *trial) in(at time.Duration, do func(context.Context) error) {
	heap.Push(&t.due, event{at, do})
}

// later has something done after a while.
func (t *trial) later(after time.Duration, do func(context.Context) error) {
	t.in(time.Since(t.begin)+after, do)
}
