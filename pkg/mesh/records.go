package mesh

import (
	"context"
	"fmt"
)

// Put signs a new state of a record, writes it to disk and spreads it. Nodes'
// records cannot be put. It returns ErrNotAuthority for a kind that only an
// authority may sign, ErrNotInMesh in no mesh.
func (m *Mesh) Put(ctx context.Context, kind Kind, key string, payload []byte) (Record, error) {
	rec := Record{Kind: kind, Key: key, Payload: payload}
	rec, err := m.write(ctx, rec)
	if err != nil {
		return Record{}, fmt.Errorf("put record %s %q: %w", kind, key, err)
	}
	return rec, nil
}

// PutAll is Put for several records: all of them are stored here, or none.
// Others may still hear of one before the other.
func (m *Mesh) PutAll(ctx context.Context, recs []Record) error {
	if _, err := m.writeAll(ctx, recs); err != nil {
		return fmt.Errorf("put %d records: %w", len(recs), err)
	}
	return nil
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
	es, err := m.writeAll(ctx, []Record{rec})
	if err != nil {
		return Record{}, err
	}
	return es[0].Record, nil
}

// writeAll checks that this node may sign the records, and does it.
func (m *Mesh) writeAll(ctx context.Context, recs []Record) ([]*entry, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.RLock()
	in, leaving := m.member, m.leaving
	m.mu.RUnlock()
	if in == nil || leaving {
		return nil, ErrNotInMesh
	}
	if in.evictions.refuse(in.self) {
		return nil, ErrEvicted
	}
	for _, rec := range recs {
		if err := m.maySign(rec, in); err != nil {
			return nil, err
		}
	}
	es, err := m.replica.putAll(recs, in, m.key)
	if err != nil {
		return nil, err
	}
	m.publish(es)
	return es, nil
}

// maySign says why this node cannot sign a record.
func (m *Mesh) maySign(rec Record, in *member) error {
	if len(rec.Payload) > MaxPayload {
		return fmt.Errorf("the payload of %q has %d bytes, more than %d", rec.Key, len(rec.Payload), MaxPayload)
	}
	if err := checkKey(rec.Kind, rec.Key); err != nil {
		return err
	}
	switch own := owner(rec.Kind, rec.Key); {
	case rec.Kind == KindNode, rec.Kind == KindEviction, rec.Kind == KindGossipKey:
		return fmt.Errorf("a record of this kind is written by the mesh itself")
	case own == "" && !in.self.isAuthority():
		return ErrNotAuthority
	case own != "" && own != m.id:
		return fmt.Errorf("the record belongs to node %s", own)
	}
	if !rec.Deleted && m.cfg.Validate != nil {
		rec.Node = m.id
		if err := m.cfg.Validate(rec); err != nil {
			return fmt.Errorf("check payload: %w", err)
		}
	}
	return nil
}

// Get returns a live record. Its payload must not be changed.
func (m *Mesh) Get(kind Kind, key string) (Record, bool) {
	e := m.replica.table.get(ref{kind, key})
	if e == nil || e.Deleted {
		return Record{}, false
	}
	return e.Record, true
}

// List returns the live records of a kind, by key: the same slice for as long as
// they are the same. It must not be changed.
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
	m.heed(es)
	if s != nil {
		s.broadcast(es)
	}
	m.pokes.poke()
}
