package wireguard

import (
	"crypto/ed25519"
	"crypto/sha512"
	"fmt"
	"slices"

	"filippo.io/edwards25519"
	"filippo.io/edwards25519/field"

	"edgenet.dev/edgenet/pkg/tunnel"
)

// claim goes before the owner's name in what is signed: a WireGuard key signs
// nothing else.
const claim = "edgenet: this WireGuard key is of node "

// Prove returns a proof that the owner of the key says that it is of a node: a
// signature by XEdDSA (Signal, "The XEdDSA and VXEdDSA Signature Schemes", section
// 4), which is Ed25519's with an X25519 key. Nobody else can make one, nor make
// this one one of another node. As with Ed25519 (RFC 8032, section 5.1.6) it follows
// from the two alone, so that what is announced is the same after a restart: the
// random bytes of XEdDSA are none.
func (k PrivateKey) Prove(node string) ([]byte, error) {
	secret, err := edwards25519.NewScalar().SetBytesWithClamping(k.key[:])
	if err != nil {
		return nil, fmt.Errorf("prove tunnel key: %w", err)
	}
	// Of the two points with the key's coordinate the signer is the one whose sign
	// is 0: the key does not tell the sign.
	public := new(edwards25519.Point).ScalarBaseMult(secret).Bytes()
	if public[31]&signBit != 0 {
		secret.Negate(secret)
		public[31] &^= signBit
	}
	message := []byte(claim + node)
	// As many leading ones are no encoding of a point, with which the other hash begins.
	prefix := slices.Repeat([]byte{0xff}, 32)
	prefix[0] = 0xfe
	nonce, err := hashed(prefix, secret.Bytes(), message)
	if err != nil {
		return nil, err
	}
	commitment := new(edwards25519.Point).ScalarBaseMult(nonce).Bytes()
	challenge, err := hashed(commitment, public, message)
	if err != nil {
		return nil, err
	}
	return append(commitment, challenge.MultiplyAdd(challenge, secret, nonce).Bytes()...), nil
}

// signBit is that of an encoded point, in its last byte.
const signBit = 0x80

// hashed is the hash of all parts as a scalar.
func hashed(parts ...[]byte) (*edwards25519.Scalar, error) {
	sum := sha512.Sum512(slices.Concat(parts...))
	s, err := edwards25519.NewScalar().SetUniformBytes(sum[:])
	if err != nil {
		return nil, fmt.Errorf("prove tunnel key: %w", err)
	}
	return s, nil
}

// Proved tells whether the owner of a key has said, by Prove, that it is of a node.
func Proved(key tunnel.PublicKey, node string, proof []byte) bool {
	public, ok := signer(key)
	return ok && len(proof) == ed25519.SignatureSize && ed25519.Verify(public, []byte(claim+node), proof)
}

// signer is the Ed25519 key whose sign is 0 of an X25519 key: y = (u-1)/(u+1). There
// is none of what is not the one encoding of its coordinate, is on no point of the
// curve, or has a small order, by which anybody could sign.
func signer(key tunnel.PublicKey) (ed25519.PublicKey, bool) {
	u, err := new(field.Element).SetBytes(key[:])
	if err != nil || !slices.Equal(u.Bytes(), key[:]) {
		return nil, false
	}
	one := new(field.Element).One()
	below := new(field.Element).Add(u, one)
	if below.Equal(new(field.Element)) == 1 {
		return nil, false
	}
	y := new(field.Element).Subtract(u, one)
	public := y.Multiply(y, below.Invert(below)).Bytes()
	point, err := new(edwards25519.Point).SetBytes(public)
	if err != nil || point.MultByCofactor(point).Equal(edwards25519.NewIdentityPoint()) == 1 {
		return nil, false
	}
	return public, true
}
