package mesh

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"

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
		if err := ValidateName(ask.name); err != nil {
			return err
		}
		if err := m.checkCollisions(tx, ask); err != nil {
			return err
		}
		if c, err = a.issue(ask.key, ask.name, roles, m.cfg.now()); err != nil {
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

// checkCollisions tells whether another node has the name or the prefix of one
// that asks. Nodes that have left have neither; dead ones keep theirs.
func (m *Mesh) checkCollisions(tx *bbolt.Tx, ask *admission) error {
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
		if err := check(e.Node, e.credential.name); err != nil {
			return err
		}
	}
	return tx.Bucket(bucketMembers).ForEach(func(k, v []byte) error {
		if e := m.replica.table.get(ref{KindNode, string(k)}); e != nil && e.Deleted {
			return nil
		}
		var known wire.Member
		if err := proto.Unmarshal(v, &known); err != nil {
			return fmt.Errorf("decode member %q: %w", k, err)
		}
		return check(NodeID(k), known.GetName())
	})
}
