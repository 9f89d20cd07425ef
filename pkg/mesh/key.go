package mesh

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"

	"filippo.io/edwards25519"
)

// pemKey and pemCertificate are the types of our PEM blocks.
const (
	pemKey         = "PRIVATE KEY"
	pemCertificate = "CERTIFICATE"
)

// errBadKey says what a key file must be.
var errBadKey = errors.New("not an Ed25519 key (PKCS #8, PEM)")

// readKey reads a private key. An absent file wraps fs.ErrNotExist.
func readKey(path string) (privateKey, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return privateKey{}, fmt.Errorf("read private key: %w", err)
	}
	block, rest := pem.Decode(text)
	if block == nil || block.Type != pemKey || len(rest) != 0 {
		return privateKey{}, fmt.Errorf("read private key %s: %w", path, errBadKey)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return privateKey{}, fmt.Errorf("read private key %s: %w: %w", path, errBadKey, err)
	}
	key, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return privateKey{}, fmt.Errorf("read private key %s: %w", path, errBadKey)
	}
	return privateKey{key: key}, nil
}

// newKey makes a private key and writes it to path, which must not exist.
func newKey(path string) (privateKey, error) {
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		return privateKey{}, fmt.Errorf("make private key %s: %w", path, os.ErrExist)
	}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return privateKey{}, fmt.Errorf("make private key: %w", err)
	}
	made := privateKey{key: key}
	return made, made.write(path)
}

// write makes path hold the key.
func (k privateKey) write(path string) error {
	der, err := x509.MarshalPKCS8PrivateKey(k.key)
	if err != nil {
		return fmt.Errorf("encode private key: %w", err)
	}
	return writeFile(path, pem.EncodeToMemory(&pem.Block{Type: pemKey, Bytes: der}))
}

// keyOfSeed is a private key that travelled as its seed (RFC 8032).
func keyOfSeed(seed []byte) (privateKey, error) {
	if len(seed) != ed25519.SeedSize {
		return privateKey{}, errors.New("take private key: it has not the size of one")
	}
	return privateKey{key: ed25519.NewKeyFromSeed(seed)}, nil
}

// readOrMakeKey reads the key at path, and makes one only if there is no file:
// a damaged key is never replaced, for a node would lose who it is.
func readOrMakeKey(path string) (privateKey, error) {
	key, err := readKey(path)
	if errors.Is(err, os.ErrNotExist) {
		return newKey(path)
	}
	return key, err
}

// soundKey tells whether a public key can be one node's: in canonical form, and of
// the group's prime order. For keys of small order everybody can sign, and others
// than these come from no private key (RFC 8032 does not refuse them, nor does
// crypto/ed25519).
func soundKey(key ed25519.PublicKey) bool {
	p, err := new(edwards25519.Point).SetBytes(key)
	if err != nil || !bytes.Equal(p.Bytes(), key) {
		return false
	}
	zero := edwards25519.NewIdentityPoint()
	// The order less one, and once more: a scalar cannot be the order itself.
	one, err := edwards25519.NewScalar().SetCanonicalBytes(append([]byte{1}, make([]byte, 31)...))
	if err != nil || p.Equal(zero) == 1 {
		return false
	}
	all := new(edwards25519.Point).ScalarMult(edwards25519.NewScalar().Negate(one), p)
	return all.Add(all, p).Equal(zero) == 1
}
