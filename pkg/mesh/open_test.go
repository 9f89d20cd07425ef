package mesh

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"
)

// openAt opens a mesh in a directory.
func openAt(dir string) (*Mesh, error) {
	return Open(Config{StateDir: dir, Name: "here", Links: []Link{{Addr: loopback()}}})
}

// mustClose closes what was opened.
func mustClose(t *testing.T, m *Mesh) {
	t.Helper()
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestAFirstOpenMakesAKeyThatLasts(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	m, err := openAt(dir)
	if err != nil {
		t.Fatal(err)
	}
	self := m.Self()
	if !self.ID.Valid() || self.Name != "here" || self.State != StateAlive || self.Prefix.IsValid() {
		t.Errorf("self is %+v", self)
	}
	if m.MeshPrefix().IsValid() || len(m.Nodes()) != 0 || len(m.Authorities()) != 0 {
		t.Error("there is a mesh")
	}
	_, err = openAt(dir)
	wantText(t, err, "another process has it open", dir)
	mustClose(t, m)
	for _, name := range []string{nodeKeyFile, databaseFile} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode() != 0o600 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	if m, err = openAt(dir); err != nil {
		t.Fatal(err)
	}
	defer mustClose(t, m)
	if m.Self().ID != self.ID {
		t.Error("it is another node now")
	}
	if left, err := filepath.Glob(filepath.Join(dir, ".*")); err != nil || len(left) != 0 {
		t.Errorf("files are left behind: %v, %v", left, err)
	}
}

func TestOpenSaysWhatIsWrong(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := openAt(file)
	wantText(t, err, file, "must be a directory")
	_, err = openAt(filepath.Join(file, "x"))
	wantText(t, err, file, "must be a directory")
	_, err = openAt("/proc/edgenet")
	wantText(t, err, "/proc/edgenet", "must be a directory that edgenetd may read and write")
	_, err = openAt("")
	wantText(t, err, "no path")
	for _, name := range []string{"", "A", "-a", "a-", "a.b", strings.Repeat("a", 64), strings.Repeat("a", idDigits)} {
		_, err := Open(Config{StateDir: t.TempDir(), Name: name, Links: []Link{{Addr: loopback()}}})
		wantError(t, err, ErrNameInvalid)
	}
	_, err = Open(Config{StateDir: t.TempDir(), Name: "a"})
	wantText(t, err, "0 links")
	_, err = Open(Config{StateDir: t.TempDir(), Name: "a", Links: []Link{{}}})
	wantText(t, err, "not the address of one host")
}

func TestADamagedKeyIsNeverReplaced(t *testing.T) {
	for name, content := range map[string]string{
		"empty": "", "rubbish": "rubbish", "half": "-----BEGIN PRIVATE KEY-----\nMC4C",
		"another type": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, nodeKeyFile)
			if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := openAt(dir)
			wantText(t, err, path, "restore it from a backup")
			if now, err := os.ReadFile(path); err != nil || string(now) != content {
				t.Errorf("the key is %q now, %v", now, err)
			}
		})
	}
}

func TestAMemberWithoutItsKeysDoesNotStart(t *testing.T) {
	dir := t.TempDir()
	m, err := openAt(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Init(t.Context()); err != nil {
		t.Fatal(err)
	}
	mustClose(t, m)
	replace := func(name string, content []byte, want ...string) {
		t.Helper()
		path := filepath.Join(dir, name)
		old, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if content != nil {
			if err := os.WriteFile(path, content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		_, err = openAt(dir)
		wantText(t, err, want...)
		if err := os.WriteFile(path, old, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	other := filepath.Join(t.TempDir(), "key")
	if _, err := newKey(other); err != nil {
		t.Fatal(err)
	}
	foreign, err := os.ReadFile(other)
	if err != nil {
		t.Fatal(err)
	}
	replace(nodeKeyFile, nil, nodeKeyFile, "no such file", "restore it")
	replace(nodeKeyFile, foreign, nodeKeyFile, "restore the right key")
	replace(authorityKeyFile, foreign, authorityKeyFile, "the key of another mesh")
	replace(authorityKeyFile, []byte("x"), authorityKeyFile, errBadKey.Error())
	if m, err = openAt(dir); err != nil {
		t.Fatal(err)
	}
	mustClose(t, m)
}

func TestADamagedDatabaseIsSaidToBe(t *testing.T) {
	good := t.TempDir()
	m, err := openAt(good)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Init(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i := range 200 {
		if _, err := m.Put(t.Context(), KindVPC, fmt.Sprintf("v%d", i), make([]byte, 500)); err != nil {
			t.Fatal(err)
		}
	}
	mustClose(t, m)
	whole, err := os.ReadFile(filepath.Join(good, databaseFile))
	if err != nil {
		t.Fatal(err)
	}
	for name, damage := range map[string]func([]byte) []byte{
		"rubbish":       func([]byte) []byte { return bytes.Repeat([]byte("rubbish!"), 4096) },
		"empty":         func([]byte) []byte { return nil },
		"short":         func(b []byte) []byte { return b[:100] },
		"two pages":     func(b []byte) []byte { return b[:2*os.Getpagesize()] },
		"cut off":       func(b []byte) []byte { return b[:5*os.Getpagesize()] },
		"pages erased":  func(b []byte) []byte { clear(b[2*os.Getpagesize():]); return b },
		"pages garbled": func(b []byte) []byte { copy(b[2*os.Getpagesize():], bytes.Repeat([]byte{0xff}, len(b))); return b },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			key, err := os.ReadFile(filepath.Join(good, nodeKeyFile))
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, databaseFile)
			err = errors.Join(
				os.WriteFile(filepath.Join(dir, nodeKeyFile), key, 0o600),
				os.WriteFile(path, damage(bytes.Clone(whole)), 0o600))
			if err != nil {
				t.Fatal(err)
			}
			_, err = openAt(dir)
			wantText(t, err, path, "damaged")
		})
	}
}

// A record on disk that does not decode is damage, not a reason to forget it.
func TestADamagedRecordIsSaidToBe(t *testing.T) {
	dir := t.TempDir()
	m, err := openAt(dir)
	if err != nil {
		t.Fatal(err)
	}
	err = m.replica.db.Update(func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketRecords).Put([]byte("vpc\x00v"), []byte("x"))
	})
	if err != nil {
		t.Fatal(err)
	}
	mustClose(t, m)
	_, err = openAt(dir)
	wantText(t, err, dir, "damaged", `vpc\x00v`)
}

// smallDisk mounts a file system with a little room.
func smallDisk(t *testing.T, size int) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", size)); err != nil {
		t.Skipf("mounting a tmpfs is not permitted: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func TestAFullDiskIsSaidToBe(t *testing.T) {
	dir := smallDisk(t, 1<<20)
	m, err := openAt(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Init(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Put(t.Context(), KindVPC, "v", []byte("before")); err != nil {
		t.Fatal(err)
	}
	filler := filepath.Join(dir, "filler")
	if err := os.WriteFile(filler, make([]byte, 2<<20), 0o600); !errors.Is(err, unix.ENOSPC) {
		t.Fatal(err)
	}
	// Memory is not ahead of the disk.
	_, err = m.Put(t.Context(), KindVPC, "v", make([]byte, 512<<10))
	wantError(t, err, unix.ENOSPC)
	wantText(t, err, dir)
	if r, ok := m.Get(KindVPC, "v"); !ok || string(r.Payload) != "before" {
		t.Errorf("after the failure the record is %q, %t", r.Payload, ok)
	}
	mustClose(t, m)
	_, err = openAt(dir)
	wantError(t, err, unix.ENOSPC)
	wantText(t, err, dir, "room to write")
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	if m, err = openAt(dir); err != nil {
		t.Fatal(err)
	}
	defer mustClose(t, m)
	if r, ok := m.Get(KindVPC, "v"); !ok || string(r.Payload) != "before" {
		t.Errorf("after the restart the record is %q, %t", r.Payload, ok)
	}
}
