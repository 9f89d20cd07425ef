package daemon

import (
	"math"
	"time"

	"edgenet.dev/edgenet/internal/records"
)

// settleRest is how long nothing comes by a tunnel that rests before its session is
// let go: the other end comes to rest at about the same time, and packets on their
// way arrive.
const settleRest = 3 * time.Second

const (
	// quietRest is how long a peer has to come to rest, too: it does so when it has
	// been idle for as long as this node.
	quietRest = 30 * time.Second
	// watchedBytes are more than a resting peer sends by itself, and less than one
	// that is awake does in half a minute.
	watchedBytes = 1000
	// watchedTime is for how long a tunnel then stays awake.
	watchedTime = time.Hour
)

// rest says whether a tunnel rests.
type rest struct {
	// since is when it began to; zero while the tunnel is awake.
	since time.Time
	// active is when there was last a reason to be awake.
	active time.Time
	// received is what had come by the tunnel when the peer should have come to rest.
	received uint64
	// heard is when something last came, or the rest began; count is what had come then.
	heard time.Time
	count uint64
	// watched is when the peer was last seen to be awake though nothing was carried.
	watched time.Time
}

func (r rest) resting() bool { return !r.since.IsZero() }

// over tells whether the session of a tunnel that rests may be let go: a peer that is
// still awake asks every two seconds whether this node is there.
func (r rest) over(now time.Time) bool { return r.resting() && now.Sub(r.heard) >= settleRest }

// pairIdle is how long nothing has to be carried between two nodes before the
// tunnel rests, by what each has said: as long as the one wants that is awake for
// longer, so that both rest at the same time. 0 is never; a node that says nothing
// goes along.
func pairIdle(own time.Duration, other *records.Announcement) time.Duration {
	if other == nil || other.IdleMs == nil {
		return own
	}
	const most = uint64(math.MaxInt64 / time.Millisecond)
	theirs := time.Duration(min(other.GetIdleMs(), most)) * time.Millisecond
	if own == 0 || theirs == 0 {
		return 0
	}
	return max(own, theirs)
}

// restReasons are what a tunnel rests or wakes by.
type restReasons struct {
	// idle is how long nothing has to be carried before it rests; 0 is never.
	idle time.Duration
	// ready is false for a tunnel that must not rest: it is being moved, or nobody
	// could wake it.
	ready bool
	// used is when a tenant's packet last came or went.
	used time.Time
	// live and handshake are its session's.
	live      bool
	handshake time.Time
	// begins tells that its sessions do not begin by themselves when there is a
	// packet: one that is new says that the peer has begun.
	begins bool
	// received is how many bytes have come by it, of whatever kind.
	received uint64
	// dormant tells that the peer has let the session go.
	dormant bool
}

// next is the rest a moment later.
func (r rest) next(now time.Time, by restReasons) rest {
	if r.active.IsZero() {
		r.active = now
	}
	if by.used.After(r.active) {
		r.active = by.used
	}
	may := by.ready && by.idle > 0 && (r.watched.IsZero() || now.Sub(r.watched) >= watchedTime)
	if r.resting() {
		if by.received != r.count {
			r.heard, r.count = now, by.received
		}
		if now.Sub(r.since) < quietRest || by.received < r.received {
			r.received = by.received
		}
		// It would rest, too, if it could find this node again: that is behind a NAT,
		// which this end cannot see, and has to keep the way open.
		if !by.begins && by.received-r.received > watchedBytes {
			return rest{active: now, watched: now}
		}
		begun := by.begins && by.live && by.handshake.After(r.since)
		if !may || by.used.After(r.since) || begun {
			return rest{active: now, watched: r.watched}
		}
		return r
	}
	if may && (by.dormant || by.live && now.Sub(r.active) >= by.idle) {
		r.since, r.heard, r.count = now, now, by.received
	}
	return r
}
