package daemon

import "time"

// settleRest is how long a tunnel rests before its session is let go: the other
// end comes to rest at about the same time, and packets on their way arrive.
const settleRest = 3 * time.Second

// rest says whether a tunnel rests.
type rest struct {
	// since is when it began to; zero while the tunnel is awake.
	since time.Time
	// active is when there was last a reason to be awake.
	active time.Time
}

func (r rest) resting() bool { return !r.since.IsZero() }

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
	may := by.ready && by.idle > 0
	if r.resting() {
		begun := by.begins && by.live && by.handshake.After(r.since)
		if !may || by.used.After(r.since) || begun {
			return rest{active: now}
		}
		return r
	}
	if may && (by.dormant || by.live && now.Sub(r.active) >= by.idle) {
		r.since = now
	}
	return r
}
