package wireguard

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"edgenet.dev/edgenet/pkg/tunnel"
)

// Names of a node's files in its folder.
const (
	keyFile     = "wireguard.key"
	nextKeyFile = "wireguard-next.key"
	// madeFile has no secrets.
	madeFile = "wireguard-made.json"
)

// Keys are this node's keys as files keep them: the one that it has, and the one
// that it goes over to. Each step is one file that gets its name at once, so that
// a process that dies between two of them leaves either the one state or the
// other.
type Keys struct {
	dir     string
	current PrivateKey
	next    PrivateKey // zero if there is none
	made    map[string]time.Time
	since   time.Time
}

// OpenKeys reads the keys in a folder, which must exist, and makes the first.
func OpenKeys(dir string) (*Keys, error) {
	k := &Keys{dir: dir, made: map[string]time.Time{}}
	err := k.tidy()
	if err != nil {
		return nil, err
	}
	if k.current, err = LoadOrCreateKey(k.path(keyFile)); err != nil {
		return nil, err
	}
	k.next, err = loadKey(k.path(nextKeyFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if !k.next.IsZero() && !k.next.Public().Follows(k.current.Public()) {
		// Somebody has given the node another key than the one that it was made for.
		if err := k.Discard(); err != nil {
			return nil, err
		}
	}
	return k, k.date()
}

func (k *Keys) path(name string) string { return filepath.Join(k.dir, name) }

// Current is the key that the node has.
func (k *Keys) Current() PrivateKey { return k.current }

// Next is the key that the node goes over to; it is zero if there is none.
func (k *Keys) Next() PrivateKey { return k.next }

// NextPublic is what peers are going to know the node by; it is zero if there is no
// next key.
func (k *Keys) NextPublic() tunnel.PublicKey {
	if k.next.IsZero() {
		return tunnel.PublicKey{}
	}
	return k.next.Public()
}

// Since is when the current key was made.
func (k *Keys) Since() time.Time { return k.since }

// tidy removes what a process has left that died while it wrote a file aside.
func (k *Keys) tidy() error {
	entries, err := os.ReadDir(k.dir)
	if err != nil {
		return fmt.Errorf("look for unfinished key files: %w", err)
	}
	for _, e := range entries {
		if !isAside(e.Name()) {
			continue
		}
		if err := os.Remove(k.path(e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove unfinished key file: %w", err)
		}
	}
	return nil
}

// asideEnd ends the names of files that are not whole yet, which begin with a dot:
// nobody calls a copy so, which is not to be taken for one.
const asideEnd = ".new"

// createAside makes a file, of mode 0600, that is to be written and then to get the
// name of a path.
func createAside(path string) (*os.File, error) {
	return os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*"+asideEnd)
}

// isAside tells whether createAside has made a file for one of ours.
func isAside(name string) bool {
	for _, of := range []string{keyFile, nextKeyFile, madeFile} {
		rest, begins := strings.CutPrefix(name, "."+of+".")
		digits, ends := strings.CutSuffix(rest, asideEnd)
		if begins && ends && digits != "" && strings.Trim(digits, "0123456789") == "" {
			return true
		}
	}
	return false
}

// Prepare makes the next key, if there is none.
func (k *Keys) Prepare(now time.Time) error {
	if !k.next.IsZero() {
		return nil
	}
	if found, err := k.found(); found || err != nil {
		return err
	}
	next, err := generateAfter(k.current)
	if err != nil {
		return err
	}
	made := map[string]time.Time{dated(k.current): k.since, dated(next): now.UTC().Truncate(time.Second)}
	if err := k.storeDates(made); err != nil {
		return err
	}
	if err := storeKey(k.path(nextKeyFile), next); err != nil {
		return fmt.Errorf("store next private key: %w", err)
	}
	k.next = next
	return nil
}

// found takes the next key that has come to its file though that was an error: only
// the folder was not written out.
func (k *Keys) found() (bool, error) {
	next, err := loadKey(k.path(nextKeyFile))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, err
	case !next.Public().Follows(k.current.Public()):
		return false, k.Discard()
	}
	if err := syncDir(k.dir); err != nil {
		return false, fmt.Errorf("store next private key: %w", err)
	}
	k.next = next
	return true, nil
}

// Commit makes the next key the current one. What was current is gone.
func (k *Keys) Commit() error {
	if k.next.IsZero() {
		return errors.New("replace private key: there is no next one")
	}
	if err := os.Rename(k.path(nextKeyFile), k.path(keyFile)); err != nil {
		return fmt.Errorf("replace private key: %w", err)
	}
	k.current, k.next = k.next, PrivateKey{}
	return errors.Join(syncDir(k.dir), k.date())
}

// Discard drops the next key.
func (k *Keys) Discard() error {
	if err := os.Remove(k.path(nextKeyFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("discard next private key: %w", err)
	}
	k.next = PrivateKey{}
	return nil
}

// generateAfter makes a key that may follow another: every second one may.
func generateAfter(current PrivateKey) (PrivateKey, error) {
	for {
		key, err := GenerateKey()
		if err != nil || key.Public().Follows(current.Public()) {
			return key, err
		}
	}
}

// dated is what a key is called where dates are kept.
func dated(k PrivateKey) string {
	key := k.key.PublicKey()
	return key.String()
}

// date finds out when the current key was made: as was noted, or, of one that
// edgenet did not make or made before there were notes, when its file was written.
func (k *Keys) date() error {
	text, err := os.ReadFile(k.path(madeFile))
	if err == nil {
		// Notes that cannot be read are as good as none.
		_ = json.Unmarshal(text, &k.made)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read age of private key: %w", err)
	}
	if at, noted := k.made[dated(k.current)]; noted {
		k.since = at
		return nil
	}
	st, err := os.Stat(k.path(keyFile))
	if err != nil {
		return fmt.Errorf("read age of private key: %w", err)
	}
	k.since = st.ModTime().UTC().Truncate(time.Second)
	return k.storeDates(map[string]time.Time{dated(k.current): k.since})
}

// storeDates replaces the notes as a whole.
func (k *Keys) storeDates(made map[string]time.Time) error {
	text, err := json.Marshal(made)
	if err != nil {
		return fmt.Errorf("encode age of private key: %w", err)
	}
	if err := replaceFile(k.path(madeFile), append(text, '\n')); err != nil {
		return fmt.Errorf("store age of private key: %w", err)
	}
	k.made = made
	return nil
}

// replaceFile writes a whole file aside and gives it its name.
func replaceFile(path string, text []byte) error { return writeFile(path, text, os.Rename) }

// writeFile writes a whole file aside and has name give it its name.
func writeFile(path string, text []byte, name func(from, to string) error) error {
	f, err := createAside(path)
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // gone already if it was renamed
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := name(f.Name(), path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}
