package probe

import (
	"slices"
	"time"
)

// The sizes are those of packets inside the tunnel, in bytes, IPv6 header and
// all.
const (
	// Floor is what every way is taken to carry: 1,280 bytes of the underlay,
	// which IPv6 promises, less the 82 that the dearest tunnel adds, ESP in UDP over
	// IPv6, and down to a whole step (RFC 8899, section 5.1.2: BASE_PLPMTU).
	Floor = 1184
	// Step is how exactly a size is found. WireGuard pads a packet to a
	// multiple of 16 bytes, ESP to one of 4.
	Step = 16
	// batch is how many packets of a search are on the way at once, and
	// enoughLost how many must be lost for a size not to get through (RFC 8899,
	// section 5.1.2: MAX_PROBES).
	batch      = 8
	enoughLost = 3
	// doubts is how many more are sent when one was lost that has to get through.
	// One more packet is on each round's end, small, to tell a way that is too
	// narrow from one that is dead.
	doubts = 5
)

const (
	// minPatience and maxPatience bound how long an answer is awaited.
	minPatience = 300 * time.Millisecond
	maxPatience = time.Second
	// confirmBusy and confirmIdle are how often a size is confirmed. TCP's own
	// patience doubles each time: what is noticed within 1.4 s costs a connection half
	// of what is noticed a little later.
	confirmBusy = 500 * time.Millisecond
	confirmIdle = 30 * time.Second
	// raiseEvery is how often more is tried than what is known to get through.
	raiseEvery = time.Minute
	// minRetry and maxRetry bound how often a way is tried that is silent.
	minRetry = 500 * time.Millisecond
	maxRetry = 10 * time.Second
)

// Basis says what a Stats' MTU is known from.
type Basis int

const (
	// Assumed says that nothing has been heard from there. It is what every way carries.
	Assumed Basis = iota
	// Searching says that less than before gets through, and that it is being found
	// out how much. It is the largest size that did so far, or what every way carries.
	Searching
	// Confirmed says that packets of that size got through, and larger ones did not
	// or are not sent.
	Confirmed
	// Narrow says that not even what every way carries gets through, but small packets do.
	Narrow
)

// String is the word for it in the API.
func (b Basis) String() string {
	switch b {
	case Searching:
		return "searching"
	case Confirmed:
		return "confirmed"
	case Narrow:
		return "too narrow"
	case Assumed:
	}
	return "assumed"
}

// phase is what the next round is for.
type phase int

const (
	phaseListen  phase = iota // nothing has been heard yet
	phaseSearch               // find the largest size
	phaseConfirm              // is it still so?
	phaseDoubt                // one was lost: was that chance?
	phaseRaise                // is it more by now?
)

// sizing finds out how large a packet the way to one peer takes, as RFC 8899
// does: by packets that are answered or not, so that no router needs to say
// anything. Packets are sent in rounds; a round ends when all of it is answered,
// or in time. It is a state machine without a clock of its own.
type sizing struct {
	limit int // the largest that may be sent
	busy  bool

	mtu       int // what is known to get through, or taken to
	basis     Basis
	confirmed time.Time // when that size last got through
	found     bool      // a search has come to its end

	phase phase
	// passed is the largest size that got through in this search, and lost are
	// the sizes that did not.
	passed int
	lost   []int
	// sizes are those of the round that is open, alive whether anything of it
	// was answered; none is open if due is zero.
	sizes []sentSize
	alive bool
	due   time.Time

	next  time.Time // of the next round
	raise time.Time // of the next try to find more
	eager bool      // one lost packet is not enough to give that up
	retry time.Duration
}

type sentSize struct {
	bytes    int
	answered bool
}

func newSizing(limit int) sizing {
	return sizing{limit: limit, mtu: min(Floor, limit), passed: min(Floor, limit), retry: minRetry}
}

// begin opens a round if it is time for one, and returns the sizes to send, 0
// for the smallest. The time to wait for answers is patience.
func (z *sizing) begin(now time.Time, patience time.Duration) []int {
	if !z.due.IsZero() || now.Before(z.next) {
		return nil
	}
	if z.phase == phaseConfirm && z.mtu < z.limit && !now.Before(z.raise) {
		z.phase, z.passed, z.lost = phaseRaise, z.mtu, nil
	}
	var sizes []int
	switch z.phase {
	case phaseListen:
		sizes = []int{z.mtu, z.limit}
	case phaseRaise:
		candidates := z.candidates()
		if sizes = spread(candidates); z.passed == z.mtu && len(sizes) > 0 {
			// If more gets through, the next larger size does; the limit ends it at once.
			sizes = slices.Compact([]int{candidates[0], z.limit})
		}
	case phaseSearch:
		sizes = spread(z.candidates())
	case phaseConfirm:
		sizes = []int{z.mtu}
		z.next = now.Add(z.interval())
	case phaseDoubt:
		// If it has shrunk, what it takes instead is known right away, nearly: who is
		// told of too low an MTU keeps to that for long.
		z.passed, z.lost = min(Floor, z.limit), nil
		sizes = append(slices.Repeat([]int{z.mtu}, doubts), spread(steps(z.passed, z.mtu))...)
	}
	sizes = append(sizes, 0)
	z.sizes, z.alive, z.due = z.sizes[:0], false, now.Add(patience)
	for _, size := range sizes {
		z.sizes = append(z.sizes, sentSize{bytes: size})
	}
	return sizes
}

func (z *sizing) interval() time.Duration {
	if z.busy {
		return confirmBusy
	}
	return confirmIdle
}

// bound is the least size that is known not to get through, or one more than
// the limit. What is lost of smaller sizes speaks against a larger one, too.
func (z *sizing) bound() int {
	lost := slices.Sorted(slices.Values(z.lost))
	lost = lost[sortedAbove(lost, z.passed):]
	if len(lost) < enoughLost {
		return z.limit + 1
	}
	return lost[enoughLost-1]
}

// sortedAbove is how many are not larger than size.
func sortedAbove(sorted []int, size int) int {
	i, _ := slices.BinarySearch(sorted, size+1)
	return i
}

// most is the largest size that may get through. Until the first search has come to
// its end that is what is not known to be lost: who is told of less keeps to that
// for long.
func (z *sizing) most() int {
	if z.found {
		return z.mtu
	}
	return max(z.mtu, z.bound()-1)
}

// candidates are the sizes that are in question: larger than what gets through,
// and smaller than what does not.
func (z *sizing) candidates() []int {
	bound := z.bound()
	sizes := steps(z.passed, min(bound, z.limit))
	if bound > z.limit && z.passed < z.limit {
		sizes = append(sizes, z.limit)
	}
	return sizes
}

// spread picks as many of the sizes as a batch has room for, evenly. If these are
// few, each comes several times.
func spread(steps []int) []int {
	if len(steps) == 0 {
		return nil
	}
	out := make([]int, 0, batch)
	if len(steps) <= batch {
		for i := range batch {
			out = append(out, steps[i%len(steps)])
		}
		return out
	}
	for i := 1; i <= batch; i++ {
		out = append(out, steps[i*len(steps)/batch-1])
	}
	return out
}

// steps are the sizes between two that are worth asking for, in ascending order.
func steps(above, below int) []int {
	var out []int
	for size := above/Step*Step + Step; size < below; size += Step {
		out = append(out, size)
	}
	return out
}

// answered takes an answer to a packet of that size, 0 for the smallest, of the
// round that is open or of one before. It says whether the round is over.
func (z *sizing) answered(size int, now time.Time) bool {
	if size == z.mtu && size > 0 {
		z.confirmed = now
	}
	z.passed = max(z.passed, min(size, z.limit))
	if z.due.IsZero() {
		return false
	}
	z.alive = true
	whole := true
	for i := range z.sizes {
		s := &z.sizes[i]
		if !s.answered && s.bytes == size {
			s.answered, size = true, -1
		}
		whole = whole && s.answered
	}
	return whole || (z.phase == phaseListen || z.phase == phaseRaise || z.phase == phaseSearch) && z.passed == z.limit
}

// end closes the open round, if it is over or has been for long enough. It says
// whether what is in force has changed.
func (z *sizing) end(now time.Time, over bool) (changed bool) {
	if z.due.IsZero() || !over && now.Before(z.due) {
		return false
	}
	z.due = time.Time{}
	before, basis, most := z.mtu, z.basis, z.most()
	switch {
	case !z.alive:
		z.silent(now)
	case z.phase == phaseListen:
		z.search(now)
	case z.phase == phaseSearch, z.phase == phaseRaise:
		z.searched(now)
	case z.delivered():
		z.phase, z.basis = phaseConfirm, Confirmed
		z.next = now.Add(z.interval())
	case z.phase == phaseConfirm:
		z.phase, z.next = phaseDoubt, now
	default:
		z.shrink(now)
	}
	if z.alive {
		z.retry = minRetry
	}
	return z.mtu != before || z.basis != basis || z.most() != most
}

// delivered says whether a packet of the size in force was answered.
func (z *sizing) delivered() bool {
	return slices.ContainsFunc(z.sizes, func(s sentSize) bool { return s.bytes == z.mtu && s.answered })
}

// silent is what follows from a round of which nothing was heard: nothing but
// that it is tried again.
func (z *sizing) silent(now time.Time) {
	if z.phase == phaseDoubt || z.phase == phaseRaise {
		z.phase, z.raise = phaseConfirm, now.Add(raiseEvery)
	}
	z.next = now.Add(z.retry)
	z.retry = min(2*z.retry, maxRetry)
	if z.busy {
		z.retry = minRetry // A way that failed may come back as a narrower one.
	}
}

func (z *sizing) search(now time.Time) {
	z.phase, z.next = phaseSearch, now
	z.searched(now)
}

// searched follows from the answers of a round of a search.
func (z *sizing) searched(now time.Time) {
	z.noteLost()
	if z.phase == phaseRaise && z.passed == z.mtu && !z.eager {
		// It is tried again before long: no need to be sure.
		z.settle(now)
		z.next = now
		return
	}
	if len(z.candidates()) == 0 {
		z.settle(now)
		return
	}
	z.next = now
}

// settle ends a search.
func (z *sizing) settle(now time.Time) {
	if z.mtu != z.passed {
		z.mtu, z.confirmed = z.passed, now
	}
	z.basis, z.phase, z.lost, z.eager, z.found = Confirmed, phaseConfirm, nil, false, true
	z.next, z.raise = now.Add(z.interval()), now.Add(raiseEvery)
	if z.confirmed.IsZero() { // What every way carries is left, and was not tried.
		z.basis, z.next = Searching, now
	}
}

// shrink follows from packets that are lost where small ones are not.
func (z *sizing) shrink(now time.Time) {
	floor := min(Floor, z.limit)
	if z.mtu == floor {
		z.basis, z.phase, z.next = Narrow, phaseConfirm, now.Add(z.interval())
		return
	}
	z.noteLost()
	if z.mtu, z.confirmed = z.passed, now; z.mtu == floor {
		z.confirmed = time.Time{}
	}
	z.basis, z.phase, z.next = Searching, phaseSearch, now
}

// noteLost notes what was not answered in this round of a search.
func (z *sizing) noteLost() {
	for _, s := range z.sizes {
		if !s.answered && s.bytes > z.passed {
			z.lost = append(z.lost, s.bytes)
		}
	}
}

// setLimit changes the largest size that may be sent. It says whether what is in
// force has changed.
func (z *sizing) setLimit(limit int) bool {
	if limit == z.limit {
		return false
	}
	before, most := z.mtu, z.most()
	z.limit = limit
	z.mtu, z.passed = min(z.mtu, limit), min(z.passed, limit)
	z.mtu, z.passed = max(z.mtu, min(Floor, limit)), max(z.passed, min(Floor, limit))
	z.wake()
	return z.mtu != before || z.most() != most
}

// wake has the way looked at without delay, and for more than it took so far.
func (z *sizing) wake() {
	z.next, z.raise, z.retry, z.eager = time.Time{}, time.Time{}, minRetry, true
}

// setBusy says whether tenants use the way now.
func (z *sizing) setBusy(busy bool) {
	if busy && !z.busy && z.phase == phaseConfirm {
		z.next = time.Time{}
	}
	z.busy = busy
}
