package mesh

import (
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"
)

// idDigits is the length of a NodeID and of an ID in hexadecimal digits.
const idDigits = 40

// Valid tells whether id has the form of a node's id.
func (id NodeID) Valid() bool { return isHex(string(id)) }

// Prefix returns the node's /64 in the given mesh. It is the zero Prefix if
// either id is not valid.
func (id NodeID) Prefix(mesh ID) netip.Prefix {
	if !id.Valid() || !mesh.Valid() {
		return netip.Prefix{}
	}
	a := [16]byte{0: 0xfd}
	copy(a[1:3], unhex(string(mesh[:4])))
	copy(a[3:8], unhex(string(id[:10])))
	return netip.PrefixFrom(netip.AddrFrom16(a), 64)
}

// Addr returns the node's own overlay address in the given mesh: the first of
// its /64. It is the zero Addr if either id is not valid.
func (id NodeID) Addr(mesh ID) netip.Addr {
	p := id.Prefix(mesh)
	if !p.IsValid() {
		return netip.Addr{}
	}
	a := p.Addr().As16()
	a[15] = 1
	return netip.AddrFrom16(a)
}

// Valid tells whether id has the form of a mesh's id.
func (id ID) Valid() bool { return isHex(string(id)) }

// Prefix returns the /24 that holds every node's /64. It is the zero Prefix if
// id is not valid.
func (id ID) Prefix() netip.Prefix {
	if !id.Valid() {
		return netip.Prefix{}
	}
	a := [16]byte{0: 0xfd}
	copy(a[1:3], unhex(string(id[:4])))
	return netip.PrefixFrom(netip.AddrFrom16(a), 24)
}

// fingerprint returns the SHA-256 of a public key (PKIX, DER).
func fingerprint(key crypto.PublicKey) ([sha256.Size]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return [sha256.Size]byte{}, fmt.Errorf("encode public key: %w", err)
	}
	return sha256.Sum256(der), nil
}

// idOf returns the id that follows from a public key.
func idOf(key crypto.PublicKey) (string, error) {
	sum, err := fingerprint(key)
	if err != nil {
		return "", err
	}
	return hex.EncodeToString(sum[:])[:idDigits], nil
}

// bytes returns the 20 bytes of a valid id.
func (id NodeID) bytes() []byte { return unhex(string(id)) }

// nodeIDFrom returns the id of 20 bytes, or an invalid one.
func nodeIDFrom(b []byte) NodeID { return NodeID(hex.EncodeToString(b)) }

func isHex(s string) bool {
	return len(s) == idDigits && strings.Trim(s, "0123456789abcdef") == ""
}

// unhex decodes digits that are known to be hexadecimal.
func unhex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		return nil
	}
	return b
}
