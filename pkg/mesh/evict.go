package mesh

import (
	"context"
	"fmt"
	"time"
)

// Evict takes a node out of the mesh for good, and replaces the gossip key for the
// others. Its certificate is worth nothing from then on, what it says of itself is
// forgotten and refused, and its name is free. It can come back with another key
// only. One that is evicted already stays so, and already says it. Only an
// authority can, and an authority is evicted by the node that has the mesh's key:
// otherwise one that was stolen could take the others out. Errors wrap
// ErrNotInMesh, ErrNotAuthority, ErrUnknownNode, ErrEvictSelf or ErrNotMeshKey.
func (m *Mesh) Evict(ctx context.Context, nameOrID string) (n Node, already bool, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("evict node %q: %w", nameOrID, err)
		}
	}()
	m.trusting.Lock()
	defer m.trusting.Unlock()
	in, err := m.signer(ctx)
	if err != nil {
		return Node{}, false, err
	}
	n, known := m.Admitted(nameOrID)
	switch {
	case !known:
		return Node{}, false, ErrUnknownNode
	case n.Local:
		return Node{}, false, ErrEvictSelf
	case n.State == StateEvicted:
		return n, true, nil
	}
	recs, err := m.evictionRecords(in, n)
	if err != nil {
		return Node{}, false, err
	}
	es, err := m.replica.putAll(recs, in, m.key)
	if err != nil {
		return Node{}, false, err
	}
	m.publish(es)
	n, _ = m.Node(string(n.ID))
	return n, false, nil
}

// signer returns the membership if this node may say whom to trust.
func (m *Mesh) signer(ctx context.Context) (*member, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.RLock()
	in, leaving := m.member, m.leaving
	m.mu.RUnlock()
	switch {
	case in == nil || leaving:
		return nil, ErrNotInMesh
	case in.evictions.refuse(in.self):
		return nil, ErrEvicted
	case !in.self.isAuthority():
		return nil, ErrNotAuthority
	}
	return in, nil
}

// evictionRecords are all that has to be signed to evict a node: what it signed for
// the mesh first, then the eviction and the next gossip key.
func (m *Mesh) evictionRecords(in *member, n Node) ([]Record, error) {
	key, authority := string(n.ID), false
	for _, r := range n.Roles {
		authority = authority || r == RoleAuthority
	}
	if authority && in.authority == nil {
		return nil, ErrNotMeshKey
	}
	if in.authority != nil {
		key += evictionByMesh
	}
	payload, err := encodeEviction(n.ID, n.Name, in.authority)
	if err != nil {
		return nil, err
	}
	recs, err := m.replica.bequest(in, n.ID)
	if err != nil {
		return nil, err
	}
	next, err := m.nextGossipKey(in, n.ID)
	if err != nil {
		return nil, err
	}
	return append(recs, Record{Kind: KindEviction, Key: key, Payload: payload}, next), nil
}

// bequest are the records for the whole mesh that a node has signed, to be signed
// by another: nobody believes its signature any more, and tenants' networks must
// not go with it. Evictions stay in force too: whoever was taken out comes back
// with another key, not by the eviction of somebody else.
func (r *replica) bequest(in *member, id NodeID) ([]Record, error) {
	var out []Record
	for _, e := range r.table.entries(func(e *entry) bool { return e.Node == id && owner(e.Kind, e.Key) == "" }) {
		rec := Record{Kind: e.Kind, Key: e.Key, Deleted: e.Deleted, Payload: e.Payload}
		switch e.Kind {
		case KindGossipKey:
			continue // There is a new one anyway.
		case KindEviction:
			evicted, approved := evictionOf(e.Key)
			if evicted == in.self.id {
				continue
			}
			if approved {
				break // The approval stays what it is, whoever signs the record.
			}
			note, err := decodeEviction(e.Payload)
			if err != nil {
				return nil, err
			}
			if rec.Payload, err = encodeEviction(evicted, note.GetName(), nil); err != nil {
				return nil, err
			}
		default:
		}
		out = append(out, rec)
	}
	return out, nil
}

// obey does what a record that was just stored asks of the replica itself.
func (r *replica) obey(anchor *trustAnchor, e *entry) {
	if e.Kind != KindEviction {
		return
	}
	anchor.evictions.add(e, r.now())
	id, _ := evictionOf(e.Key)
	if id == r.self || !r.evicts(anchor, id) {
		return
	}
	r.remove(r.table.entries(func(e *entry) bool { return owner(e.Kind, e.Key) == id }))
}

// evicts tells whether a node is evicted, as far as its certificate is known: an
// authority may be named by an eviction that does not count.
func (r *replica) evicts(anchor *trustAnchor, id NodeID) bool {
	if node := r.table.get(ref{KindNode, string(id)}); node != nil && !anchor.evictions.refuse(node.credential()) {
		return false
	}
	return anchor.evictions.names(id)
}

// evicts tells whether this node holds another for evicted.
func (m *Mesh) evicts(id NodeID) bool {
	in := m.current()
	return in != nil && m.replica.evicts(in.trustAnchor, id)
}

// remove drops entries from memory, and soon from the disk.
func (r *replica) remove(es []*entry) {
	for _, e := range es {
		r.table.remove(e)
	}
	r.markDirty(es)
}

// dropOrphans forgets what evicted authorities signed and nobody has signed anew:
// the others do not have it, or must not.
func (r *replica) dropOrphans() {
	anchor := r.trust()
	if anchor == nil {
		return
	}
	r.remove(r.table.entries(func(e *entry) bool {
		one, evicted := anchor.evictions.get(e.Node)
		if !evicted || !one.approved || owner(e.Kind, e.Key) != "" || r.now().Sub(one.learned) < orphanLife {
			return false
		}
		_, approved := evictionOf(e.Key)
		return e.Kind != KindEviction || !approved
	}))
}

// unevict forgets an eviction whose record was collected.
func (r *replica) unevict(e *entry) {
	anchor := r.trust()
	if anchor == nil || e.Kind != KindEviction {
		return
	}
	id, _ := evictionOf(e.Key)
	if r.table.get(ref{KindEviction, string(id)}) == nil && r.table.get(ref{KindEviction, string(id) + evictionByMesh}) == nil {
		anchor.evictions.forget(id)
	}
}

// heed does what new records ask of this node: an evicted node is cut off, another
// gossip key is taken.
func (m *Mesh) heed(es []*entry) {
	m.mu.RLock()
	in, s := m.member, m.session
	m.mu.RUnlock()
	if in == nil {
		return
	}
	for _, e := range es {
		switch e.Kind {
		case KindEviction:
			id, _ := evictionOf(e.Key)
			if !m.evicts(id) {
				continue
			}
			one, _ := in.evictions.get(id)
			m.log.Warn("node is evicted", "node", id, "name", one.name, "by", e.Node, "this_node", id == m.id)
			m.peers.CloseIdleConnections()
			if s != nil {
				s.members.forget(id)
			}
		case KindGossipKey:
			if s != nil {
				poke(s.rekey)
			}
		default:
		}
	}
}

// Evicted tells whether this node was evicted from its mesh, and when. Nobody there
// has anything to do with it any more.
func (m *Mesh) Evicted() (at time.Time, evicted bool) {
	in := m.current()
	if in == nil || !in.evictions.refuse(in.self) {
		return time.Time{}, false
	}
	one, _ := in.evictions.get(m.id)
	return one.at, true
}

// node is what there is to say of a node that was evicted.
func (one evictedNode) node(mesh ID, id NodeID) Node {
	return Node{ID: id, Name: one.name, State: StateEvicted, Prefix: id.Prefix(mesh), Addr: id.Addr(mesh)}
}
