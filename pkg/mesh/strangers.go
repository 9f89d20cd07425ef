package mesh

import "sync"

// maxStrangers bounds how many unknown authors are remembered.
const maxStrangers = 1024

// strangers remembers authors whose records were refused because their node
// record had not come yet. When it comes, what was refused is asked for.
type strangers struct {
	mu  sync.Mutex
	ids map[NodeID]struct{}
}

// add remembers an unknown author.
func (s *strangers) add(id NodeID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ids == nil {
		s.ids = make(map[NodeID]struct{})
	}
	for old := range s.ids {
		if len(s.ids) < maxStrangers {
			break
		}
		delete(s.ids, old) // Whoever makes up authors must not keep the real ones out.
	}
	s.ids[id] = struct{}{}
}

// has tells whether an author is wanted.
func (s *strangers) has(id NodeID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.ids[id]
	return ok
}

// introduced returns and forgets those of whom the node record is among news.
func (s *strangers) introduced(news []*entry) []NodeID {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []NodeID
	for _, e := range news {
		if _, ok := s.ids[e.Node]; ok && e.Kind == KindNode {
			delete(s.ids, e.Node)
			out = append(out, e.Node)
		}
	}
	return out
}
