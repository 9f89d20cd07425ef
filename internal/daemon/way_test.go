package daemon

import (
	"testing"
	"time"

	"edgenet.dev/edgenet/pkg/tunnel"
	"edgenet.dev/edgenet/pkg/tunnel/probe"
)

const (
	wg  = tunnel.WireGuard
	esp = tunnel.IPsec
)

// story is what happens to a way, a second at a time.
type story struct {
	t   *testing.T
	way way
	now time.Time
}

// passes lets a second pass and checks by what the peer is reached, and what else
// has it.
func (s *story) passes(target tunnel.Technology, proved bool, received uint64, on tunnel.Technology, uses ...tunnel.Technology) {
	s.t.Helper()
	s.now = s.now.Add(time.Second)
	var at time.Time
	if proved {
		at = s.now.Add(-time.Millisecond)
	}
	s.way = s.way.next(s.now, target, at, received)
	if s.way.on != on {
		s.t.Errorf("packets go by %q, want %q", s.way.on, on)
	}
	for _, technology := range []tunnel.Technology{wg, esp} {
		want := technology == on
		for _, u := range uses {
			want = want || technology == u
		}
		if s.way.uses(technology) != want {
			s.t.Errorf("%s has the peer: %v, want %v; %+v", technology, !want, want, s.way)
		}
	}
}

func begin(t *testing.T) *story { return &story{t: t, now: time.Unix(1000, 0)} }

func TestANodeIsReachedByWhatIsChosenFirst(t *testing.T) {
	s := begin(t)
	s.passes(esp, false, 0, esp)
	s.passes(esp, false, 0, esp)
}

func TestANodeIsMovedWhenTheNewIsProved(t *testing.T) {
	s := begin(t)
	s.passes(wg, false, 0, wg)
	for range 100 { // for as long as it takes
		s.passes(esp, false, 10, wg, esp)
	}
	s.passes(esp, true, 10, esp, wg)
}

// The peer goes on sending by what was left for as long as it has not proved the
// new one for itself.
func TestWhatWasLeftIsKeptUntilItIsSilent(t *testing.T) {
	s := begin(t)
	s.passes(wg, false, 0, wg)
	s.passes(esp, false, 0, wg, esp)
	s.passes(esp, true, 10, esp, wg)
	for i := range uint64(100) {
		s.passes(esp, true, 11+i, esp, wg)
	}
	for range 4 {
		s.passes(esp, false, 110, esp, wg)
	}
	s.passes(esp, false, 110, esp)
}

// An answer from before the move was begun, to an earlier one, proves nothing.
func TestAnOldAnswerProvesNothing(t *testing.T) {
	s := begin(t)
	s.passes(wg, false, 0, wg)
	s.passes(esp, false, 0, wg, esp)
	s.now = s.now.Add(time.Second)
	s.way = s.way.next(s.now, esp, s.way.since.Add(-time.Second), 0)
	if s.way.on != wg {
		t.Errorf("it was moved: %+v", s.way)
	}
}

func TestOnlyKeysThatLastProve(t *testing.T) {
	now := time.Unix(1000, 0)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	for _, c := range []struct {
		name           string
		live           bool
		handshake, cut time.Time
		proves         bool
	}{
		{"an answer by keys that last", true, ago(3 * time.Second), ago(time.Second), true},
		{"no session", false, ago(3 * time.Second), ago(time.Second), false},
		{"keys that are young", true, ago(time.Second), ago(time.Millisecond), false},
		{"an answer by the keys before", true, ago(3 * time.Second), ago(4 * time.Second), false},
		{"no answer", true, ago(3 * time.Second), time.Time{}, false},
	} {
		got := proof(now, tunnel.PeerStatus{Live: c.live, LastHandshake: c.handshake}, probe.Stats{LastCut: c.cut})
		if got.IsZero() == c.proves || c.proves && got != c.cut {
			t.Errorf("%s: got %v", c.name, got)
		}
	}
}

func TestAMoveThatIsTakenBackChangesNothing(t *testing.T) {
	s := begin(t)
	s.passes(wg, false, 0, wg)
	s.passes(esp, false, 0, wg, esp)
	s.passes(wg, false, 5, wg, esp) // the peer may have moved already
	for range 4 {
		s.passes(wg, false, 5, wg, esp)
	}
	s.passes(wg, false, 5, wg)
}

func TestAMoveBackUsesWhatWasLeft(t *testing.T) {
	s := begin(t)
	s.passes(wg, false, 0, wg)
	s.passes(esp, false, 0, wg, esp)
	s.passes(esp, true, 0, esp, wg)
	s.passes(wg, false, 0, esp, wg)
	for range 10 { // is not taken away as left while it is where to go
		s.passes(wg, false, 0, esp, wg)
	}
	s.passes(wg, true, 0, wg, esp)
}
