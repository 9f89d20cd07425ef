package mesh

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"filippo.io/age"

	"edgenet.dev/edgenet/pkg/mesh/internal/wire"
)

const (
	// MinPassphrase is how many bytes a backup's passphrase has at least.
	MinPassphrase = 12
	// MaxBackup bounds a backup, in bytes.
	MaxBackup = 7 << 20
	// backupNodes is how many nodes a backup names: whom to ask for the others.
	backupNodes = 256
	// backupWork is the binary logarithm of scrypt's cost, and maxBackupWork that of
	// one that is still tried: it takes 128 bytes × 8 times the cost of memory, 64 MiB
	// and 1 GiB.
	backupWork, maxBackupWork = 16, 20
)

// Errors of backups that callers branch on.
var (
	// ErrPassphrase says that a passphrase does not open a backup.
	ErrPassphrase = errors.New("the passphrase is not that of the backup")
	// ErrPassphraseShort says that a passphrase is none.
	ErrPassphraseShort = fmt.Errorf("a passphrase has at least %d bytes", MinPassphrase)
	// ErrNotBackup says that a file is not a backup, or not all of one.
	ErrNotBackup = errors.New("not the backup of an authority, or not all of it")
)

// Backup returns what makes another host an authority of the mesh, encrypted with a
// passphrase: the mesh's key, the gossip key, the tokens, what authorities have signed
// for the whole mesh, and where nodes are. This node's own key is not in it. Errors
// wrap ErrNotInMesh, ErrNotAuthority or ErrPassphraseShort.
func (m *Mesh) Backup(ctx context.Context, passphrase string) (backup []byte, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("back up authority: %w", err)
		}
	}()
	in, err := m.signer(ctx)
	if err != nil {
		return nil, err
	}
	if in.authority == nil {
		return nil, ErrNotMeshKey
	}
	content, err := m.backupContent(in)
	if err != nil {
		return nil, err
	}
	b, err := wire.Marshal(content)
	if err != nil {
		return nil, err
	}
	return lock(b, passphrase, m.cfg.backupWork)
}

// backupContent is what a backup says.
func (m *Mesh) backupContent(in *member) (*wire.Backup, error) {
	held := in.keys.held()
	out := &wire.Backup{
		Authority: in.cert.Raw, Key: in.authority.key.key.Seed(),
		// Times are not those of the host that it comes to.
		GossipKey: &wire.HeldKey{Key: held[0].GetKey(), Version: held[0].GetVersion()},
	}
	var err error
	if out.Tokens, err = m.replica.db.sharedTokens(nil, m.cfg.now()); err != nil {
		return nil, err
	}
	room := MaxBackup - maxSharedBytes/2
	for _, s := range out.GetTokens() {
		room -= len(s.GetGrant().GetAdmitted()) * 2 * idDigits
	}
	for _, e := range m.backupRecords() {
		if room -= e.size(); room < 0 {
			return nil, fmt.Errorf("it would have more than %d bytes", MaxBackup)
		}
		out.Records = append(out.Records, e.envelope())
	}
	return out, nil
}

// backupRecords are the records of a backup, those of nodes first: of authors of the
// others, and of some to ask.
func (m *Mesh) backupRecords() []*entry {
	var shared []*entry
	authors := make(map[NodeID]bool)
	for _, kind := range kinds {
		if kind == KindNode || kind == KindEndpoint || kind == KindGossipKey {
			continue
		}
		for _, e := range m.replica.table.ofKind(kind) {
			shared, authors[e.Node] = append(shared, e), true
		}
	}
	var out []*entry
	others := 0
	for _, n := range m.replica.table.ofKind(KindNode) {
		if !authors[n.Node] {
			if others++; others > backupNodes {
				continue
			}
		}
		out = append(out, n)
	}
	return append(out, shared...)
}

// lock encrypts with a passphrase, in the format of age (age-encryption.org/v1).
func lock(content []byte, passphrase string, work int) ([]byte, error) {
	if len(passphrase) < MinPassphrase {
		return nil, ErrPassphraseShort
	}
	to, err := age.NewScryptRecipient(passphrase)
	if err != nil {
		return nil, fmt.Errorf("encrypt: %w", err)
	}
	to.SetWorkFactor(work)
	var out bytes.Buffer
	w, err := age.Encrypt(&out, to)
	if err != nil {
		return nil, fmt.Errorf("encrypt: %w", err)
	}
	if _, err = w.Write(content); err == nil {
		err = w.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("encrypt: %w", err)
	}
	return out.Bytes(), nil
}

// unlock is the opposite of lock.
func unlock(backup []byte, passphrase string) ([]byte, error) {
	if len(backup) > 2*MaxBackup {
		return nil, ErrNotBackup
	}
	by, err := age.NewScryptIdentity(passphrase)
	if err != nil {
		return nil, ErrPassphrase
	}
	by.SetMaxWorkFactor(maxBackupWork)
	r, err := age.Decrypt(bytes.NewReader(backup), by)
	var wrong *age.NoIdentityMatchError
	if errors.As(err, &wrong) {
		return nil, ErrPassphrase
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotBackup, err)
	}
	content, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotBackup, err)
	}
	return content, nil
}
