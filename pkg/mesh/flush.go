package mesh

import (
	"context"
	"time"
)

// Limits of the writing of others' records.
const (
	// flushDelay gathers records, so that a burst is one write.
	flushDelay = 50 * time.Millisecond
	// flushRetry is the wait after a failed write.
	flushRetry = 5 * time.Second
	// flushBatch bounds one transaction, so that local writes do not wait.
	flushBatch = 256
)

// markDirty notes entries that are to be written to disk.
func (r *replica) markDirty(es []*entry) {
	refs := make([]ref, 0, len(es))
	for _, e := range es {
		refs = append(refs, e.ref())
	}
	r.markRefs(refs)
}

// markRefs notes records whose state, or absence, is to be written to disk.
func (r *replica) markRefs(refs []ref) {
	if len(refs) == 0 {
		return
	}
	r.dirtyMu.Lock()
	for _, k := range refs {
		r.dirty[k] = struct{}{}
	}
	r.dirtyMu.Unlock()
	select {
	case r.flush <- struct{}{}:
	default:
	}
}

// takeDirty removes and returns up to flushBatch records to write.
func (r *replica) takeDirty() []ref {
	r.dirtyMu.Lock()
	defer r.dirtyMu.Unlock()
	var refs []ref
	for k := range r.dirty {
		if len(refs) == flushBatch {
			break
		}
		refs = append(refs, k)
		delete(r.dirty, k)
	}
	return refs
}

// flushAll writes all that is dirty. What could not be written stays dirty.
func (r *replica) flushAll() error {
	for {
		refs := r.takeDirty()
		if len(refs) == 0 {
			return nil
		}
		if err := r.flushRefs(refs); err != nil {
			return err
		}
	}
}

// flushRefs writes the present state of some records.
func (r *replica) flushRefs(refs []ref) error {
	r.commit.Lock()
	defer r.commit.Unlock()
	var es []*entry
	var gone []ref
	for _, k := range refs {
		if e := r.table.get(k); e != nil {
			es = append(es, e)
		} else {
			gone = append(gone, k)
		}
	}
	err := r.write(es, gone)
	if err != nil {
		r.markRefs(refs)
	}
	return err
}

// runFlush writes others' records to disk until ctx ends.
func (r *replica) runFlush(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return r.flushAll()
		case <-r.flush:
		}
		if !pause(ctx, flushDelay) {
			return r.flushAll()
		}
		if err := r.flushAll(); err != nil {
			r.log.Warn("write records", "err", err, "retry", flushRetry)
			pause(ctx, flushRetry)
		}
	}
}

// pause waits, and tells whether it could do so before ctx ended.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
