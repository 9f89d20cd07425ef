package mesh

import "fmt"

// inherit signs anew what authorities have signed for the whole mesh that are lost:
// whose certificate has run out, or soon will, and is not renewed. Nodes that come
// later could not verify it any more. Of the authorities that are there one does it.
func (m *Mesh) inherit(in *member) error {
	if in.evictions.refuse(in.self) || in.self.endedAt(m.replica.now()) {
		return nil
	}
	for _, n := range m.Authorities() {
		if !n.Local && n.State == StateAlive && n.ID < m.id {
			return nil
		}
	}
	for id := range m.replica.lostAuthors() {
		if n, known := m.Node(string(id)); known && (n.State == StateAlive || n.State == StateSuspect) {
			continue // It will renew it.
		}
		recs, err := m.replica.bequest(in, id)
		if err != nil || len(recs) == 0 {
			return err
		}
		es, err := m.replica.putAll(recs, in, m.key)
		if err != nil {
			return fmt.Errorf("sign %d records anew: %w", len(recs), err)
		}
		m.publish(es)
		m.log.Info("records of a lost authority are signed anew", "author", id, "count", len(es))
	}
	return nil
}

// lostAuthors are those of records for the whole mesh who should have renewed their
// certificates some time ago.
func (r *replica) lostAuthors() map[NodeID]bool {
	now, out, seen := r.now(), make(map[NodeID]bool), make(map[NodeID]bool)
	for _, kind := range kinds {
		if kind == KindNode || kind == KindEndpoint || kind == KindGossipKey {
			continue // Their own, or made anew at the next occasion.
		}
		for _, e := range r.table.ofKind(kind) {
			if seen[e.Node] {
				continue
			}
			seen[e.Node] = true
			known := r.table.get(ref{KindNode, string(e.Node)})
			if known != nil && known.credential().expires.Sub(now) < known.credential().life()/(2*renewShare) {
				out[e.Node] = true
			}
		}
	}
	return out
}
