package mesh

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"time"
)

// authorityLifetime is how long an authority's certificate is valid.
const authorityLifetime = 20 * 365 * 24 * time.Hour

// The authority's files in the state directory.
const (
	authorityKeyFile         = "ca.key"
	authorityCertificateFile = "ca.crt"
)

// authority can issue certificates: it has the mesh's private key.
type authority struct {
	*trustAnchor
	key privateKey
	// life is how long the certificates that it issues are valid.
	life time.Duration
}

// newAuthority makes the authority of a new mesh, with its files in dir. A key
// that an interrupted attempt has left there is used.
func newAuthority(dir string, life time.Duration, now time.Time) (*authority, error) {
	key, err := readOrMakeKey(filepath.Join(dir, authorityKeyFile))
	if err != nil {
		return nil, fmt.Errorf("make authority: %w", err)
	}
	id, err := idOf(key.public())
	if err != nil {
		return nil, err
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: "edgenet mesh " + id},
		NotBefore:             now.Add(-clockTolerance),
		NotAfter:              now.Add(authorityLifetime),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.public(), key.key)
	if err != nil {
		return nil, fmt.Errorf("make authority certificate: %w", err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: pemCertificate, Bytes: der})
	if err := writeFile(filepath.Join(dir, authorityCertificateFile), text); err != nil {
		return nil, err
	}
	anchor, err := newTrustAnchor(der)
	if err != nil {
		return nil, err
	}
	return &authority{trustAnchor: anchor, key: key, life: life}, nil
}

// openAuthority returns the authority whose key is in dir, nil if there is none.
func openAuthority(dir string, life time.Duration, anchor *trustAnchor) (*authority, error) {
	path := filepath.Join(dir, authorityKeyFile)
	key, err := readKey(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil // Most nodes are no authority.
	}
	if err != nil {
		return nil, fmt.Errorf("open authority: %w", err)
	}
	if id, err := idOf(key.public()); err != nil || ID(id) != anchor.mesh {
		return nil, fmt.Errorf("open authority: %s is the key of another mesh than %s: move it away or restore the right one",
			path, anchor.mesh)
	}
	return &authority{trustAnchor: anchor, key: key, life: life}, nil
}

// issue makes a node's certificate.
func (a *authority) issue(key ed25519.PublicKey, name string, roles []Role, now time.Time) (*credential, error) {
	if err := ValidateName(name); err != nil {
		return nil, err
	}
	text, err := idOf(key)
	if err != nil {
		return nil, err
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	id := NodeID(text)
	subject := pkix.Name{CommonName: text}
	for _, r := range roles {
		subject.OrganizationalUnit = append(subject.OrganizationalUnit, string(r))
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      subject,
		DNSNames:     []string{name},
		URIs:         []*url.URL{nodeURI(a.mesh, id)},
		IPAddresses:  []net.IP{id.Addr(a.mesh).AsSlice()},
		NotBefore:    now.Add(-clockTolerance),
		NotAfter:     now.Add(a.life),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key, a.key.key)
	if err != nil {
		return nil, fmt.Errorf("issue certificate: %w", err)
	}
	return a.trustsDER(der, now)
}

// newSerial returns a random certificate number of 127 bits.
func newSerial() (*big.Int, error) {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("make certificate number: %w", err)
	}
	return n, nil
}
