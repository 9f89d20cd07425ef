package sim

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"edgenet.dev/edgenet/pkg/mesh"
)

// deed is what a step of a schedule does.
type deed string

const (
	deedPut    deed = "put"
	deedDelete deed = "delete"
	// deedBurst has several nodes write the same record at the same instant.
	deedBurst deed = "burst"
	// deedStop ends a node in an orderly way, deedCrash takes its power away;
	// deedBlackout does so to all at once.
	deedStop     deed = "stop"
	deedCrash    deed = "crash"
	deedBlackout deed = "blackout"
	// deedCut lets nothing through between nodes, both ways or one; deedFlap does
	// so time and again.
	deedCut     deed = "cut"
	deedFlap    deed = "flap"
	deedWeather deed = "weather"
	deedClock   deed = "clock"
)

// deeds are how often each is drawn. About one step of two disturbs nothing.
var deeds = []struct {
	do     deed
	weight int
}{
	{deedPut, 40},
	{deedDelete, 14},
	{deedBurst, 8},
	{deedStop, 6},
	{deedCrash, 12},
	{deedBlackout, 1},
	{deedCut, 9},
	{deedFlap, 3},
	{deedWeather, 3},
	{deedClock, 8},
}

// mostSkew is how far the clock of a node is set ahead or back, at most: two nodes
// that are as far apart as can be still take one another's records (maxClockAhead
// in pkg/mesh).
const mostSkew = 4 * time.Minute

// moment is where in a write a crash comes.
type moment string

const (
	// momentIdle is none.
	momentIdle moment = "idle"
	// momentBefore is before anything of the write is on disk, momentTorn when its
	// pages are there and the one that makes them count is not, momentAfter when all
	// is there and acknowledged, and nobody else knows.
	momentBefore moment = "before a commit"
	momentTorn   moment = "within a commit"
	momentAfter  moment = "after a commit"
)

var moments = []moment{momentIdle, momentBefore, momentTorn, momentAfter}

// step is one thing that is done to the mesh. All chances are in it, so that a
// schedule from which steps were taken does the rest as before.
type step struct {
	at time.Duration
	do deed
	// node does it, or it is done to it.
	node int
	// from and to are the sides of a cut.
	from, to []int
	oneWay   bool
	// kind, of which record; key chooses one of few.
	kind mesh.Kind
	key  int
	// lasts is how long a fault does.
	lasts time.Duration
	when  moment
	// loss and jitter are the weather, skew is what a clock is set to.
	loss         float64
	jitter, skew time.Duration
}

// String says what a step does, on one line.
func (s step) String() string {
	text := fmt.Sprintf("%6.2f s %s", s.at.Seconds(), s.do)
	switch s.do {
	case deedPut, deedDelete, deedBurst:
		return fmt.Sprintf("%s %s %d on %s", text, s.kind, s.key, name(s.node))
	case deedStop:
		return fmt.Sprintf("%s %s for %s", text, name(s.node), s.lasts)
	case deedCrash:
		return fmt.Sprintf("%s %s %s (%s %d) for %s", text, name(s.node), s.when, s.kind, s.key, s.lasts)
	case deedBlackout:
		return fmt.Sprintf("%s for %s", text, s.lasts)
	case deedCut, deedFlap:
		way := "<->"
		if s.oneWay {
			way = "-->"
		}
		return fmt.Sprintf("%s %v %s %v for %s", text, s.from, way, s.to, s.lasts)
	case deedWeather:
		return fmt.Sprintf("%s loss %.0f %%, jitter %s for %s", text, 100*s.loss, s.jitter, s.lasts)
	case deedClock:
		return fmt.Sprintf("%s of %s to %s", text, name(s.node), s.skew)
	default:
		return text
	}
}

// schedule is what is done, in order of time.
type schedule []step

// String is one line per step.
func (s schedule) String() string {
	var b strings.Builder
	for _, st := range s {
		fmt.Fprintln(&b, st)
	}
	return b.String()
}

// lot draws a schedule.
type lot struct {
	*rand.Rand
	nodes, authorities int
}

// draw makes the schedule of a seed: about two steps per second. Every second
// node's clock is wrong from the beginning.
func (l lot) draw(length time.Duration) schedule {
	var out schedule
	for i := range l.nodes {
		if skew := l.upTo(2*mostSkew) - mostSkew; l.IntN(2) == 0 {
			out = append(out, step{do: deedClock, node: i, skew: skew})
		}
	}
	for at := l.upTo(time.Second); at < length; at += l.upTo(time.Second) {
		out = append(out, l.step(at))
	}
	return out
}

// upTo draws a time.
func (l lot) upTo(most time.Duration) time.Duration {
	return time.Duration(l.Int64N(int64(most/time.Millisecond))) * time.Millisecond
}

// step draws one step.
func (l lot) step(at time.Duration) step {
	total := 0
	for _, d := range deeds {
		total += d.weight
	}
	s := step{at: at, key: l.IntN(3)}
	left := l.IntN(total)
	for _, d := range deeds {
		if left -= d.weight; left < 0 {
			s.do = d.do
			break
		}
	}
	s.kind = []mesh.Kind{mesh.KindVPC, mesh.KindGroup, mesh.KindEndpoint, mesh.KindEndpoint}[l.IntN(4)]
	s.node = l.IntN(l.nodes)
	if s.kind != mesh.KindEndpoint && s.do != deedStop && s.do != deedClock {
		s.node = l.IntN(l.authorities)
	}
	s.when = moments[l.IntN(len(moments))]
	s.lasts = 500*time.Millisecond + l.upTo(15*time.Second)
	s.loss, s.jitter = 0.3*l.Float64(), l.upTo(200*time.Millisecond)
	s.skew = l.upTo(2*mostSkew) - mostSkew
	s.oneWay = l.IntN(2) == 0
	l.sides(&s)
	return s
}

// sides draws whom a cut is between: one node and all others, two nodes, or any
// parts.
func (l lot) sides(s *step) {
	order := l.Perm(l.nodes)
	from, to := 1, l.nodes-1
	switch l.IntN(3) {
	case 0:
		from = 1 + l.IntN(l.nodes-1)
		to = l.nodes - from
	case 1:
		to = 1
	}
	s.from, s.to = order[:from], order[from:from+to]
	if l.IntN(2) == 0 {
		s.from, s.to = s.to, s.from
	}
}
