package ipsec

import (
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"

	"edgenet.dev/edgenet/pkg/tunnel"
	"edgenet.dev/edgenet/pkg/tunnel/internal/unprinted"
)

// PrivateKey is a node's identity. It never prints.
type PrivateKey struct {
	unprinted.Key

	key ed25519.PrivateKey
}

// NewKey takes a key.
func NewKey(key ed25519.PrivateKey) (PrivateKey, error) {
	if len(key) != ed25519.PrivateKeySize {
		return PrivateKey{}, errors.New("take private key: not an Ed25519 key")
	}
	return PrivateKey{key: key}, nil
}

// Public returns the key that peers know this node by.
func (k PrivateKey) Public() tunnel.PublicKey {
	return tunnel.PublicKey(k.key.Public().(ed25519.PublicKey))
}

// IsZero says that k is no key.
func (k PrivateKey) IsZero() bool { return k.key == nil }

// pem is what charon loads.
func (k PrivateKey) pem() (string, error) {
	der, err := x509.MarshalPKCS8PrivateKey(k.key)
	if err != nil {
		return "", fmt.Errorf("encode private key: %w", err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), nil
}

// publicDER is the key as a SubjectPublicKeyInfo.
func publicDER(key tunnel.PublicKey) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(ed25519.PublicKey(key[:]))
	if err != nil {
		return nil, fmt.Errorf("encode public key: %w", err)
	}
	return der, nil
}

// PublicPEM is a key as charon and openssl read it: a SubjectPublicKeyInfo.
func PublicPEM(key tunnel.PublicKey) (string, error) {
	der, err := publicDER(key)
	if err != nil {
		return "", err
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})), nil
}

// identityBytes is the length of an identity.
const identityBytes = 20

// Identity returns what the owner of a key is called in IKE: the first 20 bytes
// of the SHA-256 of its SubjectPublicKeyInfo as an ID_KEY_ID, in strongSwan's
// notation. It follows from the key, so a node whose key changes is two peers
// for as long as both are known.
func Identity(key tunnel.PublicKey) (string, error) {
	der, err := publicDER(key)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(der)
	return "@#" + hex.EncodeToString(sum[:identityBytes]), nil
}
