package mesh

import (
	"maps"
	"time"
)

// memberlist's word that a node is dead or has left is that of anybody with the
// gossip key, and may be such that the node cannot refute it (an incarnation that none
// comes after). So a node that memberlist throws out is asked for a beat, which only it
// can sign, and is there for as long as it gives them.
const (
	// denialGrace is how long the node is only suspect: its answer is on the way.
	denialGrace = 1500 * time.Millisecond
	// denialPatience is for how long it is asked where it does not answer.
	denialPatience = 10 * time.Second
	// proofLife is how long one beat holds, proofInterval how often another is asked
	// for.
	proofLife     = 5 * time.Second
	proofInterval = time.Second
	// denialLife bounds all of it, so that beats that somebody has recorded help no dead
	// node for longer. memberlist takes the node in again, or throws it out anew, sooner.
	denialLife = 5 * time.Minute
	// denialsAtOnce is how many nodes are asked in one tick.
	denialsAtOnce = 32
)

// denial is what became of memberlist's word about a node.
type denial struct {
	since, asked time.Time
	// proved is when the latest beat came that is later than those before it; zero if
	// none has.
	proved time.Time
	latest moment
	// over is true once the node is given up.
	over bool
}

// holds tells whether the node may be there in spite of it.
func (d *denial) holds(now time.Time) bool {
	return now.Sub(d.since) < denialGrace || d.isProved(now)
}

func (d *denial) isProved(now time.Time) bool {
	return !d.proved.IsZero() && now.Sub(d.proved) < proofLife && now.Sub(d.since) < denialLife
}

// toAsk tells whether the node is to be asked for a beat now.
func (d *denial) toAsk(now time.Time) bool {
	switch {
	case now.Sub(d.since) < denialGrace && d.proved.IsZero():
		return true
	case now.Sub(d.since) < denialPatience || d.isProved(now):
		return now.Sub(d.asked) >= proofInterval
	default:
		return false
	}
}

// deny notes that memberlist throws a node out. Of one that was evicted no proof would
// count. The lock is held.
func (ms *members) deny(id NodeID, now time.Time) {
	if !ms.known(id) || ms.evicted(id) {
		return
	}
	d := &denial{since: now}
	if before := ms.denied[id]; before != nil {
		d.latest, d.proved = before.latest, before.proved
	}
	ms.denied[id] = d
}

// present tells whether a node is a member, and whether that is by its own proof or
// for want of an answer yet. The lock is held.
func (ms *members) present(id NodeID, now time.Time) (there, proved bool) {
	if _, ok := ms.alive[id]; ok {
		return true, true
	}
	d := ms.denied[id]
	return d != nil && d.holds(now), d != nil && d.isProved(now)
}

// disputed tells whether a beat would prove that a node is there which memberlist has
// thrown out.
func (ms *members) disputed(id NodeID, m moment) bool {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	d := ms.denied[id]
	return d != nil && m.after(d.latest)
}

// prove takes a verified beat of such a node. It tells whether that changes what is
// thought of it.
func (ms *members) prove(id NodeID, m moment, now time.Time) bool {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	d := ms.denied[id]
	if d == nil || !m.after(d.latest) || now.Sub(d.since) >= denialLife {
		return false
	}
	before := d.isProved(now)
	d.latest, d.proved, d.over = m, now, false
	ms.roster.add(id)
	return !before
}

// dispute returns the nodes that are to be asked for a beat, some of them if they are
// many, and whether some are given up that were thought to be there.
func (ms *members) dispute(now time.Time) (ask []NodeID, changed bool) {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	for id, d := range ms.denied {
		if !d.over && !d.holds(now) {
			d.over, changed = true, true
			ms.roster.remove(id)
		}
		if len(ask) < denialsAtOnce && d.toAsk(now) {
			d.asked = now
			ask = append(ask, id)
		}
	}
	maps.DeleteFunc(ms.denied, func(_ NodeID, d *denial) bool {
		return d.over && now.Sub(d.since) >= denialPatience
	})
	return ask, changed
}

// isDenied tells whether memberlist has thrown a node out of late.
func (ms *members) isDenied(id NodeID) bool {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	return ms.denied[id] != nil
}
