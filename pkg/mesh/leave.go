package mesh

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"edgenet.dev/edgenet/pkg/mesh/internal/wire"
)

// Leave makes this node's records tombstones, brings them to at least one node
// that is alive, if there is one, and forgets the mesh. The node keeps its key
// and may join or make a mesh again. A mesh whose only authority leaves can
// never admit a node again: its key is removed.
func (m *Mesh) Leave(ctx context.Context) error {
	m.change.Lock()
	defer m.change.Unlock()
	m.mu.Lock()
	in, s := m.member, m.session
	m.leaving = in != nil
	m.mu.Unlock()
	if in == nil {
		return fmt.Errorf("leave mesh: %w", ErrNotInMesh)
	}
	gone, err := m.replica.putLast(m.ownTombstones, in, m.key)
	if err != nil {
		m.mu.Lock()
		m.leaving = false
		m.mu.Unlock()
		return fmt.Errorf("leave mesh: %w", err)
	}
	if s != nil && !in.evictions.refuse(in.self) { // Nobody listens to an evicted node.
		s.farewell(ctx, gone)
	}
	if err := m.forget(s); err != nil {
		return fmt.Errorf("leave mesh: %w", err)
	}
	m.log.Info("left mesh", "mesh", in.mesh)
	return nil
}

// ownTombstones returns the deletion of everything that this node says of
// itself, the node's own record first: it has the certificate for the others.
func (m *Mesh) ownTombstones() []Record {
	out := []Record{{Kind: KindNode, Key: string(m.id), Deleted: true}}
	for _, r := range m.List(KindEndpoint) {
		if r.Node == m.id {
			out = append(out, Record{Kind: r.Kind, Key: r.Key, Deleted: true})
		}
	}
	return out
}

// farewell tells the mesh that this node leaves. Where nobody can be told it
// leaves all the same: the others will see it as dead.
func (s *session) farewell(ctx context.Context, gone []*entry) {
	told := 0
	peers := append(s.peers(StateAlive), s.peers(StateSuspect)...)
	for _, n := range peers {
		if err := s.tell(ctx, n.ID, gone); err != nil {
			s.log.Warn("tell a node of leaving", "node", n.Name, "err", err)
			continue
		}
		if told++; told == 2 {
			break // They tell the others; a second makes up for one that dies.
		}
	}
	if told == 0 && len(peers) > 0 {
		s.log.Warn("leave without having told anybody")
	}
	if err := s.list.Leave(leaveTimeout); err != nil {
		s.log.Warn("leave gossip", "err", err)
	}
}

// tell brings records to one node.
func (s *session) tell(ctx context.Context, id NodeID, es []*entry) error {
	ctx, cancel := context.WithTimeout(ctx, leaveTimeout)
	defer cancel()
	for len(es) > 0 {
		n := fit(es)
		if _, err := s.m.exchange(ctx, PeerURL(id), &wire.SyncRequest{Records: envelopesOf(es[:n])}); err != nil {
			return err
		}
		es = es[n:]
	}
	return nil
}

// forget ends the session and removes all that belongs to the mesh.
func (m *Mesh) forget(s *session) error {
	m.mu.Lock()
	m.member = nil
	m.mu.Unlock()
	if s != nil {
		s.stop()
		<-s.ended
	}
	m.peers.CloseIdleConnections()
	m.replica.drop()
	err := m.replica.db.forget()
	err = errors.Join(err, removeAuthority(m.cfg.StateDir))
	m.pokes.poke()
	return err
}

// removeAuthority removes the files of the mesh's key.
func removeAuthority(dir string) error {
	var err error
	for _, name := range []string{authorityKeyFile, authorityCertificateFile} {
		if rerr := os.Remove(filepath.Join(dir, name)); rerr != nil && !errors.Is(rerr, os.ErrNotExist) {
			err = errors.Join(err, fmt.Errorf("remove the mesh's key: %w", rerr))
		}
	}
	return err
}

// drop forgets the records in memory.
func (r *replica) drop() {
	r.commit.Lock()
	defer r.commit.Unlock()
	r.setTrust(nil)
	r.table.reset()
	r.forgotten.reset()
	r.lapsed.reset()
	r.dirtyMu.Lock()
	defer r.dirtyMu.Unlock()
	clear(r.dirty)
}
