package mesh

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"go.etcd.io/bbolt"

	"edgenet.dev/edgenet/pkg/mesh/internal/wire"
)

const (
	// shareInterval is the mean time between exchanges with another authority,
	// shareRetry that for one which has not got the mesh's key yet.
	shareInterval = 30 * time.Second
	shareRetry    = time.Second
	// shareTimeout bounds an exchange. A join waits for it.
	shareTimeout = 3 * time.Second
	// maxShares bounds how many authorities are asked at once.
	maxShares = 16
)

// runShare keeps what all authorities have in common the same on each of them: the
// mesh's key, the join tokens and who has used them, the names and keys of the nodes
// that were admitted. So any one of them can go on alone. It ends with ctx.
func (s *session) runShare(ctx context.Context) {
	noted := make(map[NodeID]*credential)
	for {
		in := s.m.current()
		if in == nil || !in.self.isAuthority() {
			return
		}
		s.m.share(ctx, nil)
		wait := shareRetry
		if in = s.m.current(); in != nil && in.authority != nil {
			if err := s.m.noteMembers(noted); err != nil {
				s.log.Warn("note the nodes of the mesh", "err", err)
			}
			if err := s.m.inherit(in); err != nil {
				s.log.Warn("sign the records of a lost authority anew", "err", err)
			}
			wait = shareInterval
		}
		timer := time.NewTimer(jitter(wait))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-s.share:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// shareSoon has the other authorities told of a token.
func (m *Mesh) shareSoon() {
	m.mu.RLock()
	s := m.session
	m.mu.RUnlock()
	if s != nil {
		poke(s.share)
	}
}

// fellows are the other authorities that answer, a few of them if there are many.
func (m *Mesh) fellows() []Node {
	out := slices.DeleteFunc(m.Authorities(), func(n Node) bool { return n.Local || n.rank() > 1 })
	rand.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out[:min(len(out), maxShares)]
}

// share exchanges with the other authorities that answer what is to be the same on
// all: everything, or one token.
func (m *Mesh) share(ctx context.Context, tokenID []byte) {
	ctx, cancel := context.WithTimeout(ctx, shareTimeout)
	defer cancel()
	var group sync.WaitGroup
	for _, n := range m.fellows() {
		group.Go(func() {
			if err := m.shareWith(ctx, n.ID, tokenID); err != nil {
				m.log.Debug("exchange with an authority", "node", n.Name, "err", err)
			}
		})
	}
	group.Wait()
}

// shareWith exchanges with one authority.
func (m *Mesh) shareWith(ctx context.Context, id NodeID, tokenID []byte) error {
	in := m.current()
	if in == nil {
		return ErrNotInMesh
	}
	req := &wire.ShareRequest{TokenId: tokenID}
	if in.authority != nil {
		var err error
		if req.Tokens, err = m.replica.db.sharedTokens(tokenID, m.cfg.now()); err != nil {
			return err
		}
	}
	var answer wire.ShareResponse
	if err := m.callPeer(ctx, PeerURL(id)+pathShare, req, maxShareBody, &answer); err != nil {
		return err
	}
	// Before the tokens: they are worth nothing without it.
	if err := m.takeAuthority(in, answer.GetKey()); err != nil {
		return err
	}
	return m.replica.db.mergeTokens(answer.GetTokens(), m.cfg.now())
}

// takeAuthority keeps the mesh's key, if this node has not got it.
func (m *Mesh) takeAuthority(in *member, seed []byte) error {
	m.trusting.Lock()
	defer m.trusting.Unlock()
	now := m.current()
	if now == nil || now.trustAnchor != in.trustAnchor {
		return ErrNotInMesh
	}
	if now.authority != nil || len(seed) == 0 {
		return nil
	}
	key, err := keyOfSeed(seed)
	if err != nil {
		return err
	}
	if id, err := idOf(key.public()); err != nil || ID(id) != in.mesh {
		return errors.New("take the mesh's key: it is another")
	}
	if err := key.write(filepath.Join(m.cfg.StateDir, authorityKeyFile)); err != nil {
		return fmt.Errorf("take the mesh's key: %w", err)
	}
	m.replaceMember(in, func(next *member) {
		next.authority = &authority{trustAnchor: in.trustAnchor, key: key, life: m.cfg.CertificateLife}
	})
	m.log.Info("this node has the mesh's key now, and can admit nodes")
	m.pokes.poke()
	return nil
}

// noteMembers remembers the nodes that other authorities have admitted, for their
// names and prefixes are taken for longer than their records are kept. noted has
// those that were remembered before.
func (m *Mesh) noteMembers(noted map[NodeID]*credential) error {
	var news []*credential
	for _, e := range m.replica.table.ofKind(KindNode) {
		if !e.Deleted && noted[e.Node] != e.credential() {
			news = append(news, e.credential())
		}
	}
	if len(news) == 0 {
		return nil
	}
	err := m.replica.db.Update(func(tx *bbolt.Tx) error {
		for _, c := range news {
			if err := putMember(tx, c); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("write database %s: %w", m.replica.db.Path(), err)
	}
	for _, c := range news {
		noted[c.id] = c
	}
	return nil
}

// HasMeshKey tells whether this node has the mesh's key, and so can admit nodes and
// evict authorities. An authority that has just joined gets it from the others.
func (m *Mesh) HasMeshKey() bool {
	in := m.current()
	return in != nil && in.authority != nil
}
