package mesh

import (
	"crypto/hmac"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"go.etcd.io/bbolt"
	"google.golang.org/protobuf/proto"

	"edgenet.dev/edgenet/pkg/mesh/internal/wire"
)

// Limits of join tokens.
const (
	// DefaultTokenTTL is how long a token is good if nothing else is asked.
	DefaultTokenTTL = time.Hour
	// MaxTokenTTL is the most that can be asked.
	MaxTokenTTL = 30 * 24 * time.Hour
	// MaxTokenUses is how many nodes may join with one token at most.
	MaxTokenUses = 10000
	// grantMemory is how long the authority remembers an expired token, to be
	// able to say that it has expired.
	grantMemory = 30 * 24 * time.Hour
)

// TokenRequest asks for a join token.
type TokenRequest struct {
	// TTL is DefaultTokenTTL if 0, at most MaxTokenTTL, counted in seconds.
	TTL time.Duration
	// Uses is how many nodes may join with it: 1 if 0, at most MaxTokenUses.
	Uses int
	// Roles are those that the nodes get, RoleEdge if none.
	Roles []Role
}

// complete fills in what was left out and checks the rest.
func (q *TokenRequest) complete() error {
	if q.TTL == 0 {
		q.TTL = DefaultTokenTTL
	}
	if q.Uses == 0 {
		q.Uses = 1
	}
	if len(q.Roles) == 0 {
		q.Roles = []Role{RoleEdge}
	}
	if q.TTL < time.Second || q.TTL > MaxTokenTTL {
		return fmt.Errorf("check lifetime %s: it must be from 1 s to %s", q.TTL, MaxTokenTTL)
	}
	if q.Uses < 0 || q.Uses > MaxTokenUses {
		return fmt.Errorf("check uses %d: they must be from 1 to %d", q.Uses, MaxTokenUses)
	}
	for i, r := range q.Roles {
		if !validRole(r) || slices.Contains(q.Roles[:i], r) {
			return fmt.Errorf("check role %q: it is unknown, or there twice", r)
		}
	}
	return nil
}

// CreateToken makes a join token, which is good with every authority. Only an authority
// can; others get ErrNotAuthority, and one without the mesh's key ErrNotMeshKey.
func (m *Mesh) CreateToken(q TokenRequest) (text string, expires time.Time, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("create token: %w", err)
		}
	}()
	in := m.current()
	if in == nil {
		return "", time.Time{}, ErrNotInMesh
	}
	if !in.self.isAuthority() {
		return "", time.Time{}, ErrNotAuthority
	}
	if in.authority == nil {
		return "", time.Time{}, ErrNotMeshKey
	}
	if err := q.complete(); err != nil {
		return "", time.Time{}, err
	}
	t := &token{
		secret:  secret{bytes: make([]byte, tokenSecret)},
		expires: m.cfg.now().Add(q.TTL).Truncate(time.Second),
	}
	if t.fingerprint, err = fingerprint(in.cert.PublicKey); err != nil {
		return "", time.Time{}, err
	}
	if _, err := rand.Read(t.id[:]); err != nil {
		return "", time.Time{}, err
	}
	if _, err := rand.Read(t.secret.bytes); err != nil {
		return "", time.Time{}, err
	}
	t.seeds = m.tokenSeeds()
	if err := m.replica.db.putGrant(t, q, m.cfg.now()); err != nil {
		return "", time.Time{}, err
	}
	m.shareSoon()
	text, err = t.format()
	return text, t.expires, err
}

// tokenSeeds are where a token can be used: with this node, or with any other
// authority, as many as there is room for.
func (m *Mesh) tokenSeeds() []netip.AddrPort {
	var out []netip.AddrPort
	for _, l := range m.cfg.Links {
		out = append(out, netip.AddrPortFrom(l.Addr, m.cfg.PeerPort))
	}
	for _, n := range m.Authorities() {
		if !n.Local {
			out = append(out, m.peerAddrs(n.ID)...)
		}
	}
	return out[:min(len(out), tokenMaxSeeds)]
}

// putGrant keeps what is needed to admit with a token, and forgets old ones.
func (db *database) putGrant(t *token, q TokenRequest, now time.Time) error {
	g := &wire.Grant{Key: grantKey(t.secret).bytes, Expires: t.expires.Unix(), Uses: uint32(q.Uses)} // Checked.
	for _, r := range q.Roles {
		g.Roles = append(g.Roles, string(r))
	}
	b, err := wire.Marshal(g)
	if err != nil {
		return err
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		tokens := tx.Bucket(bucketTokens)
		var old [][]byte
		err := tokens.ForEach(func(k, v []byte) error {
			var g wire.Grant
			if err := proto.Unmarshal(v, &g); err != nil {
				return fmt.Errorf("decode token: %w", err)
			}
			if time.Unix(g.GetExpires(), 0).Before(now.Add(-grantMemory)) {
				old = append(old, slices.Clone(k))
			}
			return nil
		})
		for _, k := range old {
			err = errors.Join(err, tokens.Delete(k))
		}
		if err != nil {
			return err
		}
		return tokens.Put(t.id[:], b)
	})
	if err != nil {
		return fmt.Errorf("write database %s: %w", db.Path(), err)
	}
	return nil
}

// use spends a use of a token for a node, within the transaction that admits
// it. A node that was admitted with the token before spends none: it has not
// got the answer. It returns the roles that the token gives.
func use(tx *bbolt.Tx, ask *admission, now time.Time) ([]Role, error) {
	tokens := tx.Bucket(bucketTokens)
	var g wire.Grant
	b := tokens.Get(ask.tokenID)
	if b != nil {
		if err := proto.Unmarshal(b, &g); err != nil {
			return nil, fmt.Errorf("decode token: %w", err)
		}
	}
	// An unknown id takes as long as a wrong secret.
	want := joinProof(secret{bytes: g.GetKey()}, ask.channel, ask.tokenID, ask.request)
	if proved := hmac.Equal(want, ask.proof); !proved || len(g.GetKey()) == 0 {
		return nil, ErrTokenUnknown
	}
	var roles []Role
	for _, r := range g.GetRoles() {
		roles = append(roles, Role(r))
	}
	if !now.Before(time.Unix(g.GetExpires(), 0)) {
		return nil, ErrTokenExpired
	}
	if slices.Contains(g.GetAdmitted(), string(ask.id)) {
		return roles, nil
	}
	if len(g.GetAdmitted()) >= int(g.GetUses()) {
		return nil, ErrTokenUsedUp
	}
	g.Admitted = append(g.Admitted, string(ask.id))
	b, err := wire.Marshal(&g)
	if err != nil {
		return nil, err
	}
	return roles, tokens.Put(ask.tokenID, b)
}
