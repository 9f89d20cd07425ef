package sim

import (
	"bytes"
	"fmt"
	"slices"
	"sync"

	"edgenet.dev/edgenet/pkg/mesh"
)

// ref names a record.
type ref struct {
	kind mesh.Kind
	key  string
}

func (r ref) String() string { return string(r.kind) + " " + r.key }

// written is a change of a record that was acknowledged.
type written struct {
	by      mesh.NodeID
	deleted bool
	payload []byte
	// above and upTo bound its version: a deletion does not tell it.
	above, upTo mesh.Version
}

func (w written) String() string {
	what := "put"
	if w.deleted {
		what = "deletion"
	}
	return fmt.Sprintf("%s by %.8s at %d", what, w.by, w.upTo)
}

// is tells whether a state is what the write has made.
func (w written) is(s state) bool {
	return w.by == s.node && w.deleted == s.deleted && w.above < s.version && s.version <= w.upTo &&
		bytes.Equal(w.payload, s.payload)
}

// sight is what a node has shown of a record, or must show: a version, or, once
// it is gone, one that the deletion is later than.
type sight struct {
	version mesh.Version
	gone    bool
}

// history is what was asked of the mesh, and what it was seen to have made of
// it. It finds what cannot be.
type history struct {
	mu     sync.Mutex
	writes map[ref][]written
	// seen is what each node has shown, own what it has acknowledged itself: a
	// crash may take the rest.
	seen, own []map[ref]sight
	wrong     []string
}

func newHistory(nodes int) *history {
	h := &history{writes: make(map[ref][]written)}
	for range nodes {
		h.seen = append(h.seen, make(map[ref]sight))
		h.own = append(h.own, make(map[ref]sight))
	}
	return h
}

// mostWrong is how many faults are told.
const mostWrong = 12

// blame notes what must not be.
func (h *history) blame(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.accuse(format, args...)
}

// accuse is blame with the lock held.
func (h *history) accuse(format string, args ...any) {
	if len(h.wrong) < mostWrong {
		h.wrong = append(h.wrong, fmt.Sprintf(format, args...))
	}
}

// acknowledge notes a write.
func (h *history) acknowledge(node int, r ref, w written) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.writes[r] = append(h.writes[r], w)
	s := sight{version: w.upTo}
	if w.deleted {
		s = sight{version: w.above, gone: true}
	}
	if old, ok := h.own[node][r]; ok && old.version > s.version {
		return // Of writes at the same time the last is what counts.
	}
	h.own[node][r] = s
}

// forget is for a node that has lost its power: what it had from others may be
// lost, what it has acknowledged may not.
func (h *history) forget(node int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	clear(h.seen[node])
	for r, s := range h.own[node] {
		h.seen[node][r] = s
	}
}

// look compares what a node shows with what it has shown before: no record may
// go back, vanish without a deletion, or come back after one.
func (h *history) look(node int, m *mesh.Mesh) {
	now := make(map[ref]mesh.Version)
	for _, kind := range []mesh.Kind{mesh.KindVPC, mesh.KindGroup, mesh.KindEndpoint} {
		for _, r := range m.List(kind) {
			now[ref{r.Kind, r.Key}] = r.Version
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	seen := h.seen[node]
	for r, v := range now {
		last := seen[r]
		switch {
		case last.gone && v <= last.version:
			h.accuse("%s shows %s of version %d, which was deleted after %d", name(node), r, v, last.version)
		case v < last.version:
			h.accuse("%s shows %s of version %d, and had %d before", name(node), r, v, last.version)
		}
		seen[r] = sight{version: v}
	}
	for r, last := range seen {
		if _, ok := now[r]; ok || last.gone {
			continue
		}
		above, deleted := h.deletedAfter(r, last.version)
		if !deleted {
			h.accuse("%s no longer shows %s of version %d, which nobody has deleted since", name(node), r, last.version)
		}
		seen[r] = sight{version: above, gone: true}
	}
}

// deletedAfter returns what the first deletion later than a version is above. The
// lock is held.
func (h *history) deletedAfter(r ref, v mesh.Version) (above mesh.Version, deleted bool) {
	for _, w := range h.writes[r] {
		if w.deleted && w.upTo > v && (!deleted || w.above < above) {
			above, deleted = w.above, true
		}
	}
	return max(above, v), deleted
}

// settle compares what all nodes agree on in the end with what was acknowledged:
// each record must be what the latest write has made of it.
func (h *history) settle(final map[ref]state) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for r, writes := range h.writes {
		s, ok := final[r]
		if !ok {
			h.accuse("%s is lost: the last of %d writes was a %s", r, len(writes), writes[len(writes)-1])
			continue
		}
		if !slices.ContainsFunc(writes, func(w written) bool { return w.is(s) }) {
			h.accuse("%s is of version %d by %.8s (deleted: %t), which nobody has written", r, s.version, s.node, s.deleted)
		}
		for _, w := range writes {
			if lost := w.upTo > s.version; lost && !w.is(s) && (!w.deleted || w.above >= s.version) {
				h.accuse("%s is of version %d by %.8s (deleted: %t): the later %s is lost", r, s.version, s.node, s.deleted, w)
			}
		}
	}
	for r := range final {
		if len(h.writes[r]) == 0 && r.kind != mesh.KindNode {
			h.accuse("%s is there, and nobody has written it", r)
		}
	}
}
