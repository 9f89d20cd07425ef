package mesh

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// Of this node's clock and those of its peers the one in the middle counts.
func TestTheTimeIsThatInTheMiddle(t *testing.T) {
	for seed := range uint64(500) {
		random := rand.New(rand.NewPCG(seed, 3))
		start := time.Now()
		wall := start
		p := newPeerTime(func() time.Time { return wall })
		p.began = start
		zeros := []time.Duration{0}
		for i := range random.IntN(6) {
			off := time.Duration(random.IntN(100)-50) * time.Hour
			zeros = append(zeros, off)
			p.hear(NodeID(fmt.Sprint(i)), start.Add(off), 0, 0)
		}
		slices.Sort(zeros)
		n := len(zeros)
		for _, c := range []struct {
			what string
			got  time.Time
			want time.Duration
		}{{"now", p.now(), zeros[(n-1)/2]}, {"admits", p.admits(), zeros[n/2]}} {
			if off := c.got.Sub(start) - c.want; off.Abs() > time.Second {
				t.Fatalf("seed %d: %s is %s off for %v", seed, c.what, off, zeros)
			}
		}
	}
}

// A clock that is set while the node runs, and peers that lie, change nothing.
func TestAClockThatIsSetChangesNoTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var set time.Duration
		p := newPeerTime(func() time.Time { return time.Now().Add(set) })
		p.hear("a", time.Now(), 0, 0)
		p.hear("b", time.Now().Add(time.Second), 0, 0)
		p.hear("c", time.Now().Add(-time.Second), 0, 0)
		p.hear("liar", time.Now().Add(-1000*time.Hour), 0, 0)
		time.Sleep(time.Hour)
		for _, set = range []time.Duration{24 * time.Hour, -24 * time.Hour, 0} {
			if off := time.Until(p.now()); off.Abs() > clockSlack {
				t.Errorf("set by %s the time is %s off", set, off)
			}
			if skew := p.skew(); (skew - set).Abs() > clockSlack {
				t.Errorf("set by %s it is said to be %s off", set, skew)
			}
		}
		for i := range 100 { // They are not kept for ever.
			p.hear(NodeID(fmt.Sprint(i)), time.Now(), time.Duration(i), 0)
		}
		if n := len(p.samples); n != maxClockSamples {
			t.Errorf("%d peers are remembered", n)
		}
		p.hear("slow", time.Now(), 0, maxClockCall+1)
		if _, known := p.samples["slow"]; known {
			t.Error("a slow call says what time it is")
		}
	})
}

// wrongClock is a wall clock that can be set.
type wrongClock struct{ off atomic.Int64 }

func (c *wrongClock) now() time.Time { return time.Now().Add(time.Duration(c.off.Load())) }

// asks compares with others, which tells the time.
func (h *host) asks(others ...*host) {
	h.t.Helper()
	for _, o := range others {
		id := o.Self().ID
		for deadline := time.Now().Add(time.Minute); !h.replica.times.heardOf(id); { // A slow call does not tell.
			err := h.syncAddr(h.t.Context(), netip.AddrPortFrom(o.cfg.Links[0].Addr, DefaultPeerPort))
			if time.Now().After(deadline) {
				h.t.Fatal("does not hear what time it is elsewhere", err)
			}
		}
	}
}

// near fails unless a node's record is of about now.
func (h *host) near(key string) {
	h.t.Helper()
	r, _ := h.Get(KindEndpoint, key)
	if off := time.Until(r.Version.Time()); off.Abs() > time.Minute {
		h.t.Errorf("%s is %s off", key, off)
	}
}

// A node's clock is set a day ahead while it runs, and then a day back: its records
// are taken by others at once, and are no later than theirs.
func TestAClockADayOffLosesNoRecords(t *testing.T) {
	var clock wrongClock
	hosts := newMesh(t, "a", "b")
	a, b := hosts[0], hosts[1]
	c := newHost(t, "c", func(cfg *Config) { cfg.Now = clock.now })
	if err := c.Join(t.Context(), a.token(TokenRequest{})); err != nil {
		t.Fatal(err)
	}
	c.sees("a", "b", "c")
	c.asks(a, b)
	for _, off := range []time.Duration{24 * time.Hour, -24 * time.Hour, 0} {
		clock.off.Store(int64(off))
		if skew := c.ClockSkew(); (skew - off).Abs() > clockSlack {
			t.Errorf("%s off it is said to be %s", off, skew)
		}
		key := c.put("of-c", off.String())
		c.near(key)
		b.has(KindEndpoint, key, off.String())
		key = b.put("of-b", off.String())
		c.has(KindEndpoint, key, off.String())
	}
}

// A node starts with a clock that is a day off: what it signed before it heard what
// time it is is signed anew, in its order.
func TestAClockThatWasWrongFromTheStartIsFound(t *testing.T) {
	hosts := newMesh(t, "a", "b")
	a, b := hosts[0], hosts[1]
	for _, off := range []time.Duration{24 * time.Hour, -24 * time.Hour} {
		var clock wrongClock
		clock.off.Store(int64(off))
		c := newHost(t, map[bool]string{true: "ahead", false: "behind"}[off > 0], func(cfg *Config) {
			cfg.Now = clock.now
			cfg.Restamp = func(r Record) ([]byte, error) { return append(r.Payload[:len(r.Payload):len(r.Payload)], '!'), nil }
		})
		if err := c.Join(t.Context(), a.token(TokenRequest{})); err != nil {
			t.Fatal(err)
		}
		first, second := c.put("first", "1"), c.put("second", "2")
		c.asks(a, b)
		if off > 0 { // What is too early is taken as it is.
			eventuallyPolled(t, func() error {
				if r, _ := c.Get(KindEndpoint, second); time.Until(r.Version.Time()) > time.Minute {
					return fmt.Errorf("what was signed too far ahead is of %s still", r.Version.Time())
				}
				return nil
			})
			c.near(first)
		}
		one, _ := c.Get(KindEndpoint, first)
		two, _ := c.Get(KindEndpoint, second)
		if one.Version >= two.Version {
			t.Errorf("the first is of %d, the second of %d", one.Version, two.Version)
		}
		a.has(KindEndpoint, first, string(one.Payload))
		b.has(KindEndpoint, second, string(two.Payload))
		c.has(KindEndpoint, b.put("of-b", off.String()), off.String())
		last := c.Now()
		c.stop()
		c.start()
		if v := c.Now(); v <= last || time.Until(v.Time()).Abs() > 25*time.Hour {
			t.Errorf("after a restart the clock says %s", v.Time())
		}
		c.asks(a, b)
		c.near(c.put("third", "3"))
	}
}

// A daemon that has begun asks others for the time before it calls them for anything
// else: what it signs by a clock that was set meanwhile is taken soon.
func TestADaemonThatBeganAsksForTheTime(t *testing.T) {
	hosts := newMesh(t, "a", "b")
	var clock wrongClock
	c := newHost(t, "c", func(cfg *Config) { cfg.Now = clock.now })
	if err := c.Join(t.Context(), hosts[0].token(TokenRequest{})); err != nil {
		t.Fatal(err)
	}
	c.sees("a", "b", "c")
	hosts[1].asks(hosts[0])
	c.stop()
	clock.off.Store(int64(24 * time.Hour))
	c.start()
	key := c.put("early", "1")
	hosts[1].has(KindEndpoint, key, "1")
	c.near(key)
}
