package mesh

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/bbolt"
	"google.golang.org/protobuf/proto"

	"edgenet.dev/edgenet/pkg/mesh/internal/wire"
)

// admission is what a node that wants to join has sent.
type admission struct {
	tokenID, proof, request []byte
	// channel binds the proof to the TLS connection that it came over.
	channel []byte
	id      NodeID
	key     ed25519.PublicKey
	name    string
}

// errRequest says that a certificate request is not a node's.
var errRequest = errors.New("not the certificate request of a node")

// newRequest makes the certificate request of this node.
func newRequest(key privateKey, name string) ([]byte, error) {
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{name}}, key.key)
	if err != nil {
		return nil, fmt.Errorf("make certificate request: %w", err)
	}
	return der, nil
}

// parseRequest takes a certificate request apart and checks that its sender has
// the key.
func parseRequest(der []byte) (*admission, error) {
	request, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errRequest, err)
	}
	key, ok := request.PublicKey.(ed25519.PublicKey)
	if !ok || len(request.DNSNames) != 1 {
		return nil, fmt.Errorf("%w: its key is not Ed25519, or it has not one name", errRequest)
	}
	if err := request.CheckSignature(); err != nil {
		return nil, fmt.Errorf("%w: %w", errRequest, err)
	}
	if !soundKey(key) {
		return nil, fmt.Errorf("%w: its key is no one's", errRequest)
	}
	id, err := idOf(key)
	if err != nil {
		return nil, err
	}
	return &admission{request: der, id: NodeID(id), key: key, name: request.DNSNames[0]}, nil
}

// admitNode spends a use of a token, checks that nothing of the node collides
// with another's, and issues its certificate, all in one transaction.
func (m *Mesh) admitNode(a *authority, ask *admission) (*credential, error) {
	if len(ask.tokenID) != tokenIDSize {
		return nil, ErrTokenUnknown
	}
	var c *credential
	err := m.replica.db.Update(func(tx *bbolt.Tx) error {
		roles, err := use(tx, ask, m.cfg.now())
		if err != nil {
			return err
		}
		if m.replica.evicts(a.trustAnchor, ask.id) {
			return ErrEvicted
		}
		if err := ValidateName(ask.name); err != nil {
			return err
		}
		if err := m.checkCollisions(tx, a.trustAnchor, ask); err != nil {
			return err
		}
		if c, err = a.issue(ask.key, ask.name, roles, m.replica.now()); err != nil {
			return err
		}
		return putMember(tx, c)
	})
	if err != nil {
		return nil, fmt.Errorf("admit node: %w", err)
	}
	return c, nil
}

// putMember remembers an admitted node.
func putMember(tx *bbolt.Tx, c *credential) error {
	b, err := wire.Marshal(&wire.Member{Name: c.name, Certificate: c.der})
	if err != nil {
		return err
	}
	return tx.Bucket(bucketMembers).Put([]byte(c.id), b)
}

// freeName gives back the name of a member that has left, and nothing else: its
// prefix is its own for as long as its certificate is good.
func freeName(tx *bbolt.Tx, id string, now time.Time) error {
	members := tx.Bucket(bucketMembers)
	b := members.Get([]byte(id))
	if b == nil {
		return nil // Only the authority has members.
	}
	var known wire.Member
	if err := proto.Unmarshal(b, &known); err != nil {
		return fmt.Errorf("decode member %q: %w", id, err)
	}
	if expired(&known, now) {
		return members.Delete([]byte(id))
	}
	known.Name = ""
	b, err := wire.Marshal(&known)
	if err != nil {
		return err
	}
	return members.Put([]byte(id), b)
}

// expired tells whether a member can no longer come back by its certificate.
func expired(known *wire.Member, now time.Time) bool {
	cert, err := x509.ParseCertificate(known.GetCertificate())
	return err == nil && now.After(cert.NotAfter)
}

// checkCollisions tells whether another node has the name or the prefix of one
// that asks. Dead nodes keep both. Those that have left, or were evicted, keep the
// prefix: who comes back with an old certificate must not get what is for another.
func (m *Mesh) checkCollisions(tx *bbolt.Tx, trust *trustAnchor, ask *admission) error {
	check := func(id NodeID, name string) error {
		if id == ask.id {
			return nil
		}
		if id[:10] == ask.id[:10] {
			return ErrPrefixTaken
		}
		if name == ask.name {
			return ErrNameTaken
		}
		return nil
	}
	for _, e := range m.replica.table.entries(func(e *entry) bool { return e.Kind == KindNode && !e.Deleted }) {
		if err := check(e.Node, e.credential().name); err != nil {
			return err
		}
	}
	return tx.Bucket(bucketMembers).ForEach(func(k, v []byte) error {
		var known wire.Member
		if err := proto.Unmarshal(v, &known); err != nil {
			return fmt.Errorf("decode member %q: %w", k, err)
		}
		if e := m.replica.table.get(ref{KindNode, string(k)}); e != nil && e.Deleted || m.replica.evicts(trust, NodeID(k)) {
			known.Name = ""
		}
		err := check(NodeID(k), known.GetName())
		if err != nil && known.GetName() == "" && expired(&known, m.cfg.now()) {
			return nil
		}
		return err
	})
}
