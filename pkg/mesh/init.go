package mesh

import (
	"context"
	"crypto/rand"
	"fmt"

	"go.etcd.io/bbolt"

	"edgenet.dev/edgenet/pkg/mesh/internal/wire"
)

// gossipKeySize is that of AES-256.
const gossipKeySize = 32

// Init makes a mesh whose authority is this node, with the roles authority and
// cloud. It returns ErrInMesh if the node is in a mesh.
func (m *Mesh) Init(ctx context.Context) error {
	m.change.Lock()
	defer m.change.Unlock()
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("make mesh: %w", err)
	}
	if m.current() != nil {
		return fmt.Errorf("make mesh: %w", ErrInMesh)
	}
	a, err := newAuthority(m.cfg.StateDir, m.cfg.CertificateLife, m.cfg.now())
	if err != nil {
		return fmt.Errorf("make mesh: %w", err)
	}
	c, err := a.issue(m.key.public(), m.cfg.Name, []Role{RoleAuthority, RoleCloud}, m.cfg.now())
	if err != nil {
		return fmt.Errorf("make mesh: %w", err)
	}
	gossipKey := make([]byte, gossipKeySize)
	if _, err := rand.Read(gossipKey); err != nil {
		return fmt.Errorf("make mesh: %w", err)
	}
	stored := &wire.Membership{
		Authority: a.cert.Raw, Certificate: c.der, GossipKeys: []*wire.HeldKey{{Key: gossipKey}},
	}
	if err := m.enter(stored, nil, func(tx *bbolt.Tx) error { return putMember(tx, c) }); err != nil {
		return fmt.Errorf("make mesh: %w", err)
	}
	m.awaitSession(ctx)
	return nil
}
