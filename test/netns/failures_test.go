package netns

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"edgenet.dev/edgenet/test/netns/lab"
)

const (
	// deathTime is how soon a node that is gone is dead for all others, in the profile
	// wan; a host whose kernel still answers gets longer.
	deathTime, hangingTime = 5 * time.Second, 8 * time.Second
	// agreeTime is how soon all agree again once a fault is over.
	agreeTime = 30 * time.Second
	// deathSlack is for a busy machine, on which this looks itself.
	deathSlack = 5 * time.Second
)

// failing is a mesh to which something happens: always to edge-3, while tenants of all
// others talk.
type failing struct {
	*lab.Lab
	t *testing.T
	// all are the hosts, others all but the victim.
	all, others        []*lab.Host
	cloud, one, victim *lab.Host
	// near, far and lost are the containers of edge-1, edge-2 and the victim.
	near, far, lost *lab.Container
	writes          *written
}

// failure is something that happens, until it is over.
type failure struct {
	name string
	// do says what it has measured.
	do func(f *failing) string
	// cuts is true if the victim's tenants are cut off by it.
	cuts bool
}

var failures = []failure{
	{name: "edgenetd is killed, and started when it is dead for all", do: (*failing).kill},
	{name: "edgenetd stands still (SIGSTOP) until it is dead for all", do: (*failing).stop},
	{name: "a host is cut off both ways until it is dead for all", do: (*failing).cutOff, cuts: true},
	{name: "a host does not hear one other", do: (*failing).oneWay, cuts: true},
	{name: "a host's cable flaps: five times 0.3 s off and 1.5 s on", do: (*failing).flap, cuts: true},
	{name: "all edgenetd are killed, and started at once", do: (*failing).killAll},
	{name: "edgenetd of two hosts are killed within writes of all kinds", do: (*failing).killWithinWrites},
	{name: "an endpoint is attached elsewhere, of the same address", do: (*failing).move},
	{name: "a clock jumps a day ahead, and back", do: (*failing).clockJumps},
}

// Everything that a node may meet, one after the other on one mesh, while tenants talk:
// those of other hosts lose nothing, all agree on who is dead and, when it is over, on
// everything; and nothing is lost that was acknowledged.
//
//	cloud-1 (authority)    edge-1: near ══ 10 ms pings ══ edge-2: far
//	                            ╚═══════ 10 ms pings ═══ edge-3: lost
//
// $EDGENET_FAILURES, a regexp, chooses those that it matches.
func TestFailuresOfNodes(t *testing.T) {
	t.Parallel()
	chosen := regexp.MustCompile(os.Getenv("EDGENET_FAILURES"))
	f := newFailing(t)
	for _, one := range failures {
		if chosen.MatchString(one.name) {
			f.meets(one)
		}
	}
}

func newFailing(t *testing.T) *failing {
	l := lab.NewTimed(t)
	f := &failing{Lab: l, t: t, writes: newWritten()}
	for _, name := range []string{"cloud-1", "edge-1", "edge-2", "edge-3"} {
		f.all = append(f.all, l.Host(name))
	}
	f.cloud, f.one, f.victim, f.others = f.all[0], f.all[1], f.all[3], f.all[:3]
	f.victim.UseWrongClock()
	for _, h := range f.all {
		h.Start()
	}
	f.cloud.Init()
	token := f.cloud.Token("--uses", "3")
	for _, h := range f.all[1:] {
		h.Join(token)
	}
	f.cloud.VPC("blue", "10.0.0.0/16")
	f.cloud.Group("blue", "all", open)
	for i, c := range []**lab.Container{&f.near, &f.far, &f.lost} {
		*c = f.all[i+1].Container([]string{"near", "far", "lost"}[i])
		(*c).Attach("blue", fmt.Sprintf("10.0.0.%d", i+2), "all")
	}
	f.near.Reaches(f.far, "icmp")
	f.near.Reaches(f.lost, "icmp")
	l.AwaitMesh(f.all...)
	f.isWell()
	return f
}

// isWell awaits that mesh health finds no error.
func (f *failing) isWell() {
	f.t.Helper()
	f.Await("mesh health finds no error", func() error {
		if r := f.cloud.Ctl("mesh", "health"); r.Code != 0 {
			return fmt.Errorf("exit %d:\n%s", r.Code, r.Stdout)
		}
		return nil
	})
}

// says awaits that a host's mesh health has a line with these words.
func (f *failing) says(h *lab.Host, words ...string) {
	f.t.Helper()
	f.Await(fmt.Sprintf("mesh health of %s says %q", h, words), func() error {
		r := h.Ctl("mesh", "health")
		for _, line := range strings.Split(r.Stdout, "\n") {
			if containsAll(line, words...) {
				return nil
			}
		}
		return fmt.Errorf("exit %d:\n%s%s", r.Code, r.Stdout, r.Stderr)
	})
}

// meets has something happen under traffic.
func (f *failing) meets(one failure) {
	f.t.Helper()
	bystanders := []*lab.Ping{f.near.Pings(f.far.IP), f.far.Pings(f.near.IP)}
	victim := f.near.Pings(f.lost.IP)
	words := one.do(f)
	over := time.Now()
	f.agree(one.name)
	again := time.Since(over)
	f.near.Reaches(f.lost, "icmp")
	lost := 0
	for _, p := range bystanders {
		lost += len(p.Loses(0).Lost)
	}
	if again > lab.Slow(agreeTime) {
		f.t.Errorf("%s: all agree again after %s, want at most %s", one.name, again, agreeTime)
	}
	report := victim.Stop()
	if !one.cuts && len(report.Lost) > 0 {
		f.t.Errorf("%s: the victim's tenants lost %d of %d pings, want none", one.name, len(report.Lost), report.Sent)
	}
	lab.Note(f.t, lab.Figure{
		Promise: one.name, Driver: "(mesh)",
		Measured: fmt.Sprintf("%sall agree %s after its end; lost %d pings of bystanders, %d of the victim's, %s at a time",
			words, again.Round(10*time.Millisecond), lost, len(report.Lost), longest(report)),
		Bound: "0 of bystanders",
	})
}

// agree awaits that all hosts see all alive, hold the same, and have what was
// acknowledged.
func (f *failing) agree(what string) {
	f.t.Helper()
	f.AwaitMesh(f.all...)
	f.Await(what+": all hold the same", func() error {
		want, err := held(f.cloud)
		if err != nil {
			return err
		}
		if err := f.writes.kept(want); err != nil {
			return err
		}
		for _, h := range f.all[1:] {
			if got, err := held(h); err != nil || got.String() != want.String() {
				return errors.Join(err, fmt.Errorf("%s holds\n%s\ncloud-1\n%s", h, got, want))
			}
		}
		return nil
	})
}

// dies awaits that the victim is dead for all others, and returns how long that took.
func (f *failing) dies(since time.Time, limit time.Duration) string {
	f.t.Helper()
	for _, h := range f.others {
		f.Await(h.Name+" sees the victim dead", func() error { return seesDead(h, f.victim.Name) })
	}
	took := time.Since(since)
	if took > lab.Slow(limit+deathSlack) {
		f.t.Errorf("it is dead for all after %s, want at most %s", took, limit)
	}
	return fmt.Sprintf("dead for all after %s (%s); ", took.Round(10*time.Millisecond), limit)
}

func (f *failing) kill() string {
	begun := time.Now()
	f.victim.Kill()
	words := f.dies(begun, deathTime)
	f.says(f.one, "error: edge-3 is dead for all 3 nodes")
	f.victim.Start()
	return words
}

func (f *failing) stop() string {
	begun := time.Now()
	f.tell(unix.SIGSTOP)
	defer f.tell(unix.SIGCONT) // also if the test ends in between
	return f.dies(begun, hangingTime)
}

// tell signals the victim's edgenetd.
func (f *failing) tell(signal unix.Signal) {
	f.t.Helper()
	if err := unix.Kill(f.victim.PID(), signal); err != nil {
		f.t.Fatalf("signal edgenetd: %v", err)
	}
}

func (f *failing) cutOff() string {
	begun := time.Now()
	f.victim.CutOff()
	words := f.dies(begun, deathTime)
	f.Await("the victim sees all others dead", func() error {
		var problems []error
		for _, h := range f.others {
			problems = append(problems, seesDead(f.victim, h.Name))
		}
		return errors.Join(problems...)
	})
	f.says(f.victim, "error: only 1 of 4 nodes are there")
	f.victim.PlugIn()
	return words
}

// oneWay has the victim hear nothing of edge-1: nobody is dead, and the pair is named.
func (f *failing) oneWay() string {
	begun := time.Now()
	f.victim.Misses(f.one)
	f.says(f.cloud, "edge-1 and edge-3 do not reach one another in their tunnel")
	words := fmt.Sprintf("the pair is named after %s; ", time.Since(begun).Round(10*time.Millisecond))
	for _, h := range f.all {
		for _, other := range f.all {
			if err := seesDead(h, other.Name); err == nil {
				f.t.Errorf("%s sees %s dead", h, other)
			}
		}
	}
	f.victim.Hears(f.one)
	return words
}

// flap leaves the cable in for longer than the second after which the kernel asks
// again for a neighbour that did not answer (retrans_time_ms): in shorter times
// nothing gets through, and the flapping is one long cut.
func (f *failing) flap() string {
	const off, on = 300 * time.Millisecond, 1500 * time.Millisecond
	for range 5 {
		f.victim.CutOff()
		time.Sleep(off) // This is what happens, and nothing is waited for.
		f.victim.PlugIn()
		time.Sleep(on)
	}
	for _, h := range f.others {
		if err := seesDead(h, f.victim.Name); err == nil {
			f.t.Errorf("%s sees the victim dead", h)
		}
	}
	return "nobody is dead; "
}

func (f *failing) killAll() string {
	for _, h := range f.all {
		h.Kill()
	}
	for _, h := range f.all {
		h.Start()
	}
	return ""
}

// move attaches the address of an endpoint of the victim's on edge-2.
func (f *failing) move() string {
	const promised, slack = time.Second, 3 * time.Second
	old, moved := f.victim.Container("mover").Serves("http/80"), f.all[2].Container("mover").Serves("http/80")
	old.Attach("blue", "10.0.0.9", "all")
	f.near.Reaches(old, "http/80")
	moved.Attach("blue", "10.0.0.9", "all")
	attached := time.Now()
	f.near.Reaches(moved, "http/80")
	took := time.Since(attached)
	if took > lab.Slow(promised+slack) {
		f.t.Errorf("it is reached at the new place %s after the attach, want at most %s", took, promised)
	}
	f.says(f.cloud, "warning: endpoint mover of vpc blue on edge-3 is superseded")
	old.Detach()
	return fmt.Sprintf("reached at the new place %s after the attach (%s); ", took.Round(10*time.Millisecond), promised)
}

// clockJumps has a day too much on the victim's clock, and then not: it says so, and what
// is written there or elsewhere meanwhile holds.
func (f *failing) clockJumps() string {
	begun := time.Now()
	f.victim.SetClock(24 * time.Hour)
	f.says(f.one, "warning: the clock of edge-3 is 24 h ahead of the others'")
	words := fmt.Sprintf("named after %s; ", time.Since(begun).Round(10*time.Millisecond))
	for _, clock := range []time.Duration{24 * time.Hour, 0} {
		f.victim.SetClock(clock)
		if err := errors.Join(f.writes.endpoint(f.victim.API()), f.writes.vpc(f.cloud.API())); err != nil {
			f.t.Errorf("write with a clock %s ahead: %v", clock, err)
		}
		f.agree(fmt.Sprintf("with a clock %s ahead", clock))
	}
	return words
}
