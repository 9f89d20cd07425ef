package daemon

import (
	"time"

	"edgenet.dev/edgenet/pkg/tunnel"
)

// silence is how long nothing has to come by a tunnel that was left before it is
// taken away: the peer leaves it in its own time. It is more than two of a
// prober's intervals.
const silence = 5 * time.Second

// way is how a node is reached, from one technology to another. While it is
// moved it can be reached by both.
type way struct {
	// on is what packets to it go by; empty before the first.
	on tunnel.Technology
	// to is what it is moved to once that is proved, since when it is tried; empty
	// if it is not moved.
	to    tunnel.Technology
	since time.Time
	// left is what it was moved from, while the peer may still send by it; received
	// has what came by it, and lately when that was last more than before.
	left     tunnel.Technology
	received uint64
	lately   time.Time
}

// uses tells whether a technology has to have the peer.
func (w way) uses(t tunnel.Technology) bool {
	return t != "" && (t == w.on || t == w.to || t == w.left)
}

// next is the way a moment later. target is what the two nodes have chosen; proved
// when the last packet that was sent by it, once it was tried, was answered, zero
// if none was; received how many bytes came by what was left.
func (w way) next(now time.Time, target tunnel.Technology, proved time.Time, received uint64) way {
	if w.on == "" {
		w.on = target
	}
	if w.left == target {
		w.left = ""
	}
	switch {
	case target == w.on:
		if w.to != "" { // it was not to be, after all
			w.left, w.received, w.lately = w.to, received, now
		}
		w.to = ""
	case w.to != target:
		w.to, w.since = target, now
	case proved.After(w.since):
		w.left, w.received, w.lately = w.on, received, now
		w.on, w.to = target, ""
		return w
	}
	if w.left == "" {
		return w
	}
	if received != w.received {
		w.received, w.lately = received, now
	}
	if now.Sub(w.lately) >= silence {
		w.left = ""
	}
	return w
}
