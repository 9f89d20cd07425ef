package mesh

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"time"
)

// How long a node's certificate is valid: unless something else is asked for, and at
// most, which is how long an eviction has to be remembered.
const (
	DefaultCertificateLife = 365 * 24 * time.Hour
	MaxCertificateLife     = DefaultCertificateLife
)

// clockTolerance is how far a node's clock may be behind the authority's when
// it gets its certificate.
const clockTolerance = 48 * time.Hour

// errCertificate says that a certificate is not one of a node of this mesh.
var errCertificate = errors.New("not the certificate of a node of this mesh")

// credential is a verified node certificate, taken apart.
type credential struct {
	id      NodeID
	name    string
	roles   []Role
	key     ed25519.PublicKey
	begins  time.Time
	expires time.Time
	der     []byte
}

// validAt tells whether the certificate has begun and not expired.
func (c *credential) validAt(t time.Time) bool {
	return !t.Before(c.begins) && !t.After(c.expires)
}

// isAuthority tells whether the node may sign for the whole mesh.
func (c *credential) isAuthority() bool { return slices.Contains(c.roles, RoleAuthority) }

// endedAt tells whether the certificate has expired.
func (c *credential) endedAt(t time.Time) bool { return t.After(c.expires) }

// life is how long the certificate is valid from when it was made.
func (c *credential) life() time.Duration {
	return c.expires.Sub(c.begins) - clockTolerance
}

// validRole tells whether a role is one that a certificate may carry.
func validRole(r Role) bool {
	switch r {
	case RoleEdge, RoleCloud, RoleGateway, RoleRelay, RoleAuthority:
		return true
	default:
		return false
	}
}

// nodeURI is the certificate's name for a node in a mesh.
func nodeURI(mesh ID, id NodeID) *url.URL {
	return &url.URL{Scheme: "edgenet", Host: string(mesh), Path: "/node/" + string(id)}
}

// parseCredential takes a node certificate apart and checks that what it says
// fits together: the common name is the hash of the key, the other names follow
// from it. It does not check who issued it.
func parseCredential(cert *x509.Certificate, mesh ID) (*credential, error) {
	key, ok := cert.PublicKey.(ed25519.PublicKey)
	if !ok {
		return nil, fmt.Errorf("%w: its key is not Ed25519", errCertificate)
	}
	if !canonical(cert) {
		return nil, fmt.Errorf("%w: it has something behind its signature", errCertificate)
	}
	id, err := idOf(key)
	if err != nil {
		return nil, err
	}
	switch {
	case cert.Subject.CommonName != id:
		return nil, fmt.Errorf("%w: its common name is not the hash of its key", errCertificate)
	case len(cert.DNSNames) != 1 || ValidateName(cert.DNSNames[0]) != nil:
		return nil, fmt.Errorf("%w: it has no valid node name", errCertificate)
	case len(cert.URIs) != 1 || cert.URIs[0].String() != nodeURI(mesh, NodeID(id)).String():
		return nil, fmt.Errorf("%w: its URI is not the node's", errCertificate)
	case len(cert.IPAddresses) != 1 || !cert.IPAddresses[0].Equal(NodeID(id).Addr(mesh).AsSlice()):
		return nil, fmt.Errorf("%w: its address is not the node's", errCertificate)
	}
	c := &credential{
		id: NodeID(id), name: cert.DNSNames[0], key: key,
		begins: cert.NotBefore, expires: cert.NotAfter, der: cert.Raw,
	}
	for _, unit := range cert.Subject.OrganizationalUnit {
		if !validRole(Role(unit)) {
			return nil, fmt.Errorf("%w: unknown role %q", errCertificate, unit)
		}
		c.roles = append(c.roles, Role(unit))
	}
	return c, nil
}

// canonical tells whether a certificate is nothing but what was signed and the
// signature: crypto/x509 takes, within the outermost sequence, whatever follows
// these, which nobody has signed.
func canonical(cert *x509.Certificate) bool {
	var outer struct {
		Signed    asn1.RawValue
		Algorithm asn1.RawValue
		Signature asn1.BitString
	}
	if rest, err := asn1.Unmarshal(cert.Raw, &outer); err != nil || len(rest) != 0 {
		return false
	}
	again, err := asn1.Marshal(outer)
	return err == nil && bytes.Equal(again, cert.Raw)
}

// trustAnchor is the authority of a mesh, as every node knows it.
type trustAnchor struct {
	mesh ID
	cert *x509.Certificate
	pool *x509.CertPool
	// evictions are those of its nodes that are known here.
	evictions *evictions
}

// newTrustAnchor takes an authority's certificate.
func newTrustAnchor(der []byte) (*trustAnchor, error) {
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("parse authority certificate: %w", err)
	}
	id, err := idOf(cert.PublicKey)
	if err != nil {
		return nil, err
	}
	if !cert.IsCA || cert.CheckSignatureFrom(cert) != nil || !canonical(cert) {
		return nil, errors.New("parse authority certificate: not a self-signed certificate of an authority")
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return &trustAnchor{mesh: ID(id), cert: cert, pool: pool, evictions: newEvictions()}, nil
}

// trusts tells whether a certificate is that of a node which may be believed
// at the given time. The certificate of every connection and every node's record
// comes past here. That of an evicted node is returned with an error that wraps
// ErrEvicted, so that it can be told.
func (a *trustAnchor) trusts(cert *x509.Certificate, now time.Time) (*credential, error) {
	_, err := cert.Verify(x509.VerifyOptions{
		Roots:       a.pool,
		CurrentTime: now,
		KeyUsages:   []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errCertificate, err)
	}
	c, err := parseCredential(cert, a.mesh)
	if err != nil {
		return nil, err
	}
	if a.evictions.refuse(c) {
		return c, fmt.Errorf("%w: %w", errCertificate, ErrEvicted)
	}
	return c, nil
}

// trustsDER is trusts for an encoded certificate.
func (a *trustAnchor) trustsDER(der []byte, now time.Time) (*credential, error) {
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errCertificate, err)
	}
	return a.trusts(cert, now)
}

// parseCertificate takes an encoded certificate apart that was verified before.
func parseCertificate(der []byte, mesh ID) (*credential, error) {
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errCertificate, err)
	}
	return parseCredential(cert, mesh)
}
