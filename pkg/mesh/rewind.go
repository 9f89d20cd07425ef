package mesh

import (
	"cmp"
	"fmt"
	"slices"

	"go.etcd.io/bbolt"
)

// rewind signs this node's records anew whose versions its own clock put so far
// ahead that others do not believe them, in their order, and sets the clock back.
// It returns them.
func (r *replica) rewind(in *member, key privateKey) ([]*entry, error) {
	bound := versionAt(r.times.now().Add(maxClockAhead))
	if !r.clock.beyond(bound) {
		return nil, nil
	}
	r.commit.Lock()
	defer r.commit.Unlock()
	if r.sealed || r.trust() != in.trustAnchor || !r.clock.beyond(bound) {
		return nil, nil
	}
	var highest Version
	ahead := r.table.entries(func(e *entry) bool {
		if e.Version <= bound {
			highest = max(highest, e.Version)
			return false
		}
		return e.Node == in.self.id
	})
	slices.SortFunc(ahead, func(a, b *entry) int { return cmp.Compare(a.Version, b.Version) })
	r.clock.set(highest)
	es := make([]*entry, 0, len(ahead))
	for _, old := range ahead {
		e, err := r.resign(old, in, key)
		if err != nil {
			return nil, fmt.Errorf("sign %s %q anew: %w", old.Kind, old.Key, err)
		}
		es = append(es, e)
	}
	last := r.clock.now()
	err := r.db.Update(func(tx *bbolt.Tx) error {
		for _, e := range es {
			if err := putRecord(tx, e); err != nil {
				return err
			}
		}
		return putClock(tx, last)
	})
	if err != nil {
		return nil, fmt.Errorf("write database %s: %w", r.db.Path(), err)
	}
	r.reserved = last
	for i, e := range es {
		r.table.swap(ahead[i], e)
	}
	r.log.Warn("signed records anew that were ahead of the time", "records", len(es))
	return es, nil
}

// resign signs a record as it is now.
func (r *replica) resign(old *entry, in *member, key privateKey) (*entry, error) {
	rec := old.Record
	rec.Version = r.clock.now()
	if r.restamp != nil && !rec.Deleted && rec.Kind != KindNode {
		var err error
		if rec.Payload, err = r.restamp(rec); err != nil {
			return nil, err
		}
	}
	e, err := sign(rec, in.self, key)
	if err != nil {
		return nil, err
	}
	if e.Kind == KindNode {
		if err := e.adopt(in.self); err != nil {
			return nil, err
		}
	}
	return e, nil
}

// beyond tells whether the clock is later than a version.
func (c *hlc) beyond(v Version) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last > v
}

// set makes the clock that of a version, also if it is later.
func (c *hlc) set(v Version) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = v
}

// swap puts an entry in the place of one of the same author's, whatever their
// versions.
func (t *table) swap(old, e *entry) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.kinds[e.Kind][e.Key] == old {
		t.set(old, e)
	}
}
