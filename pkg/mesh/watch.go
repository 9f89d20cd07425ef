package mesh

import "time"

// watch is what a witness knows of a node that beats to it. Times are of the
// witness's own waking time.
type watch struct {
	// newest is the latest beat that is known, got when it came, by any way.
	newest *beat
	got    time.Duration
	// direct is when the node was last heard by this node itself.
	direct time.Duration
	asked  time.Duration
	// knocking is true while its host is knocked at, knocked is when that began,
	// answered whether it did the last time.
	knocking, answered bool
	knocked            time.Duration
	// stated is true while this witness's word is in force, refuted if it was
	// proved wrong and still hears nothing: it then only joins others.
	stated, refuted bool
}

// watches are all nodes that beat to a witness. They are not safe for several
// goroutines.
type watches struct {
	timing
	// awake is the witness's waking time: it stands still while the witness lacks
	// processor time, for then it has missed what it would have heard.
	awake time.Duration
	last  time.Time
	of    map[NodeID]*watch
	// heard has the two nodes that were heard last.
	heard [2]struct {
		id NodeID
		at time.Duration
	}
}

// watchLife is how long a silent node is watched.
const watchLife = 10 * time.Minute

func newWatches(t timing, now time.Time) *watches {
	return &watches{timing: t, last: now, of: make(map[NodeID]*watch)}
}

// wake takes the time. The tick before was to be one tick ago; if it was more than
// two, the witness has slept.
func (w *watches) wake(now time.Time) {
	passed := max(now.Sub(w.last), 0)
	w.last = now
	if passed <= 2*w.tick {
		w.awake += passed
		return
	}
	w.awake += w.tick
	w.oversleep()
}

// oversleep takes back what silence seems to prove: the witness has missed
// something, and asks again before it says anything.
func (w *watches) oversleep() {
	for _, x := range w.of {
		x.direct = max(x.direct, w.awake-w.ask)
	}
}

// hear notes that a node was heard, by a beat or, with none, by other means. The
// first beat has it watched.
func (w *watches) hear(id NodeID, b *beat) {
	if w.heard[0].id != id {
		w.heard[1] = w.heard[0]
	}
	w.heard[0].id, w.heard[0].at = id, w.awake
	x := w.of[id]
	if x == nil {
		if b == nil {
			return
		}
		x = &watch{}
		w.of[id] = x
	}
	x.direct, x.refuted, x.answered = w.awake, false, false
	w.learn(id, b)
}

// learn notes a beat that came by others.
func (w *watches) learn(id NodeID, b *beat) {
	x := w.of[id]
	if x == nil || b == nil || x.newest != nil && !b.after(x.newest.moment) {
		return
	}
	x.newest, x.got = b, w.awake
}

// hearsOthers tells whether the witness has just heard somebody else than a node:
// else it may be itself that is cut off.
func (w *watches) hearsOthers(than NodeID) bool {
	h := w.heard[0]
	if h.id == than {
		h = w.heard[1]
	}
	return h.id != "" && w.awake-h.at < w.silent-w.beat
}

// duty is what a witness has to do about a node.
type duty struct {
	ask, knock, state bool
}

// due says what is to be done about a watched node. alone says that there is no
// other node that could be heard, accused that another witness says it is silent.
func (w *watches) due(id NodeID, alone, accused bool) (d duty) {
	x := w.of[id]
	quiet := w.awake - x.direct
	if quiet < w.ask {
		return duty{}
	}
	every := time.Duration(0)
	if x.stated || x.refuted {
		every = 4 * w.beat
	}
	if d.ask = w.awake-x.asked >= every; d.ask {
		x.asked = w.awake
	}
	starved := x.answered && quiet < w.starved
	if quiet >= w.knock && !x.knocking && !x.stated && !x.refuted &&
		(x.knocked <= x.direct || starved && w.awake-x.knocked >= w.silent/2) {
		d.knock, x.knocking, x.knocked = true, true, w.awake
	}
	if x.knocking && quiet < w.silent+w.tick {
		return d // The answer is due.
	}
	d.state = quiet >= w.silent && !x.stated && !starved && (accused || !x.refuted) &&
		(alone || w.hearsOthers(id))
	return d
}

// knocked notes whether the host of a node has answered.
func (w *watches) knocked(id NodeID, answered bool) {
	x := w.of[id]
	if x == nil {
		return
	}
	x.knocking, x.answered = false, answered
}

// drop forgets nodes that are not to be watched any more.
func (w *watches) drop(gone func(NodeID) bool) {
	for id, x := range w.of {
		if w.awake-x.direct > watchLife || w.awake-x.direct > w.ask && gone(id) {
			delete(w.of, id)
		}
	}
}
