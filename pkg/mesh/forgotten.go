package mesh

import "sync"

// forgotten remembers the nodes whose tombstones were collected. It is as long
// as the list of nodes that have left since the start.
type forgotten struct {
	mu   sync.Mutex
	upTo map[NodeID]Version
}

// add remembers a node that left by a version of its record.
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
