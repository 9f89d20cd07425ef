package sim

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"edgenet.dev/edgenet/pkg/mesh"
	"edgenet.dev/edgenet/test/sim/wan"
)

// The phases of a run, in their order.
const (
	PhaseRest      = "rest"
	PhaseChanges   = "changes"
	PhaseChurn     = "churn"
	PhaseDeath     = "death"
	PhasePartition = "partition"
	PhaseStorm     = "storm"
)

// Plan says what a run does and for how long.
type Plan struct {
	// Settle is how long the mesh is left alone after its start.
	Settle time.Duration
	// Rest and Churn are how long these are.
	Rest, Churn time.Duration
	// Changes is how many single changes there are, Deaths how many nodes die.
	Changes, Deaths int
	Partition       time.Duration
	// Storm is how long the network has StormLoss and StormJitter.
	Storm       time.Duration
	StormLoss   float64
	StormJitter time.Duration
	// Limit bounds each wait.
	Limit time.Duration
	// Phase is called before each phase, with its name and what is known so far,
	// and may be nil.
	Phase func(name string, r *Result)
}

// DefaultPlan is what is measured for docs/scale.md.
func DefaultPlan() Plan {
	return Plan{
		Settle: time.Minute, Rest: time.Minute, Churn: time.Minute, Changes: 20, Deaths: 3,
		Partition: 5 * time.Minute, Storm: 2 * time.Minute, StormLoss: 0.05, StormJitter: 100 * time.Millisecond,
		Limit: 10 * time.Minute,
	}
}

// Run simulates a mesh and measures it. What the plan gives no time or number is
// left out.
func Run(ctx context.Context, cfg Config, plan Plan) (*Result, error) {
	if plan.Phase == nil {
		plan.Phase = func(string, *Result) {}
	}
	r := &Result{
		Nodes: cfg.Nodes, Endpoints: cfg.Endpoints, Latency: cfg.WAN.Latency.Seconds(), Jitter: cfg.WAN.Jitter.Seconds(),
		Loss: cfg.WAN.Loss, Uplink: cfg.WAN.Uplink, Seed: cfg.WAN.Seed,
	}
	plan.Phase("found", r)
	w, err := New(ctx, cfg)
	if err != nil {
		time.Sleep(linger)
		return r, err
	}
	run := run{w, plan, r, memory()}
	for _, phase := range []struct {
		name string
		want bool
		do   func(context.Context) error
	}{
		{"start", true, run.start},
		{PhaseRest, plan.Rest > 0, run.rest},
		{PhaseChanges, plan.Changes > 0, run.changes},
		{PhaseChurn, plan.Churn > 0, run.churn},
		{PhaseDeath, plan.Deaths > 0, run.deaths},
		{PhasePartition, plan.Partition > 0, run.partition},
		{PhaseStorm, plan.Storm > 0, run.storm},
	} {
		if !phase.want {
			continue
		}
		plan.Phase(phase.name, r)
		if err := phase.do(ctx); err != nil {
			return r, errors.Join(fmt.Errorf("%s: %w", phase.name, err), w.end())
		}
	}
	plan.Phase("stop", r)
	return r, w.end()
}

// linger is after how long nothing of a mesh that has stopped is left: what was
// written to who could not be reached has been given up.
const linger = 20 * time.Minute

// end stops all nodes and waits until nothing of them is left. No context may cut
// that short: a bubble must not end before.
func (w *World) end() error {
	err := w.Stop()
	w.network.Heal()
	time.Sleep(linger)
	return err
}

// run is a run under way.
type run struct {
	*World
	plan Plan
	r    *Result
	// before is the memory in use before any node was there.
	before float64
}

// start starts all nodes within a second and waits until all see all.
func (r *run) start(ctx context.Context) error {
	m := r.measure()
	if err := r.Start(ctx); err != nil {
		return err
	}
	whole, err := r.awaitWhole(ctx, time.Second, r.plan.Limit)
	if err != nil {
		return err
	}
	r.r.Start = &Start{Whole: whole.Seconds(), Load: m.load()}
	return wan.Wait(ctx, r.plan.Settle)
}

// rest measures what a mesh costs in which nothing happens.
func (r *run) rest(ctx context.Context) error {
	m := r.measure()
	if err := wan.Wait(ctx, r.plan.Rest); err != nil {
		return err
	}
	load := m.load()
	// What is shared a node alone would have to itself.
	load.Memory = (memory()-r.before)/float64(len(r.nodes)) + r.lent
	r.r.Rest = &load
	return nil
}

// changes measures single changes, one after the other.
func (r *run) changes(ctx context.Context) error {
	cs, err := r.single(ctx, r.plan.Changes)
	if err != nil {
		return err
	}
	s := spreadOf(cs)
	r.r.Changes = &s
	return nil
}

// single makes single changes and waits for each.
func (r *run) single(ctx context.Context, count int) ([]*change, error) {
	defer r.World.changes.forget()
	var cs []*change
	for range count {
		n, key := r.pick(r.nodes)
		c, err := r.change(ctx, n, key)
		if err == nil {
			err = c.await(ctx, time.Minute)
		}
		if err == nil {
			err = wan.Wait(ctx, time.Duration(r.random.Int64N(int64(time.Second))))
		}
		if err != nil {
			return nil, err
		}
		cs = append(cs, c)
	}
	return cs, nil
}

// churn changes 1 % of the endpoints per minute, at even distances.
func (r *run) churn(ctx context.Context) error {
	defer r.World.changes.forget()
	type owned struct {
		n   *node
		key string
	}
	var all []owned
	for _, n := range r.nodes {
		for _, key := range n.endpoints {
			all = append(all, owned{n, key})
		}
	}
	r.random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	perMinute := max(1, float64(len(all))/100)
	every := time.Duration(float64(time.Minute) / perMinute)
	var cs []*change
	m := r.measure()
	for begin := time.Now(); time.Since(begin) < r.plan.Churn; {
		next := all[len(cs)%len(all)]
		c, err := r.change(ctx, next.n, next.key)
		if err == nil {
			err = wan.Wait(ctx, every)
		}
		if err != nil {
			return err
		}
		cs = append(cs, c)
	}
	load := m.load()
	for _, c := range cs {
		if err := c.await(ctx, time.Minute); err != nil {
			return err
		}
	}
	r.r.Churn = &Churn{PerMinute: perMinute, Load: load, Spread: spreadOf(cs)}
	return nil
}

// deaths lets nodes lose their power, one after the other, and come back.
func (r *run) deaths(ctx context.Context) error {
	d := &Death{Count: r.plan.Deaths}
	var half, most, all, back []time.Duration
	for range r.plan.Deaths {
		victim := r.nodes[1+r.random.IntN(len(r.nodes)-1)]
		took, missing, err := r.kill(ctx, victim)
		if err != nil {
			return err
		}
		d.Missing += missing
		half = append(half, at(took, missing, 0.5))
		most = append(most, at(took, missing, 0.99))
		all = append(all, at(took, missing, 1))
		r.network.Heal()
		if err := victim.start(ctx); err != nil {
			return err
		}
		whole, err := r.awaitWhole(ctx, 100*time.Millisecond, r.plan.Limit)
		if err != nil {
			return err
		}
		back = append(back, whole)
		if err := wan.Wait(ctx, 10*time.Second); err != nil {
			return err
		}
	}
	d.Half, d.Most, d.All, d.Back = pairOf(half), pairOf(most), pairOf(all), pairOf(back)
	r.r.Death = d
	return nil
}

// kill ends a node without a word, and returns when each of the others saw it
// dead. They are looked at every 100 ms.
func (r *run) kill(ctx context.Context, victim *node) (took []time.Duration, missing int, err error) {
	r.network.Cut([]*wan.Host{victim.host}, r.hosts())
	r.network.Cut(r.hosts(), []*wan.Host{victim.host})
	begin, left := time.Now(), slices.DeleteFunc(r.up(), func(n *node) bool { return n == victim })
	if err := victim.halt(); err != nil {
		return nil, 0, err
	}
	for len(left) > 0 && time.Since(begin) < r.plan.Limit {
		if err := wan.Wait(ctx, 100*time.Millisecond); err != nil {
			return nil, 0, err
		}
		left = slices.DeleteFunc(left, func(n *node) bool {
			seen, known := n.mesh.Node(string(victim.id))
			dead := known && seen.State == mesh.StateDead
			if dead {
				took = append(took, time.Since(begin))
			}
			return dead
		})
	}
	return took, len(left), nil
}

func (w *World) hosts() []*wan.Host {
	var out []*wan.Host
	for _, n := range w.nodes {
		out = append(out, n.host)
	}
	return out
}

// partition has the mesh fall into halves, in which endpoints change, and heal.
func (r *run) partition(ctx context.Context) error {
	defer r.World.changes.forget()
	half := len(r.nodes) / 2
	hosts := r.hosts()
	m := r.measure()
	r.network.Cut(hosts[:half], hosts[half:])
	r.network.Cut(hosts[half:], hosts[:half])
	begin := time.Now()
	var cs []*change
	for i := range 20 {
		side := r.nodes[:half]
		if i%2 == 1 {
			side = r.nodes[half:]
		}
		n, key := r.pick(side)
		c, err := r.change(ctx, n, key)
		if err == nil {
			err = wan.Wait(ctx, r.plan.Partition/20)
		}
		if err != nil {
			return err
		}
		cs = append(cs, c)
	}
	p := &Partition{Seconds: time.Since(begin).Seconds(), Load: m.load(), Whole: -1, Records: -1}
	for _, n := range r.nodes {
		p.Split += float64(n.sees()) / float64(len(r.nodes))
	}
	r.network.Heal()
	r.r.Partition = p
	healed := time.Now()
	whole := make(chan error, 1)
	go func() {
		took, err := r.awaitWhole(ctx, time.Second, r.plan.Limit)
		if err == nil {
			p.Whole = took.Seconds()
		}
		whole <- err
	}()
	missing := 0
	for _, c := range cs {
		if err := c.await(ctx, r.plan.Limit-time.Since(healed)); err != nil {
			return err
		}
		_, m := c.delays()
		missing += m
	}
	if missing == 0 {
		p.Records = time.Since(healed).Seconds()
	}
	return <-whole
}

// storm has much be lost and late, and looks who is thrown out.
func (r *run) storm(ctx context.Context) error {
	loss, jitter := r.network.Weather(r.plan.StormLoss, r.plan.StormJitter)
	defer r.network.Weather(loss, jitter)
	m, begin := r.measure(), time.Now()
	var cs []*change
	for time.Since(begin) < r.plan.Storm {
		more, err := r.single(ctx, 1)
		if err != nil {
			return err
		}
		cs = append(cs, more...)
	}
	r.r.Storm = &Storm{Loss: r.plan.StormLoss, Jitter: r.plan.StormJitter.Seconds(), Load: m.load(), Spread: spreadOf(cs)}
	return nil
}
