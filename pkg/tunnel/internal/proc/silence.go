package proc

import "time"

// HangTime is how long a process may leave requests without an answer before it
// is taken to hang for good: two requests that each gave up, and more than what a
// host that swaps, or a debugger, lets it wait for.
const HangTime = 10 * time.Second

// Silence is since when a process has not answered; its zero value is of one that
// has.
type Silence struct {
	since time.Time
	// requests that were given up since then.
	requests int
}

// Unanswered notes a request that was given up, and when it was made.
func (s *Silence) Unanswered(asked time.Time) {
	if s.requests == 0 {
		s.since = asked
	}
	s.requests++
}

// Answered ends the silence.
func (s *Silence) Answered() { *s = Silence{} }

// Hangs tells whether it has lasted for HangTime. One request does not tell: the
// host itself may have stood still.
func (s *Silence) Hangs(now time.Time) bool {
	return s.requests > 1 && now.Sub(s.since) >= HangTime
}
