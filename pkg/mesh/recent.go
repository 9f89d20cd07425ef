package mesh

import (
	"cmp"
	"slices"
)

// maxRecent bounds how many changes a table remembers, and recentSpare is how
// many it forgets at a time beyond.
const (
	maxRecent   = 512
	recentSpare = 64
)

// change is one that was made to a table.
type change struct {
	*entry
	// delta is what it changed in the sum of the table.
	delta uint64
}

// recent remembers the last changes of a table by their versions, so that two
// tables can be compared in two parts: a sum up to some version, and what came
// after it one by one.
type recent struct {
	// sum is the exclusive or of the hashes of all entries.
	sum uint64
	// log has all changes to versions above floor, by version.
	log   []change
	floor Version
}

// put notes that e has taken the place of old, which may be nil.
func (r *recent) put(e, old *entry) {
	delta := e.hash
	if old != nil {
		delta ^= old.hash
	}
	r.sum ^= delta
	if e.Version <= r.floor {
		return
	}
	r.log = slices.Insert(r.log, r.after(e.Version), change{e, delta})
	if len(r.log) > maxRecent {
		r.settle(r.log[recentSpare-1].Version)
	}
}

// remove notes that e is gone: what it was before cannot be told any more.
func (r *recent) remove(e *entry) {
	r.sum ^= e.hash
	if e.Version > r.floor {
		r.settle(e.Version)
	}
}

// after returns where in the log the changes above a version begin.
func (r *recent) after(v Version) int {
	i, _ := slices.BinarySearchFunc(r.log, v, func(c change, v Version) int {
		if c.Version <= v {
			return -1
		}
		return 1
	})
	return i
}

// settle forgets changes up to a version.
func (r *recent) settle(v Version) {
	if v <= r.floor {
		return
	}
	if i := r.after(v); i > 0 {
		// Into new memory: what is forgotten must not be held by what is not.
		r.log = slices.Clone(r.log[i:])
	}
	r.floor = v
}

// split returns the sum of what is up to a version, and the changes after it.
// It cannot below the floor.
func (r *recent) split(cut Version) (settled uint64, after []change, ok bool) {
	if cut < r.floor {
		return 0, nil, false
	}
	settled, after = r.sum, r.log[r.after(cut):]
	for _, c := range after {
		settled ^= c.delta
	}
	return settled, after, true
}

// cut returns the first version from v on after which there are not more than
// some changes.
func (r *recent) cut(v Version, most int) Version {
	v = max(v, r.floor)
	if i := len(r.log) - most - 1; i >= 0 {
		v = max(v, r.log[i].Version)
	}
	return v
}

// view is a table as a digest says it.
type view struct {
	cut     Version
	settled uint64
	// current are the entries after the cut, by version.
	current []*entry
	// seen has the hashes of these, and of those that they replaced.
	seen map[uint64]struct{}
}

// view returns the table as it is with a cut, false if that is too long ago.
func (t *table) view(cut Version) (*view, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.viewed(cut)
}

// latest returns the table as it is with a cut at v, or later if there are more
// than some changes after that. What is before old is forgotten.
func (t *table) latest(v, old Version, most int) *view {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.recent.settle(min(old, v))
	out, _ := t.viewed(t.recent.cut(v, most)) // Never below the floor.
	return out
}

// viewed is view. The lock is held.
func (t *table) viewed(cut Version) (*view, bool) {
	settled, after, ok := t.recent.split(cut)
	if !ok {
		return nil, false
	}
	v := &view{cut: cut, settled: settled, seen: make(map[uint64]struct{}, len(after))}
	for _, c := range after {
		v.seen[c.hash] = struct{}{}
		if t.kinds[c.Kind][c.Key] == c.entry {
			v.current = append(v.current, c.entry)
		}
	}
	return v, true
}

// settle has everything up to a version be compared by sum alone.
func (t *table) settle(v Version) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.recent.settle(v)
}

// states returns the present entries of records of which some states have the
// given hashes, as far as they are remembered.
func (t *table) states(hashes []uint64) []*entry {
	t.mu.RLock()
	defer t.mu.RUnlock()
	wanted := make(map[uint64]struct{}, len(hashes))
	for _, h := range hashes {
		wanted[h] = struct{}{}
	}
	var out []*entry
	for _, c := range t.recent.log {
		if _, ok := wanted[c.hash]; !ok {
			continue
		}
		if e := t.kinds[c.Kind][c.Key]; e != nil && !slices.Contains(out, e) {
			out = append(out, e)
		}
	}
	return out
}

// lacking returns those of the present entries that are not among some hashes,
// in the order of exchange.
func (v *view) lacking(hashes []uint64) []*entry {
	there := make(map[uint64]struct{}, len(hashes))
	for _, h := range hashes {
		there[h] = struct{}{}
	}
	var out []*entry
	for _, e := range v.current {
		if _, ok := there[e.hash]; !ok {
			out = append(out, e)
		}
	}
	inExchangeOrder(out)
	return out
}

// unseen returns those of some hashes that were never there.
func (v *view) unseen(hashes []uint64) []uint64 {
	var out []uint64
	for _, h := range hashes {
		if _, ok := v.seen[h]; !ok {
			out = append(out, h)
		}
	}
	return out
}

// hashes are those of the present entries.
func (v *view) hashes() []uint64 {
	out := make([]uint64, 0, len(v.current))
	for _, e := range v.current {
		out = append(out, e.hash)
	}
	slices.SortFunc(out, cmp.Compare[uint64])
	return out
}
