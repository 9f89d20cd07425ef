package mesh

import (
	"errors"
	"time"

	"go.etcd.io/bbolt"
)

const (
	// renewAfter is how old a node lets its own record become: its version is the
	// last proof of its life that all have, also after a restart.
	renewAfter = 24 * time.Hour
	// lapseAfter is how long the record of a node that is dead is kept.
	lapseAfter = 30 * 24 * time.Hour
)

// fresh tells whether the node's own record is young enough, by the latest time
// that any record carries: this node's clock may be slow.
func (r *replica) fresh(e *entry) bool {
	return e.Version > versionAt(r.clock.latest().Add(-renewAfter))
}

// latest returns the instant of the clock without moving it.
func (c *hlc) latest() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return max(c.last, versionAt(c.wall())).Time()
}

// lapse forgets the nodes that have been dead for long, with their endpoints, and
// returns how many. Who has signed anything else stays: it is verified by that
// node's certificate.
func (r *replica) lapse(dead func(NodeID) bool) (int, error) {
	r.commit.Lock()
	defer r.commit.Unlock()
	limit := versionAt(r.now().Add(-lapseAfter))
	gone := make(map[NodeID]*entry)
	for _, e := range r.table.ofKind(KindNode) {
		if !e.Deleted && e.Version < limit && dead(e.Node) && r.table.authoredBy(e.Node) == 1+r.table.ownedBy(e.Node) {
			gone[e.Node] = e
		}
	}
	if len(gone) == 0 {
		return 0, nil
	}
	all := r.table.entries(func(e *entry) bool {
		return gone[e.Node] != nil && (e.Kind == KindNode || e.Kind == KindEndpoint)
	})
	err := r.db.Update(func(tx *bbolt.Tx) error {
		var err error
		for _, e := range all {
			err = errors.Join(err, tx.Bucket(bucketRecords).Delete(recordKey(e.ref())))
		}
		return err
	})
	if err != nil {
		return 0, err
	}
	for _, e := range all {
		if e.Kind == KindNode {
			r.lapsed.add(e.Node, e.Version)
		}
		r.table.remove(e)
	}
	return len(gone), nil
}

// isLapsed tells whether e is of a node that was forgotten here, and no proof that
// it lives. Where others still have it, it would come back from them.
func (r *replica) isLapsed(e *entry) bool {
	switch e.Kind {
	case KindNode:
		return !e.Deleted && r.lapsed.has(e.Node, e.Version)
	case KindEndpoint:
		return r.lapsed.knows(e.Node) && r.table.get(ref{KindNode, string(e.Node)}) == nil
	default:
		return false
	}
}

// lapse forgets nodes that have been dead for long, if most nodes are alive: a
// small part of a mesh that is cut off for a month must find the rest again.
func (s *session) lapse() {
	nodes := s.m.Nodes()
	dead, known := make(map[NodeID]bool), 0
	for _, n := range nodes {
		if !n.State.Gone() {
			known++
		}
		if n.State == StateDead || n.State == StateExpired {
			dead[n.ID] = true
		}
	}
	if len(dead) == 0 || 2*len(dead) >= known {
		return
	}
	n, err := s.m.replica.lapse(func(id NodeID) bool { return dead[id] })
	if err != nil {
		s.log.Warn("forget nodes that have been dead for long", "err", err)
	} else if n > 0 {
		s.log.Info("forget nodes that have been dead for long", "count", n)
		s.m.pokes.poke()
	}
}
