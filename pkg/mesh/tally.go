package mesh

import (
	"maps"
	"slices"
	"sync"
	"time"
)

const (
	// caseLife is how long what is said of a node stays without news. By then
	// memberlist has found out by itself, and its word alone counts: nobody is
	// dead for ever by what witnesses once said.
	caseLife = time.Minute
	// maxSayings bounds how many witnesses are heard about one node.
	maxSayings = 16
	// A witness that is proved wrong so often within so long is doubted: its word
	// alone makes nobody suspect. It still counts with others.
	doubtedFrom = 3
	doubtFor    = 10 * time.Minute
)

// tally counts what verified witnesses say of whom. It knows nothing of the
// network, and of time what it is told.
type tally struct {
	mu    sync.Mutex
	cases map[NodeID]*lifeCase
	wrong map[NodeID]mistakes
}

// lifeCase is what is said about one node.
type lifeCase struct {
	// newest is the latest beat that is known, nil if none is.
	newest *beat
	said   map[NodeID]*silence
	// until is up to when the words of a witness are done with: gossip brings them
	// more than once.
	until map[NodeID]moment
	// dead is true once enough witnesses agreed, until a beat of over or later.
	dead bool
	over moment
	// touched is when there last was news.
	touched time.Time
}

// mistakes counts how often a witness was proved wrong since a time.
type mistakes struct {
	since time.Time
	count int
}

func newTally() *tally {
	return &tally{cases: make(map[NodeID]*lifeCase), wrong: make(map[NodeID]mistakes)}
}

// caseOf returns that of a node, made if need be. The lock is held.
func (t *tally) caseOf(id NodeID) *lifeCase {
	c := t.cases[id]
	if c == nil {
		c = &lifeCase{said: make(map[NodeID]*silence), until: make(map[NodeID]moment)}
		t.cases[id] = c
	}
	return c
}

// isNews tells whether a witness's word could change anything: so that signatures
// are looked at only then.
func (t *tally) isNews(s *silence) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.cases[s.beat.node]
	if c == nil {
		return true
	}
	last, heard := c.until[s.witness]
	return (heard || len(c.until) < maxSayings) && s.after(last) &&
		(c.newest == nil || !s.voidedBy(c.newest.moment))
}

// say takes a witness's word that isNews.
func (t *tally) say(s *silence, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.caseOf(s.beat.node)
	c.said[s.witness], c.until[s.witness] = s, s.moment
	c.touched = now
	t.learn(c, s.beat, now)
}

// knows returns the latest known beat of a node of which something is or was
// said, nil if there is none.
func (t *tally) knows(id NodeID) *beat {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c := t.cases[id]; c != nil {
		return c.newest
	}
	return nil
}

// hear takes a verified beat that was told on. It tells whether that is worth
// telling others, as it changes what is said or comes well after what is known; and
// which witnesses it proved wrong.
func (t *tally) hear(b *beat, now time.Time) (news bool, wrong []NodeID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.caseOf(b.node)
	news = c.newest == nil || b.start > c.newest.start || b.after(c.newest.plus(time.Second))
	said, dead := len(c.said), c.dead
	wrong = t.learn(c, b, now)
	if news = news || len(c.said) < said || dead && !c.dead; news {
		c.touched = now
	}
	return news, wrong
}

// refute takes a verified beat that came straight from its node. It tells whether
// that changes what is said of it, and which witnesses it proved wrong.
func (t *tally) refute(b *beat, now time.Time) (refuted bool, wrong []NodeID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.cases[b.node]
	if c == nil {
		return false, nil
	}
	before, dead := len(c.said), c.dead
	wrong = t.learn(c, b, now)
	return len(c.said) < before || dead && !c.dead, wrong
}

// learn drops what a beat proves wrong. The lock is held.
func (t *tally) learn(c *lifeCase, b *beat, now time.Time) (wrong []NodeID) {
	if c.newest != nil && !b.after(c.newest.moment) {
		return nil
	}
	c.newest = b
	for witness, s := range c.said {
		if !s.voidedBy(b.moment) {
			continue
		}
		delete(c.said, witness)
		// Else it has really been away, or many took it for that.
		if b.start == s.beat.start && !c.dead {
			t.blame(witness, now)
			wrong = append(wrong, witness)
		}
	}
	if c.dead && !c.over.after(b.moment) {
		c.dead = false
	}
	return wrong
}

// blame counts a mistake. The lock is held.
func (t *tally) blame(witness NodeID, now time.Time) {
	m := t.wrong[witness]
	if m.count == 0 || now.Sub(m.since) > doubtFor {
		m = mistakes{since: now}
	}
	m.count++
	t.wrong[witness] = m
}

// doubts tells whether a witness has been wrong too often. The lock is held.
func (t *tally) doubts(witness NodeID, now time.Time) bool {
	m := t.wrong[witness]
	return m.count >= doubtedFrom && now.Sub(m.since) <= doubtFor
}

// agree looks whether enough of a node's witnesses say that it is silent, and
// tells if that is new.
func (t *tally) agree(id NodeID, witnesses []NodeID, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.cases[id]
	if c == nil || c.dead || len(witnesses) == 0 {
		return false
	}
	count := 0
	var over moment
	for _, w := range witnesses {
		if s := c.said[w]; s != nil {
			count++
			if o := s.over(); o.after(over) {
				over = o
			}
		}
	}
	if count < quorum(len(witnesses)) {
		return false
	}
	c.dead, c.over, c.touched = true, over, now
	return true
}

// verdict returns what is to be thought of a node that memberlist calls alive.
func (t *tally) verdict(id NodeID, now time.Time) State {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.cases[id]
	switch {
	case c == nil || !c.dead && len(c.said) == 0:
		return StateAlive
	case c.dead:
		return StateDead
	case len(c.said) > 1:
		return StateSuspect
	}
	for witness := range c.said {
		if t.doubts(witness, now) {
			return StateAlive
		}
	}
	return StateSuspect
}

// says tells whether a witness's word about a node is in force.
func (t *tally) says(witness, id NodeID) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.cases[id]
	return c != nil && c.said[witness] != nil
}

// sayersOf returns the witnesses whose words about a node are in force.
func (t *tally) sayersOf(id NodeID) []NodeID {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.cases[id]
	if c == nil {
		return nil
	}
	return slices.Collect(maps.Keys(c.said))
}

// accused tells whether another than one witness, who is not doubted, says that
// a node is silent.
func (t *tally) accused(id, but NodeID, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.cases[id]
	if c == nil {
		return false
	}
	for witness := range c.said {
		if witness != but && !t.doubts(witness, now) {
			return true
		}
	}
	return false
}

// open returns the nodes of which something is said that is not agreed.
func (t *tally) open() []NodeID {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []NodeID
	for id, c := range t.cases {
		if !c.dead && len(c.said) > 0 {
			out = append(out, id)
		}
	}
	return out
}

// acquit drops all that is said of a node that was heard by this node itself. It
// tells whether that changes what is thought of it.
func (t *tally) acquit(id NodeID) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.cases[id]
	if c == nil || !c.dead && len(c.said) == 0 {
		return false
	}
	c.dead = false
	clear(c.said)
	return true
}

// expire forgets cases without news and old mistakes. It tells whether states
// may be others by that.
func (t *tally) expire(now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	before := len(t.cases)
	maps.DeleteFunc(t.cases, func(_ NodeID, c *lifeCase) bool { return now.Sub(c.touched) > caseLife })
	maps.DeleteFunc(t.wrong, func(_ NodeID, m mistakes) bool { return now.Sub(m.since) > doubtFor })
	return len(t.cases) != before
}
