package mesh

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
)

// buckets is how many parts the digest of a table has.
const buckets = 256

// table holds the verified records in memory. Its entries are never changed,
// only replaced. It may be used by several goroutines.
type table struct {
	mu      sync.RWMutex
	kinds   map[Kind]map[string]*entry
	digests [buckets]uint64
	// recent has the last changes.
	recent recent
	// sorted caches the live records of a kind by key, once they have been asked
	// for; changed has the keys of those that are not in it as they are.
	sorted  map[Kind][]Record
	changed map[Kind]map[string]struct{}
	// authored counts the records of each author, tombstones too.
	authored map[NodeID]int
	// owned is what each node has of its own, tombstones too.
	owned map[NodeID]usage
}

// usage is a number of records and their bytes.
type usage struct{ records, bytes int }

// errTooMuch says that a node has as many records of its own as it may.
var errTooMuch = errors.New("too many records of one node, or too big")

func newTable() *table {
	t := &table{}
	t.reset()
	return t
}

// reset forgets everything.
func (t *table) reset() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kinds = make(map[Kind]map[string]*entry, len(kinds))
	for _, k := range kinds {
		t.kinds[k] = make(map[string]*entry)
	}
	t.digests, t.recent = [buckets]uint64{}, recent{}
	t.sorted = make(map[Kind][]Record, len(kinds))
	t.changed = make(map[Kind]map[string]struct{}, len(kinds))
	t.authored = make(map[NodeID]int)
	t.owned = make(map[NodeID]usage)
}

// bucketOf returns the bucket of a record.
func bucketOf(r ref) uint8 {
	sum := sha256.Sum256([]byte(string(r.kind) + "\x00" + r.key))
	return sum[0]
}

// get returns an entry, also if it is a tombstone, or nil.
func (t *table) get(r ref) *entry {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.kinds[r.kind][r.key]
}

// put makes e the state of its record if it is newer than what is there.
func (t *table) put(e *entry) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	old := t.kinds[e.Kind][e.Key]
	if !e.newer(old) {
		return false
	}
	t.set(old, e)
	return true
}

// set puts e in the place of old, which may be nil. The lock is held.
func (t *table) set(old, e *entry) {
	if old != nil {
		t.digests[e.bucket] ^= old.hash
		t.unauthor(old.Node)
		t.own(old, -1)
	}
	t.digests[e.bucket] ^= e.hash
	t.recent.put(e, old)
	t.authored[e.Node]++
	t.own(e, 1)
	t.kinds[e.Kind][e.Key] = e
	t.touch(e)
}

// remove drops exactly this entry.
func (t *table) remove(e *entry) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.kinds[e.Kind][e.Key] != e {
		return
	}
	t.digests[e.bucket] ^= e.hash
	t.recent.remove(e)
	t.unauthor(e.Node)
	t.own(e, -1)
	delete(t.kinds[e.Kind], e.Key)
	t.touch(e)
}

// touch notes that a record is not in the cached list as it is, if there is a
// list. The lock is held.
func (t *table) touch(e *entry) {
	if t.changed[e.Kind] != nil {
		t.changed[e.Kind][e.Key] = struct{}{}
	}
}

// unauthor counts one record of an author less. The lock is held.
func (t *table) unauthor(id NodeID) {
	if t.authored[id]--; t.authored[id] <= 0 {
		delete(t.authored, id)
	}
}

// own counts an entry to its owner, or no longer. The lock is held.
func (t *table) own(e *entry, n int) {
	if e.Kind != KindEndpoint { // A node's own record is one, and small.
		return
	}
	id := owner(e.Kind, e.Key)
	u := t.owned[id]
	u.records, u.bytes = u.records+n, u.bytes+n*e.size()
	if t.owned[id] = u; u.records == 0 {
		delete(t.owned, id)
	}
}

// hasRoom tells whether e may be put: its owner has not too much, or does not
// get more by it.
func (t *table) hasRoom(e *entry) bool {
	if e.Kind != KindEndpoint {
		return true
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	u, more := t.owned[owner(e.Kind, e.Key)], e.size()
	if old := t.kinds[e.Kind][e.Key]; old != nil {
		if e.Deleted {
			return true
		}
		more -= old.size()
	} else if u.records >= maxOwned {
		return false
	}
	return more <= 0 || u.bytes+more <= maxOwnedBytes
}

// authoredBy returns how many records a node has signed.
func (t *table) authoredBy(id NodeID) int {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.authored[id]
}

// ownedBy returns how many endpoint records a node has.
func (t *table) ownedBy(id NodeID) int {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.owned[id].records
}

// list returns the live records of a kind, by key. It is the same slice for as
// long as they are the same, and is never changed.
func (t *table) list(kind Kind) []Record {
	t.mu.RLock()
	cached, current := t.sorted[kind], t.changed[kind] != nil && len(t.changed[kind]) == 0
	t.mu.RUnlock()
	if current {
		return cached
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	switch changed := t.changed[kind]; {
	case changed == nil:
		t.sorted[kind] = t.merge(kind, slices.Sorted(maps.Keys(t.kinds[kind])))
	case len(changed) > 0:
		t.sorted[kind] = t.merge(kind, slices.Sorted(maps.Keys(changed)))
	default:
		return t.sorted[kind] // Another has just made it.
	}
	t.changed[kind] = make(map[string]struct{}) // One that was cleared would keep its room.
	return t.sorted[kind]
}

// merge makes the list of a kind from the one before and the keys, in order, of
// what changed since: all is copied, but only what is new is sorted. The lock is
// held.
func (t *table) merge(kind Kind, keys []string) []Record {
	old := t.sorted[kind]
	merged := make([]Record, 0, len(old)+len(keys))
	for _, key := range keys {
		at, found := slices.BinarySearchFunc(old, key, func(r Record, key string) int { return strings.Compare(r.Key, key) })
		merged = append(merged, old[:at]...)
		if found {
			at++
		}
		old = old[at:]
		if e := t.kinds[kind][key]; e != nil && !e.Deleted {
			merged = append(merged, e.Record)
		}
	}
	return append(merged, old...)
}

// ofKind returns the entries of a kind, in no order.
func (t *table) ofKind(kind Kind) []*entry {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return slices.Collect(maps.Values(t.kinds[kind]))
}

// entries returns all entries that want accepts, in the order of exchange.
func (t *table) entries(want func(*entry) bool) []*entry {
	t.mu.RLock()
	defer t.mu.RUnlock()
	var out []*entry
	for _, k := range kinds {
		for _, e := range t.kinds[k] {
			if want(e) {
				out = append(out, e)
			}
		}
	}
	return out
}

// digest returns a hash of each bucket. Equal digests mean equal tables.
func (t *table) digest() []uint64 {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return slices.Clone(t.digests[:])
}

// inExchangeOrder sorts entries so that what is needed to verify the others
// comes first.
func inExchangeOrder(es []*entry) {
	slices.SortStableFunc(es, func(a, b *entry) int {
		return cmp.Compare(slices.Index(kinds[:], a.Kind), slices.Index(kinds[:], b.Kind))
	})
}
