package mesh

import (
	"testing"
	"time"
)

// watchTest is a witness that watches two nodes, in steps of one tick.
type watchTest struct {
	*watches
	t   *testing.T
	now time.Time
}

func newWatchTest(t *testing.T) *watchTest {
	w := &watchTest{watches: newWatches(timings[ProfileLAN], noon), t: t, now: noon}
	w.hear(subject, beatOf(subject, 1, time.Second))
	return w
}

// pass lets a time pass in which another node is heard, and returns what there was
// to do about the subject.
func (w *watchTest) pass(d time.Duration, others bool) (all duty) {
	for end := w.now.Add(d); w.now.Before(end); {
		w.now = w.now.Add(w.tick)
		w.wake(w.now)
		if others {
			w.hear(lifeID(3), beatOf(lifeID(3), 1, w.now.Sub(noon)))
		}
		got := w.due(subject, false, false)
		all.ask, all.knock, all.state = all.ask || got.ask, all.knock || got.knock, all.state || got.state
		if got.knock {
			w.knocked(subject, false)
		}
	}
	return all
}

// Who is not heard is asked, its host is knocked at, and then it is said.
func TestSilenceIsSaid(t *testing.T) {
	w := newWatchTest(t)
	if d := w.pass(w.beat, true); d != (duty{}) {
		t.Errorf("after one beat's time: %+v", d)
	}
	if d := w.pass(w.silent-w.beat-w.tick, true); !d.ask || !d.knock || d.state {
		t.Errorf("before it is silent: %+v", d)
	}
	if d := w.pass(w.tick, true); !d.state {
		t.Errorf("silent: %+v", d)
	}
}

// Who hears nobody is cut off itself, and who has slept has missed something:
// neither says anything of others.
func TestWhoIsCutOffOrStarvedSaysNothing(t *testing.T) {
	w := newWatchTest(t)
	if d := w.pass(time.Minute, false); d.state {
		t.Error("a witness that hears nobody speaks")
	}
	if w.hear(lifeID(3), beatOf(lifeID(3), 1, time.Hour)); !w.due(subject, false, false).state {
		t.Error("it hears others again, and says nothing")
	}
	w = newWatchTest(t)
	w.pass(w.silent-2*w.tick, true)
	w.now = w.now.Add(time.Hour)
	if d := w.pass(w.tick, true); d.state {
		t.Error("a witness that has slept for an hour speaks at once")
	}
	w = newWatchTest(t)
	w.pass(w.silent-w.tick, true)
	w.oversleep()
	if d := w.pass(w.tick, true); d.state {
		t.Error("a witness that has lost messages speaks at once")
	}
}

// A node whose host answers gets more time, but not for ever.
func TestAStarvedNodeGetsTime(t *testing.T) {
	w := newWatchTest(t)
	said := time.Duration(0)
	for said == 0 && w.now.Sub(noon) < time.Minute {
		w.now = w.now.Add(w.tick)
		w.wake(w.now)
		w.hear(lifeID(3), beatOf(lifeID(3), 1, w.now.Sub(noon)))
		d := w.due(subject, false, false)
		if d.knock {
			w.knocked(subject, true)
		}
		if d.state {
			said = w.now.Sub(noon)
		}
	}
	if said < w.starved || said > w.starved+w.silent {
		t.Errorf("a node whose host answers is silent after %s", said)
	}
}

// Who was proved wrong and still hears nothing asks seldom, and speaks only when
// others do.
func TestWhoWasWrongJoinsOnly(t *testing.T) {
	w := newWatchTest(t)
	w.pass(w.silent, true)
	w.of[subject].refuted = true
	if d := w.pass(time.Minute, true); d.state || d.knock {
		t.Errorf("it is alone: %+v", d)
	}
	if !w.due(subject, false, true).state {
		t.Error("another says so too, and it does not join")
	}
	w.hear(subject, nil)
	if x := w.of[subject]; x.refuted {
		t.Error("it hears the node, and does not take that for anything")
	}
}
