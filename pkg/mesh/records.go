package mesh

import (
	"context"
	"fmt"
)

// Put signs a new state of a record, writes it to disk and spreads it. Nodes'
// records cannot be put. It returns ErrNotAuthority for a kind that only an
// authority may sign, ErrNotInMesh in no mesh.
func (m *Mesh) Put(ctx context.Context, kind Kind, key string, payload []byte) (Record, error) {
	if len(payload) > MaxPayload {
		return Record{}, fmt.Errorf("put record %s %q: the payload has %d bytes, more than %d", kind, key, len(payload), MaxPayload)
	}
	rec := Record{Kind: kind, Key: key, Payload: payload}
	rec, err := m.write(ctx, rec)
	if err != nil {
		return Record{}, fmt.Errorf("put record %s %q: %w", kind, key, err)
	}
	return rec, nil
}

// Delete makes a record a tombstone and spreads that. An absent record is no
// error.
func (m *Mesh) Delete(ctx context.Context, kind Kind, key string) error {
	if e := m.replica.table.get(ref{kind, key}); e == nil || e.Deleted {
		return nil
	}
	if _, err := m.write(ctx, Record{Kind: kind, Key: key, Deleted: true}); err != nil {
		return fmt.Errorf("delete record %s %q: %w", kind, key, err)
	}
	return nil
}

// write checks that this node may sign the record, and does it.
func (m *Mesh) write(ctx context.Context, rec Record) (Record, error) {
	if err := ctx.Err(); err != nil {
		return Record{}, err
	}
	m.mu.RLock()
	in, leaving := m.member, m.leaving
	m.mu.RUnlock()
	if in == nil || leaving {
		return Record{}, ErrNotInMesh
	}
	if err := checkKey(rec.Kind, rec.Key); err != nil {
		return Record{}, err
	}
	switch own := owner(rec.Kind, rec.Key); {
	case rec.Kind == KindNode:
		return Record{}, fmt.Errorf("a node's record is written by the mesh itself")
	case own == "" && !in.self.has(RoleAuthority):
		return Record{}, ErrNotAuthority
	case own != "" && own != m.id:
		return Record{}, fmt.Errorf("the record belongs to node %s", own)
	}
	if !rec.Deleted && m.cfg.Validate != nil {
		rec.Node = m.id
		if err := m.cfg.Validate(rec); err != nil {
			return Record{}, fmt.Errorf("check payload: %w", err)
		}
	}
	e, err := m.replica.put(rec, in, m.key)
	if err != nil {
		return Record{}, err
	}
	m.publish([]*entry{e})
	return e.Record, nil
}

// Get returns a live record. Its payload must not be changed.
func (m *Mesh) Get(kind Kind, key string) (Record, bool) {
	e := m.replica.table.get(ref{kind, key})
	if e == nil || e.Deleted {
		return Record{}, false
	}
	return e.Record, true
}

// List returns the live records of a kind, by key. Their payloads must not be
// changed.
func (m *Mesh) List(kind Kind) []Record { return m.replica.table.list(kind) }

// Now returns a version that is higher than that of every record seen, and
// that is never given out twice.
func (m *Mesh) Now() Version { return m.replica.version() }

// publish tells others, and the owner, of new entries.
func (m *Mesh) publish(es []*entry) {
	if len(es) == 0 {
		return
	}
	m.mu.RLock()
	s := m.session
	m.mu.RUnlock()
	if s != nil {
		s.broadcast(es)
	}
	m.pokes.poke()
}
