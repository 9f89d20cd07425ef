package mesh

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"go.etcd.io/bbolt"

	"edgenet.dev/edgenet/pkg/mesh/internal/wire"
)

// joinTimeout bounds one attempt at one address.
const joinTimeout = 15 * time.Second

// Join makes this node a member of the mesh that the token names. Refusals wrap
// ErrTokenMalformed, ErrTokenUnknown, ErrTokenExpired, ErrTokenUsedUp,
// ErrNameTaken, ErrPrefixTaken or ErrEvicted. After an error it can be tried again with the
// same token, which is not used up by that.
func (m *Mesh) Join(ctx context.Context, text string) error {
	m.change.Lock()
	defer m.change.Unlock()
	if m.current() != nil {
		return fmt.Errorf("join mesh: %w", ErrInMesh)
	}
	t, err := parseToken(text)
	if err != nil {
		return fmt.Errorf("join mesh: %w", err)
	}
	stored, records, err := m.askAdmission(ctx, t)
	if err != nil {
		return fmt.Errorf("join mesh: %w", err)
	}
	if err := m.enter(stored, records, nil); err != nil {
		return fmt.Errorf("join mesh: %w", err)
	}
	m.awaitSession(ctx)
	return nil
}

// finalAnswers are those that only the authority itself gives.
var finalAnswers = []error{
	ErrTokenUnknown, ErrTokenExpired, ErrTokenUsedUp, ErrNameTaken, ErrNameInvalid, ErrPrefixTaken,
	ErrEvicted,
}

// askAdmission tries the token's addresses until one gives a final answer.
func (m *Mesh) askAdmission(ctx context.Context, t *token) (*wire.Membership, []*wire.Envelope, error) {
	var errs []error
	for _, seed := range t.seeds {
		answer, err := m.askAt(ctx, t, seed)
		if err == nil {
			return m.accept(t, answer)
		}
		err = fmt.Errorf("ask authority at %s: %w", seed, err)
		if slices.ContainsFunc(finalAnswers, func(final error) bool { return errors.Is(err, final) }) {
			return nil, nil, err // Asking elsewhere would not change it.
		}
		errs = append(errs, err)
	}
	return nil, nil, errors.Join(errs...)
}

// askAt asks for admission at one address.
func (m *Mesh) askAt(ctx context.Context, t *token, seed netip.AddrPort) (*wire.JoinResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, joinTimeout)
	defer cancel()
	conn, err := m.dialTLS(ctx, seed, m.joinTLS(t))
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	state := conn.ConnectionState()
	channel, err := channelBinding(&state)
	if err != nil {
		return nil, err
	}
	request, err := newRequest(m.key, m.cfg.Name)
	if err != nil {
		return nil, err
	}
	req := &wire.JoinRequest{
		TokenId: t.id[:], Request: request,
		Proof: joinProof(grantKey(t.secret), channel, t.id[:], request),
	}
	// The proof is good on this one connection only.
	once := &http.Transport{
		DialTLSContext:    func(context.Context, string, string) (net.Conn, error) { return conn, nil },
		DisableKeepAlives: true,
	}
	defer once.CloseIdleConnections()
	var answer wire.JoinResponse
	err = call(ctx, &http.Client{Transport: once, CheckRedirect: stay}, "https://"+seed.String()+pathJoin, req, maxJoinAnswer, &answer)
	return &answer, err
}

// joinTLS believes only the authority that the token names, and a node which
// that has made an authority.
func (m *Mesh) joinTLS(t *token) *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS13,
		NextProtos:         []string{"http/1.1"},
		InsecureSkipVerify: true, // VerifyConnection does all of the verification.
		VerifyConnection: func(state tls.ConnectionState) error {
			chain := state.PeerCertificates
			if len(chain) != 2 {
				return fmt.Errorf("%w: the authority's is missing", errCertificate)
			}
			anchor, err := t.anchor(chain[1])
			if err != nil {
				return err
			}
			c, err := anchor.trusts(chain[0], m.cfg.now())
			if err != nil {
				return err
			}
			if !c.isAuthority() {
				return fmt.Errorf("%w: %s is not an authority", errCertificate, c.id)
			}
			return nil
		},
	}
}

// anchor returns the authority of a certificate, if it is that of the token.
func (t *token) anchor(cert *x509.Certificate) (*trustAnchor, error) {
	if sha256.Sum256(cert.RawSubjectPublicKeyInfo) != t.fingerprint {
		return nil, fmt.Errorf("%w: its authority is not the one that the token names", errCertificate)
	}
	return newTrustAnchor(cert.Raw)
}

// accept checks an authority's answer.
func (m *Mesh) accept(t *token, answer *wire.JoinResponse) (*wire.Membership, []*wire.Envelope, error) {
	cert, err := x509.ParseCertificate(answer.GetAuthority())
	if err != nil {
		return nil, nil, fmt.Errorf("accept answer: %w", err)
	}
	anchor, err := t.anchor(cert)
	if err != nil {
		return nil, nil, fmt.Errorf("accept answer: %w", err)
	}
	c, err := anchor.trustsDER(answer.GetCertificate(), m.cfg.now())
	if err != nil {
		return nil, nil, fmt.Errorf("accept answer: %w: is this node's clock right?", err)
	}
	if c.id != m.id || c.name != m.cfg.Name {
		return nil, nil, fmt.Errorf("accept answer: %w: it is not this node's", errCertificate)
	}
	if err := checkOffer(answer.GetGossipKeys()); err != nil {
		return nil, nil, fmt.Errorf("accept answer: %w", err)
	}
	stored := &wire.Membership{
		Authority: answer.GetAuthority(), Certificate: answer.GetCertificate(),
		GossipKeys: heldFrom(answer.GetGossipKeys(), m.cfg.now()),
	}
	for _, s := range t.seeds {
		stored.Seeds = append(stored.Seeds, s.String())
	}
	return stored, answer.GetRecords(), nil
}

// enter writes the membership down and takes part. also, if not nil, is done
// in the same transaction. change is held.
func (m *Mesh) enter(stored *wire.Membership, records []*wire.Envelope, also func(*bbolt.Tx) error) error {
	in, err := m.newMember(stored)
	if err != nil {
		return err
	}
	err = m.replica.db.Update(func(tx *bbolt.Tx) error {
		if also != nil {
			if err := also(tx); err != nil {
				return err
			}
		}
		return putMembership(tx, stored)
	})
	if err != nil {
		return fmt.Errorf("write database %s: %w", m.replica.db.Path(), err)
	}
	m.replica.begin(in.trustAnchor)
	m.mu.Lock()
	m.member, m.leaving = in, false
	m.mu.Unlock()
	m.replica.apply(records)
	if err := m.ensureSelf(); err != nil {
		m.log.Warn("write own node record", "err", err) // Run tries again.
	}
	m.log.Info("member of mesh", "mesh", in.mesh, "node", m.id, "name", in.name(), "roles", in.self.roles)
	poke(m.joined)
	m.pokes.poke()
	return nil
}
