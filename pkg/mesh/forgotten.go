package mesh

import "sync"

// forgotten remembers the nodes whose records were collected, of those that left
// or of those that were dead for long. It is as long as the list of these since the
// start.
type forgotten struct {
	mu   sync.Mutex
	upTo map[NodeID]Version
}

// add remembers the version of a node's record that was forgotten.
func (f *forgotten) add(id NodeID, v Version) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.upTo == nil {
		f.upTo = make(map[NodeID]Version)
	}
	f.upTo[id] = v
}

// has tells whether that version, or a later one, was forgotten.
func (f *forgotten) has(id NodeID, v Version) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return v <= f.upTo[id]
}

// knows tells whether a version of a node's record was forgotten.
func (f *forgotten) knows(id NodeID) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, ok := f.upTo[id]
	return ok
}

// remove is for a node that is there again.
func (f *forgotten) remove(id NodeID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.upTo, id)
}

// reset forgets all.
func (f *forgotten) reset() {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.upTo)
}
