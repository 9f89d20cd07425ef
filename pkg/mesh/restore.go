package mesh

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"

	"edgenet.dev/edgenet/pkg/mesh/internal/wire"
)

// Restore makes this node, which is in no mesh, an authority of the mesh that a backup
// is of, with the roles authority and cloud: a node of its own, which finds the others
// as any node does that was away. A wrong passphrase changes nothing. Errors wrap
// ErrInMesh, ErrPassphrase or ErrNotBackup.
func (m *Mesh) Restore(ctx context.Context, backup []byte, passphrase string) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("restore authority: %w", err)
		}
	}()
	m.change.Lock()
	defer m.change.Unlock()
	if m.current() != nil {
		return ErrInMesh
	}
	b, err := unlock(backup, passphrase)
	if err != nil {
		return err
	}
	content, anchor, key, err := readBackup(b, m.cfg.now())
	if err != nil {
		return err
	}
	a := &authority{trustAnchor: anchor, key: key, life: m.cfg.CertificateLife}
	c, err := a.issue(m.key.public(), m.cfg.Name, []Role{RoleAuthority, RoleCloud}, m.replica.now())
	if err != nil {
		return err
	}
	stored := &wire.Membership{
		Authority: content.GetAuthority(), Certificate: c.der, GossipKeys: []*wire.HeldKey{content.GetGossipKey()},
	}
	if err := m.keepAuthority(a); err != nil {
		return err
	}
	err = m.enter(stored, content.GetRecords(), func(tx *bbolt.Tx) error {
		for _, s := range content.GetTokens() {
			if err := mergeToken(tx, s); err != nil {
				return err
			}
		}
		return putMember(tx, c)
	})
	if err != nil {
		return errors.Join(err, removeAuthority(m.cfg.StateDir))
	}
	m.awaitSession(ctx)
	return nil
}

// readBackup takes the content of a backup apart, and checks that it fits together.
func readBackup(b []byte, now time.Time) (*wire.Backup, *trustAnchor, privateKey, error) {
	content := &wire.Backup{}
	if err := wire.Unmarshal(b, content); err != nil {
		return nil, nil, privateKey{}, fmt.Errorf("%w: %w", ErrNotBackup, err)
	}
	anchor, err := newTrustAnchor(content.GetAuthority())
	if err != nil {
		return nil, nil, privateKey{}, fmt.Errorf("%w: %w", ErrNotBackup, err)
	}
	key, err := keyOfSeed(content.GetKey())
	if err != nil {
		return nil, nil, privateKey{}, fmt.Errorf("%w: %w", ErrNotBackup, err)
	}
	public, ok := anchor.cert.PublicKey.(ed25519.PublicKey)
	if !ok || !bytes.Equal(public, key.public()) {
		return nil, nil, privateKey{}, fmt.Errorf("%w: its key is another than its certificate's", ErrNotBackup)
	}
	if g := content.GetGossipKey(); len(g.GetKey()) != gossipKeySize || g.GetUseAtMs() != 0 || g.GetDropAtMs() != 0 {
		return nil, nil, privateKey{}, fmt.Errorf("%w: its gossip key is none", ErrNotBackup)
	}
	for _, s := range content.GetTokens() {
		if checkShared(s, now) != nil {
			return nil, nil, privateKey{}, fmt.Errorf("%w: one of its tokens is none", ErrNotBackup)
		}
	}
	return content, anchor, key, nil
}

// keepAuthority writes the files of the mesh's key, if they are not those of another
// mesh.
func (m *Mesh) keepAuthority(a *authority) error {
	path := filepath.Join(m.cfg.StateDir, authorityKeyFile)
	switch known, err := readKey(path); {
	case err == nil && !bytes.Equal(known.key, a.key.key):
		return fmt.Errorf("%s is there already, and is the key of another mesh: move it away", path)
	case err != nil && !errors.Is(err, os.ErrNotExist):
		return err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: pemCertificate, Bytes: a.cert.Raw})
	if err := writeFile(filepath.Join(m.cfg.StateDir, authorityCertificateFile), text); err != nil {
		return err
	}
	return a.key.write(path)
}
