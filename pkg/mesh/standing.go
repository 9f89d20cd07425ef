package mesh

import (
	"sync"
	"time"
)

// standings remember since when nodes that are not alive are seen so. All nodes are
// looked at often, whatever happens, so this is noted as they are looked at. The zero
// value is ready.
type standings struct {
	mu sync.Mutex
	of map[NodeID]standing
}

// standing is a state and when it was seen first.
type standing struct {
	state State
	since time.Time
}

// see notes the state that a node is seen in, and returns since when; zero for one that
// is alive.
func (s *standings) see(id NodeID, state State, now time.Time) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if state == StateAlive {
		delete(s.of, id)
		return time.Time{}
	}
	last, known := s.of[id]
	if known && last.state == state {
		return last.since
	}
	if s.of == nil {
		s.of = make(map[NodeID]standing)
	}
	s.of[id] = standing{state: state, since: now}
	return now
}
