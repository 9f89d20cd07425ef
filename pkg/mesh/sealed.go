package mesh

import (
	"bytes"
	"cmp"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/hpke"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"slices"

	"filippo.io/edwards25519"

	"edgenet.dev/edgenet/pkg/mesh/internal/wire"
)

const (
	// sealedSize is a key sealed by HPKE: the encapsulated key, the key, the tag.
	sealedSize = 32 + gossipKeySize + 16
	// maxCopies is how many copies fit into a record: each takes 106 bytes. Who gets
	// none asks another node.
	maxCopies = 9000
	// sealDomain and checkDomain keep what is made of a gossip key from meaning
	// anything else.
	sealDomain  = "edgenet gossip key v1\x00"
	checkDomain = "edgenet gossip key check v1\x00"
)

// The parts of HPKE: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM. The
// X25519 key is the node's own Ed25519 key on the other form of its curve, so that
// the certificate vouches for it and nothing has to be announced or kept. That one
// key may serve both is shown in Thormarker, "On using the same key pair for
// Ed25519 and an X25519 based KEM" (2021).
var (
	sealKDF  = hpke.HKDFSHA256()
	sealAEAD = hpke.AES256GCM()
)

// sealingKey is the key to seal to a node with.
func sealingKey(key ed25519.PublicKey) (hpke.PublicKey, error) {
	point, err := new(edwards25519.Point).SetBytes(key)
	if err != nil {
		return nil, fmt.Errorf("take X25519 key of Ed25519 key: %w", err)
	}
	public, err := ecdh.X25519().NewPublicKey(point.BytesMontgomery())
	if err != nil {
		return nil, fmt.Errorf("take X25519 key of Ed25519 key: %w", err)
	}
	return hpke.NewDHKEMPublicKey(public)
}

// openingKey is the other half of sealingKey: the scalar that RFC 8032, section
// 5.1.5, makes of the private key.
func (k privateKey) openingKey() (hpke.PrivateKey, error) {
	sum := sha512.Sum512(k.key.Seed())
	private, err := ecdh.X25519().NewPrivateKey(sum[:32]) // X25519 clamps it.
	if err != nil {
		return nil, errors.New("take X25519 key of Ed25519 key: not possible")
	}
	return hpke.NewDHKEMPrivateKey(private)
}

// sealInfo binds a copy to its mesh and its receiver.
func sealInfo(mesh ID, to NodeID) []byte {
	return slices.Concat([]byte(sealDomain), unhex(string(mesh)), to.bytes())
}

// checkOf is by what a key is known that came from elsewhere.
func checkOf(key secret) []byte {
	sum := sha256.Sum256(append([]byte(checkDomain), key.bytes...))
	return sum[:]
}

// sealTo seals the key to nodes, and returns those to which it cannot be.
func sealTo(key secret, mesh ID, to []*credential) (copies []*wire.SealedKey, left []NodeID) {
	for _, c := range to {
		sealed, err := sealOne(key, mesh, c)
		if err != nil || len(copies) == maxCopies {
			left = append(left, c.id)
			continue
		}
		copies = append(copies, &wire.SealedKey{Node: c.id.bytes(), Sealed: sealed})
	}
	slices.SortFunc(copies, func(a, b *wire.SealedKey) int { return bytes.Compare(a.GetNode(), b.GetNode()) })
	return copies, left
}

func sealOne(key secret, mesh ID, c *credential) ([]byte, error) {
	public, err := sealingKey(c.key)
	if err != nil {
		return nil, err
	}
	return hpke.Seal(public, sealKDF, sealAEAD, sealInfo(mesh, c.id), key.bytes)
}

// openCopy returns this node's copy of the key. Its errors say nothing of what is
// in it.
func (k privateKey) openCopy(note *wire.GossipKey, mesh ID, self NodeID) (secret, error) {
	copies := note.GetCopies()
	at, found := slices.BinarySearchFunc(copies, self.bytes(), func(s *wire.SealedKey, id []byte) int {
		return bytes.Compare(s.GetNode(), id)
	})
	if !found {
		return secret{}, errors.New("open gossip key: there is no copy for this node")
	}
	private, err := k.openingKey()
	if err != nil {
		return secret{}, err
	}
	opened, err := hpke.Open(private, sealKDF, sealAEAD, sealInfo(mesh, self), copies[at].GetSealed())
	if err != nil {
		return secret{}, errors.New("open gossip key: this node's copy is not sealed to it")
	}
	key := secret{bytes: opened}
	if !bytes.Equal(checkOf(key), note.GetCheck()) {
		return secret{}, errors.New("open gossip key: this node's copy is another key")
	}
	return key, nil
}

// decodeGossipKey takes the payload of the gossip key's record apart.
func decodeGossipKey(payload []byte) (*wire.GossipKey, error) {
	var note wire.GossipKey
	if err := wire.Unmarshal(payload, &note); err != nil {
		return nil, err
	}
	copies := note.GetCopies()
	if note.GetGeneration() == 0 || len(note.GetCheck()) != sha256.Size || len(copies) > maxCopies {
		return nil, errBadMessage
	}
	for i, c := range copies {
		if len(c.GetNode()) != idDigits/2 || len(c.GetSealed()) != sealedSize {
			return nil, errBadMessage
		}
		if i > 0 && cmp.Compare(string(copies[i-1].GetNode()), string(c.GetNode())) >= 0 {
			return nil, errors.New("decode gossip key: its copies are not in order")
		}
	}
	return &note, nil
}
