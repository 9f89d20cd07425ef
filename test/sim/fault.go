package sim

import (
	"context"
	"fmt"
	"testing/synctest"
	"time"

	"edgenet.dev/edgenet/test/sim/wan"
)

// step does one step of a schedule. One that cannot be done now, since a node
// does not run, is left out.
func (t *trial) step(ctx context.Context, s step) error {
	n := t.nodes[s.node]
	switch s.do {
	case deedPut, deedDelete, deedBurst:
		if n.mesh == nil {
			return nil
		}
		return t.write(ctx, s)
	case deedStop:
		if n.mesh == nil {
			return nil
		}
		t.back(n, s.lasts, 0)
		return n.halt()
	case deedCrash:
		if n.mesh == nil {
			return nil
		}
		return t.crash(ctx, n, s)
	case deedBlackout:
		return t.blackout(ctx, s)
	case deedCut:
		t.restore(s.lasts, t.sever(s))
	case deedFlap:
		t.flap(s)
	case deedWeather:
		t.storm(s)
	case deedClock:
		n.skew.Store(int64(s.skew))
	}
	return nil
}

// sever cuts what a step says, and returns the name of the cut.
func (t *trial) sever(s step) int {
	from, to := t.hostsOf(s.from), t.hostsOf(s.to)
	id := t.cut(from, to)
	if !s.oneWay {
		// The other way is part of the same: it ends with it.
		t.cuts[-id] = cut{to, from}
		t.apply()
	}
	return id
}

// cut lets nothing through one way until restored. Its name is positive.
func (t *trial) cut(from, to []*wan.Host) int {
	t.names++
	t.cuts[t.names] = cut{from, to}
	t.apply()
	return t.names
}

// restore ends a cut after a while.
func (t *trial) restore(after time.Duration, id int) {
	t.later(after, func(context.Context) error {
		t.mend(id)
		return nil
	})
}

func (t *trial) mend(id int) {
	delete(t.cuts, id)
	delete(t.cuts, -id)
	t.apply()
}

// apply has the network be as the cuts say.
func (t *trial) apply() {
	t.network.Heal()
	for _, c := range t.cuts {
		t.network.Cut(c.from, c.to)
	}
}

func (t *trial) hostsOf(nodes []int) []*wan.Host {
	var out []*wan.Host
	for _, i := range nodes {
		out = append(out, t.nodes[i].host)
	}
	return out
}

// flap cuts and mends time and again.
func (t *trial) flap(s step) {
	const period = 700 * time.Millisecond
	for at := time.Duration(0); at < s.lasts; at += 2 * period {
		t.later(at, func(context.Context) error {
			t.restore(period, t.sever(s))
			return nil
		})
	}
}

// storm has packets be lost and late. Of several at a time the last counts.
func (t *trial) storm(s step) {
	t.storms++
	t.network.Weather(s.loss, s.jitter)
	t.later(s.lasts, func(context.Context) error {
		if t.storms--; t.storms == 0 {
			t.network.Weather(t.cfg.WAN.Loss, t.cfg.WAN.Jitter)
		}
		return nil
	})
}

// back starts a node again after a while, and mends the cut that has kept it
// apart, if there is one: 0 is none.
func (t *trial) back(n *node, after time.Duration, apart int) {
	t.later(after, func(ctx context.Context) error {
		t.mend(apart)
		if err := n.start(ctx); err != nil {
			return fmt.Errorf("start %s again: %w", name(n.index), err)
		}
		return nil
	})
}

// isolate cuts a node off, both ways.
func (t *trial) isolate(n *node) int {
	self := []*wan.Host{n.host}
	id := t.cut(self, t.hosts())
	t.cuts[-id] = cut{t.hosts(), self}
	t.apply()
	return id
}

// crash takes a node's power away: it says nothing more, and what is left is what
// was on its disk.
func (t *trial) crash(ctx context.Context, n *node, s step) error {
	apart := t.isolate(n) // Whatever it would still do, nobody hears of it.
	disk, err := t.lastDisk(ctx, n, s)
	if err != nil {
		return err
	}
	if err := n.halt(); err != nil {
		return fmt.Errorf("end %s: %w", name(n.index), err)
	}
	t.history.forget(n.index)
	t.back(n, s.lasts, apart)
	return n.replace(disk)
}

// lastDisk returns what is on a node's disk at the moment that a step says.
func (t *trial) lastDisk(ctx context.Context, n *node, s step) ([]byte, error) {
	synctest.Wait()
	before, err := n.disk()
	if err != nil || s.when == momentIdle {
		return before, err
	}
	w, r, err := t.put(ctx, n, s)
	if err != nil {
		return nil, err
	}
	synctest.Wait()
	after, err := n.disk()
	if err != nil {
		return nil, err
	}
	switch s.when {
	case momentAfter:
		t.history.acknowledge(n.index, r, w)
		return after, nil
	case momentTorn:
		if disk, ok := torn(before, after); ok {
			return disk, nil
		}
		return before, nil
	case momentBefore, momentIdle:
		return before, nil
	default:
		return before, nil
	}
}

// blackout takes the power of all nodes away at once, and gives it back to one
// after the other within a second.
func (t *trial) blackout(ctx context.Context, s step) error {
	s.when = momentIdle
	down := t.up()
	for i, n := range down {
		s := s
		s.lasts += time.Duration(i) * time.Second / time.Duration(len(down))
		if err := t.crash(ctx, n, s); err != nil {
			return err
		}
	}
	return nil
}
