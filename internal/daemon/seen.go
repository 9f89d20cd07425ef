package daemon

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"edgenet.dev/edgenet/pkg/mesh"
	"edgenet.dev/edgenet/pkg/tunnel/probe"
)

// The states of a tunnel.
const (
	tunnelUp         = "up"
	tunnelConnecting = "connecting"
	tunnelDown       = "down"
	tunnelUnneeded   = "not needed"
	tunnelResting    = "resting"
)

// keylessGrace is how long a tunnel may take to come up until that is a problem: a
// handshake that gets lost is tried again after five seconds.
const keylessGrace = 10 * time.Second

// seenTunnel is how the tunnel to a node is, as a round has found it. What changes
// in it is told.
type seenTunnel struct {
	name string
	// state is one of the above, since when it is so; why is what is behind it.
	state, why string
	since      time.Time
	// driver is what packets go by, endpoint where they go to; empty if there is
	// no peer.
	driver   string
	endpoint netip.AddrPort
	// size is what packets could have last that was more than a guess.
	size pathSize
	// keys is when those in use were made, rekeys how often that changed. keyless is
	// since when there are none that packets can take; zero while there are.
	keys, keyless time.Time
	rekeys        uint64
	problems      []tunnelProblem
}

// facts are what a seenTunnel follows from.
type facts struct {
	node mesh.Node
	// choice is how the node is to be reached, if it was looked at.
	choice choice
	looked bool
	// peer is what packets go by; nil is nothing.
	peer  *peerState
	stats probe.Stats
	// broken is what keeps everything from working; faults are what went wrong with
	// this node.
	broken error
	faults []nodeError
	// refused says why the session is refused by which packets go, or are to go.
	refused string
}

// look is what follows from facts, before being what was seen a round ago.
func look(now time.Time, f facts, before seenTunnel) seenTunnel {
	s := seenTunnel{name: f.node.Name, state: f.state(), why: f.why(), since: now, rekeys: before.rekeys}
	if p := f.peer; p != nil {
		s.driver, s.endpoint, s.size, s.keys = p.driver, p.Endpoint, p.size, p.LastHandshake
		if p.size.basis == probe.Searching {
			s.size = before.size
		}
		if s.keys.IsZero() { // those that were there last tell new ones from the first
			s.keys = before.keys
		} else if !before.keys.IsZero() && !s.keys.Equal(before.keys) && s.driver == before.driver {
			s.rekeys++
		}
		if !p.Live && !p.rest.resting() {
			s.keyless = earliest(before.keyless, now)
		}
	}
	if s.state == before.state {
		s.since = before.since
	}
	s.problems = f.problems(now, s.keyless, before.problems)
	return s
}

// earliest is a, unless it is zero.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() {
		return b
	}
	return a
}

func (f facts) state() string {
	switch {
	case f.peer == nil && errors.Is(f.choice.err, errUnneeded):
		return tunnelUnneeded
	case f.peer != nil && f.peer.rest.resting():
		return tunnelResting
	case f.peer == nil, !f.stats.SilentSince.IsZero():
		return tunnelDown
	case !f.peer.Live:
		return tunnelConnecting
	}
	return tunnelUp
}

// why says what the tunnel is made of and why, or why there is none.
func (f facts) why() string {
	switch {
	case !f.looked && f.broken != nil:
		return f.broken.Error()
	case !f.looked:
		return "it is not looked at yet"
	case f.choice.err != nil:
		return f.choice.err.Error()
	case f.peer != nil && f.peer.technology != f.choice.Technology:
		return fmt.Sprintf("%s; packets go by %s until that is proved", f.choice.Why, f.peer.driver)
	}
	return f.choice.Why
}
