package daemon

import (
	"time"
)

// together bounds how long the groups of a batch wait for one another.
const together = 2 * time.Second

// batches keeps groups that were changed at once together: until all records of
// a batch have come, or the time is over, what was in force before stays.
type batches struct {
	// held are the groups whose record is not in force yet, by key.
	held map[string]held
	// come counts the records of each batch that are there.
	come map[uint64]int
}

// held is a group that waits for others.
type held struct {
	// before is what is in force for as long.
	before *group
	batch  uint64
	size   int
	until  time.Time
}

func newBatches() *batches { return &batches{held: map[string]held{}, come: map[uint64]int{}} }

// update takes notice of groups that are not as they were, and notes in changed
// the VPCs in which something has come into force by it.
func (b *batches) update(before, now []*group, at time.Time, changed vnis) {
	was := make(map[string]*group, len(before))
	for _, g := range before {
		was[g.key()] = b.inForce(g)
		delete(b.held, g.key())
		b.count(g, -1)
	}
	for _, g := range now {
		b.count(g, 1)
	}
	for _, g := range now {
		batch := g.record.GetBatch()
		if old := was[g.key()]; old != nil && b.come[batch.GetId()] < int(batch.GetSize()) {
			b.held[g.key()] = held{before: old, batch: batch.GetId(), size: int(batch.GetSize()), until: at.Add(together)}
		}
	}
	for key, h := range b.held {
		if b.come[h.batch] >= h.size || !at.Before(h.until) {
			delete(b.held, key)
			changed[h.before.vni] = true
		}
	}
}

func (b *batches) count(g *group, n int) {
	batch := g.record.GetBatch()
	if batch == nil {
		return
	}
	if b.come[batch.GetId()] += n; b.come[batch.GetId()] == 0 {
		delete(b.come, batch.GetId())
	}
}

// inForce is the state of a group that counts. Without batches every record
// counts.
func (b *batches) inForce(g *group) *group {
	if b != nil {
		if h, waits := b.held[g.key()]; waits {
			return h.before
		}
	}
	return g
}
