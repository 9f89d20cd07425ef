package wireguard

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"edgenet.dev/edgenet/pkg/tunnel"
	"edgenet.dev/edgenet/pkg/tunnel/internal/unprinted"
)

// PrivateKey is this node's X25519 key. It never prints: wgtypes.Key's own
// String does.
type PrivateKey struct {
	unprinted.Key

	key wgtypes.Key
}

// Public returns the key that peers know this node by.
func (k PrivateKey) Public() tunnel.PublicKey { return tunnel.PublicKey(k.key.PublicKey()) }

// IsZero says that k is no key.
func (k PrivateKey) IsZero() bool { return k.key == wgtypes.Key{} }

// GenerateKey makes a new key.
func GenerateKey() (PrivateKey, error) {
	key, err := wgtypes.GeneratePrivateKey()
	if err != nil {
		return PrivateKey{}, fmt.Errorf("generate private key: %w", err)
	}
	return PrivateKey{key: key}, nil
}

// ParseKey reads a key in the form that wg(8) uses: base64, white space around
// it ignored. No error repeats any part of the text.
func ParseKey(text string) (PrivateKey, error) {
	key, err := wgtypes.ParseKey(strings.TrimSpace(text))
	if err != nil {
		return PrivateKey{}, errors.New("parse private key: not 32 bytes in base64")
	}
	if (key == wgtypes.Key{}) {
		return PrivateKey{}, errors.New("parse private key: all zero")
	}
	// WireGuard clamps what it is given (RFC 7748, section 5) and reports the
	// clamped key: an unclamped one would differ from it for ever.
	key[0] &= 248
	key[31] = key[31]&127 | 64
	return PrivateKey{key: key}, nil
}

// LoadOrCreateKey reads the key from the file, or makes one and keeps it there,
// readable by its owner alone. The directory must exist. A file that is there
// but holds no key, or that others may read, is an error and is left as it is.
func LoadOrCreateKey(path string) (PrivateKey, error) {
	key, err := loadKey(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	key, err = GenerateKey()
	if err != nil {
		return PrivateKey{}, err
	}
	err = storeKey(path, key)
	if errors.Is(err, fs.ErrExist) { // another process was faster
		return loadKey(path)
	}
	if err != nil {
		return PrivateKey{}, fmt.Errorf("store private key: %w", err)
	}
	return key, nil
}

// maxKeyFile bounds what is read: 44 characters and generous white space.
const maxKeyFile = 256

func loadKey(path string) (PrivateKey, error) {
	f, err := os.Open(path)
	if err != nil {
		return PrivateKey{}, fmt.Errorf("load private key: %w", err)
	}
	defer func() { _ = f.Close() }()
	st, err := f.Stat()
	if err != nil {
		return PrivateKey{}, fmt.Errorf("load private key: %w", err)
	}
	if st.Mode().Perm()&0o077 != 0 {
		return PrivateKey{}, fmt.Errorf("load private key: %s may be read by others (mode %04o, want 0600)",
			path, st.Mode().Perm())
	}
	text, err := io.ReadAll(io.LimitReader(f, maxKeyFile))
	if err != nil {
		return PrivateKey{}, fmt.Errorf("load private key: %w", err)
	}
	key, err := ParseKey(string(text))
	if err != nil {
		return PrivateKey{}, fmt.Errorf("load private key %s: %w", path, err)
	}
	return key, nil
}

// storeKey writes the whole file aside and then gives it its name, by a link,
// which unlike a rename replaces nothing.
func storeKey(path string, key PrivateKey) error {
	return writeFile(path, []byte(key.key.String()+"\n"), os.Link)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
