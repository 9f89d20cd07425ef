package mesh

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"time"

	"go.etcd.io/bbolt"
	"google.golang.org/protobuf/proto"

	"edgenet.dev/edgenet/pkg/mesh/internal/wire"
)

const (
	// renewLook is how often a node looks whether its certificate has to be renewed,
	// if the certificate does not live so short that it must be sooner.
	renewLook = time.Minute
	// renewShare is the part of a certificate's life that is left when it is renewed.
	renewShare = 3
	// renewSpread is the part of its life over which the nodes of a mesh that was
	// made in an hour spread their renewals.
	renewSpread = 24
	// renewTimeout bounds one call.
	renewTimeout = 10 * time.Second
	// renewRetryFirst and renewRetryLast are the waits after attempts in which no
	// authority answered.
	renewRetryFirst = 5 * time.Second
	renewRetryLast  = time.Hour
)

// errNoAuthority says that there is nobody to ask.
var errNoAuthority = errors.New("no authority that could issue certificates is known")

// renewAt is when a certificate is to be renewed. It is the same each time that it
// is asked, and differs between nodes.
func (c *credential) renewAt() time.Time {
	h := fnv.New64a()
	h.Write(c.der)
	life := c.life()
	spread := time.Duration(h.Sum64() % uint64(max(life/renewSpread, 1))) // Positive.
	return c.expires.Add(-life/renewShare + spread)
}

// renewDue tells whether this node has to get another certificate now.
func (m *Mesh) renewDue(in *member) bool {
	return !in.evictions.refuse(in.self) && !m.replica.now().Before(in.self.renewAt())
}

// runRenew keeps this node's certificate from expiring, until ctx ends.
func (s *session) runRenew(ctx context.Context) {
	retry, expired := renewRetryFirst, 0
	for {
		in := s.m.current()
		if in == nil {
			return
		}
		wait := min(renewLook, max(in.self.life()/100, time.Second))
		if s.m.renewDue(in) {
			err := s.m.renew(ctx, in)
			s.m.renewing.Store(&err)
			if err != nil {
				s.log.Warn("renew certificate", "err", err, "expires", in.self.expires.UTC(), "retry", retry)
				wait, retry = min(retry, in.self.life()/20), min(2*retry, renewRetryLast)
			} else {
				retry = renewRetryFirst
			}
		}
		if n := s.m.countExpired(); n != expired {
			expired = n
			s.m.pokes.poke()
		}
		if !pause(ctx, jitter(wait)) {
			return
		}
	}
}

// countExpired is how many nodes' certificates have run out: that is a change that
// no record brings.
func (m *Mesh) countExpired() int {
	now, n := m.replica.now(), 0
	for _, e := range m.replica.table.ofKind(KindNode) {
		if !e.Deleted && e.credential().endedAt(now) {
			n++
		}
	}
	return n
}

// renew gets another certificate for the same key: from this node itself, if it has
// the mesh's key, or from the first authority that answers.
func (m *Mesh) renew(ctx context.Context, in *member) error {
	if in.authority != nil {
		c, err := in.authority.issue(in.self.key, in.self.name, in.self.roles, m.replica.now())
		if err != nil {
			return err
		}
		return m.takeCertificate(in, c.der)
	}
	asked := m.Authorities()
	// Those that are alive first, and of these each as often as the others.
	rand.Shuffle(len(asked), func(i, j int) { asked[i], asked[j] = asked[j], asked[i] })
	slices.SortStableFunc(asked, func(a, b Node) int { return a.rank() - b.rank() })
	errs := []error{errNoAuthority}
	for _, n := range asked {
		if n.Local {
			continue
		}
		err := m.renewAtNode(ctx, in, n.ID)
		if err == nil {
			return nil
		}
		if in.evictions.refuse(in.self) || ctx.Err() != nil {
			return err // Asking elsewhere would not change it.
		}
		errs = append(errs, fmt.Errorf("ask %s: %w", n.Name, err))
	}
	return errors.Join(errs[min(len(errs)-1, 1):]...)
}

// renewAtNode asks one authority.
func (m *Mesh) renewAtNode(ctx context.Context, in *member, id NodeID) error {
	ctx, cancel := context.WithTimeout(ctx, renewTimeout)
	defer cancel()
	var answer wire.RenewResponse
	if err := m.callPeer(ctx, PeerURL(id)+pathRenew, &wire.RenewRequest{}, maxRenewAnswer, &answer); err != nil {
		return err
	}
	return m.takeCertificate(in, answer.GetCertificate())
}

// takeCertificate begins to use another certificate, if it is this node's and better
// than what it has. Nothing is interrupted: connections that were made with the old
// one go on, and tunnels do not depend on certificates.
func (m *Mesh) takeCertificate(in *member, der []byte) error {
	c, err := in.trustsDER(der, m.replica.now())
	if err != nil {
		return fmt.Errorf("take certificate: %w", err)
	}
	old := in.self
	if c.id != old.id || c.name != old.name || !slices.Equal(c.roles, old.roles) {
		return fmt.Errorf("take certificate: %w: it is not this node's", errCertificate)
	}
	if !c.begins.After(old.begins) {
		return fmt.Errorf("take certificate: %w: it is no newer", errCertificate)
	}
	if err := m.amend(in, func(stored *wire.Membership) { stored.Certificate = c.der }); err != nil {
		return fmt.Errorf("take certificate: %w", err)
	}
	m.replaceMember(in, func(next *member) { next.self = c })
	m.peers.CloseIdleConnections() // The next calls show the new one.
	m.log.Info("certificate is renewed", "expires", c.expires.UTC())
	if err := m.ensureSelf(); err != nil {
		return fmt.Errorf("take certificate: %w", err)
	}
	return nil
}

// replaceMember changes what is known of the mesh, if this is the same one still.
func (m *Mesh) replaceMember(in *member, change func(*member)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.member == nil || m.member.trustAnchor != in.trustAnchor {
		return
	}
	next := *m.member
	change(&next)
	m.member = &next
}

// amend changes what is kept on disk of the mesh, if it is the same one still.
func (m *Mesh) amend(in *member, change func(*wire.Membership)) error {
	err := m.replica.db.Update(func(tx *bbolt.Tx) error {
		b := tx.Bucket(bucketMeta).Get(metaMembership)
		if b == nil {
			return nil // It has left meanwhile.
		}
		stored := &wire.Membership{}
		if err := proto.Unmarshal(b, stored); err != nil {
			return fmt.Errorf("decode membership: %w", err)
		}
		anchor, err := newTrustAnchor(stored.GetAuthority())
		if err != nil {
			return err
		}
		if anchor.mesh != in.mesh {
			return nil // It is in another mesh by now.
		}
		change(stored)
		return putMembership(tx, stored)
	})
	if err != nil {
		return fmt.Errorf("write database %s: %w", m.replica.db.Path(), err)
	}
	return nil
}

// RenewalTrouble is why this node's certificate could not be renewed the last time
// that it was tried, nil if it was.
func (m *Mesh) RenewalTrouble() error {
	if err := m.renewing.Load(); err != nil && m.current() != nil {
		return *err
	}
	return nil
}

// Expired tells whether this node's certificate has run out, and when. Nobody
// believes the node any more, and it has to join anew.
func (m *Mesh) Expired() (at time.Time, expired bool) {
	in := m.current()
	if in == nil || !in.self.endedAt(m.replica.now()) {
		return time.Time{}, false
	}
	return in.self.expires, true
}
