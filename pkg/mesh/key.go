package mesh

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
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
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return privateKey{}, fmt.Errorf("encode private key: %w", err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: pemKey, Bytes: der})
	if err := writeFile(path, text); err != nil {
		return privateKey{}, err
	}
	return privateKey{key: key}, nil
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
