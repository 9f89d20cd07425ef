package mesh

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"sync"

	"edgenet.dev/edgenet/pkg/mesh/internal/wire"
)

// Shared keeps once what several nodes of one process know alike, so that a
// simulation can have many. Each node has a table and a database of its own, and
// checks everything itself; only the memory of equal records is shared.
type Shared struct {
	mu      sync.Mutex
	entries map[[ed25519.SignatureSize]byte]*entry
	// first are the records that all nodes have had before they were opened.
	first []*entry
}

// NewShared returns an empty Shared.
func NewShared() *Shared {
	return &Shared{entries: make(map[[ed25519.SignatureSize]byte]*entry)}
}

// Add has all nodes of a mesh that are opened later know a record, as if it were
// in their databases: it is not verified either. b is its envelope as a database
// has it.
func (s *Shared) Add(mesh ID, b []byte) error {
	var env wire.Envelope
	err := wire.Unmarshal(b, &env)
	if err != nil {
		return fmt.Errorf("add record: %w", err)
	}
	e, err := newEntry(&env)
	if err == nil && e.Kind == KindNode {
		err = e.restore(mesh)
	}
	if err != nil {
		return fmt.Errorf("add record: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.first = append(s.first, e)
	s.entries[e.signature] = e
	return nil
}

// known returns the records that were added. A nil Shared has none.
func (s *Shared) known() []*entry {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.first
}

// same returns the entry that is kept for a verified one: an equal one that another
// node has verified before, or this. A nil Shared keeps none.
func (s *Shared) same(e *entry) *entry {
	if s == nil {
		return e
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if kept := s.entries[e.signature]; kept != nil && bytes.Equal(kept.body, e.body) {
		return kept
	}
	s.entries[e.signature] = e
	return e
}
