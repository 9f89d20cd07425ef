package mesh

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"edgenet.dev/edgenet/pkg/mesh/internal/wire"
)

const passphrase = "correct horse battery staple"

// cheapBackups makes trying a passphrase cost little.
func cheapBackups(c *Config) { c.backupWork = 10 }

// backup makes one.
func (h *host) backup() []byte {
	h.t.Helper()
	b, err := h.Backup(h.t.Context(), passphrase)
	if err != nil {
		h.t.Fatal(err)
	}
	return b
}

// The only authority is lost, and a fresh host becomes one by the backup: it finds the
// nodes, though their gossip key is another by now, knows what was signed, admits and
// evicts.
func TestAMeshWithoutAuthoritiesGetsOneByABackup(t *testing.T) {
	names := []string{"lost", "edge"}
	virtualMesh(t, names, TokenRequest{}, cheapBackups, func(t *testing.T, hosts []*host) {
		lost, edge := hosts[0], hosts[1]
		if _, err := lost.Put(t.Context(), KindVPC, "blue", []byte("blue")); err != nil {
			t.Fatal(err)
		}
		edge.has(KindVPC, "blue", "blue")
		token := lost.token(TokenRequest{Uses: 2, TTL: 24 * time.Hour})
		b := lost.backup()
		if _, err := lost.RotateGossipKey(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(plannedOverlap.drop + time.Minute)
		lost.stop()
		fresh := virtualHost(t, edge.network(t), 10, "fresh")
		defer fresh.stop()
		if err := fresh.Restore(t.Context(), b, passphrase); err != nil {
			t.Fatal(err)
		}
		fresh.has(KindVPC, "blue", "blue")
		fresh.sees("fresh", "edge")
		edge.sees("fresh", "edge")
		if !fresh.HasMeshKey() || fresh.current().mesh != edge.current().mesh {
			t.Error("it is in another mesh, or has not its key")
		}
		late := virtualHost(t, edge.network(t), 11, "late")
		defer late.stop()
		if err := late.Join(t.Context(), fresh.token(TokenRequest{})); err != nil {
			t.Fatal(err)
		}
		late.sees("fresh", "edge", "late")
		fresh.knows(token, 0)
		if n, _, err := fresh.Evict(t.Context(), "lost"); err != nil || n.State != StateEvicted {
			t.Errorf("evict the lost one: %s, %v", n.State, err)
		}
		late.has(KindVPC, "blue", "blue")
		fresh.stop()
		fresh.start() // All of it is on disk.
		fresh.sees("fresh", "edge", "late")
	})
}

// What cannot be restored, or backed up, is said, and changes nothing.
func TestBackupsThatAreRefused(t *testing.T) {
	hosts := newMesh(t, "centre", "edge")
	hosts[0].Mesh.cfg.backupWork = 10
	_, err := hosts[0].Backup(t.Context(), "short")
	wantError(t, err, ErrPassphraseShort)
	_, err = hosts[1].Backup(t.Context(), passphrase)
	wantError(t, err, ErrNotAuthority)
	b := hosts[0].backup()
	key := hosts[0].current().authority.key.key
	if bytes.Contains(b, key.Seed()) {
		t.Error("the mesh's key is in the clear")
	}
	fresh := newHost(t, "fresh")
	_, err = fresh.Backup(t.Context(), passphrase)
	wantError(t, err, ErrNotInMesh)
	flipped := bytes.Clone(b)
	flipped[len(b)-1] ^= 1
	for name, c := range map[string]struct {
		backup     []byte
		passphrase string
		want       error
	}{
		"wrong passphrase": {b, passphrase + "r", ErrPassphrase},
		"none":             {b, "", ErrPassphrase},
		"cut short":        {b[:len(b)-20], passphrase, ErrNotBackup},
		"changed":          {flipped, passphrase, ErrNotBackup},
		"empty":            {nil, passphrase, ErrNotBackup},
		"something else":   {[]byte("not a backup"), passphrase, ErrNotBackup},
		"too long":         {make([]byte, 2*MaxBackup+1), passphrase, ErrNotBackup},
	} {
		if err := fresh.Restore(t.Context(), c.backup, c.passphrase); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
		_, err := os.Stat(filepath.Join(fresh.cfg.StateDir, authorityKeyFile))
		if _, in := fresh.MeshID(); in || !errors.Is(err, os.ErrNotExist) {
			t.Fatalf("%s: something has changed: in a mesh %t, key %v", name, in, err)
		}
	}
	wantError(t, hosts[1].Restore(t.Context(), b, passphrase), ErrInMesh)
	// The key of another mesh that lies there is not written over.
	other, err := newKey(filepath.Join(fresh.cfg.StateDir, authorityKeyFile))
	if err != nil {
		t.Fatal(err)
	}
	wantText(t, fresh.Restore(t.Context(), b, passphrase), authorityKeyFile, "move it away")
	if kept, err := readKey(filepath.Join(fresh.cfg.StateDir, authorityKeyFile)); err != nil || !bytes.Equal(kept.key, other.key) {
		t.Errorf("it is another: %v", err)
	}
}

// FuzzBackup looks for a content that breaks a restore.
func FuzzBackup(f *testing.F) {
	now := time.Unix(2_000_000_000-60, 0)
	ca, err := newAuthority(f.TempDir(), DefaultCertificateLife, now)
	if err != nil {
		f.Fatal(err)
	}
	b, err := wire.Marshal(&wire.Backup{
		Authority: ca.cert.Raw, Key: ca.key.key.Seed(), GossipKey: &wire.HeldKey{Key: make([]byte, gossipKeySize), Version: 1},
		Tokens: []*wire.SharedToken{sharedSample()}, Records: []*wire.Envelope{{Body: []byte("b")}},
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		content, anchor, key, err := readBackup(b, now)
		if err != nil {
			if !errors.Is(err, ErrNotBackup) {
				t.Error(err)
			}
			return
		}
		if id, err := idOf(key.public()); err != nil || ID(id) != anchor.mesh || len(content.GetGossipKey().GetKey()) != gossipKeySize {
			t.Errorf("%v, %v", id, err)
		}
	})
}
