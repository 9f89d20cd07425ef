package mesh

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"edgenet.dev/edgenet/pkg/mesh/internal/wire"
)

// shortLife makes authorities issue certificates that live for minutes.
func shortLife(c *Config) { c.CertificateLife = 4 * time.Minute }

// expires is when a node's certificate ends, as another sees it.
func (h *host) expires(name string) time.Time {
	h.t.Helper()
	n, known := h.Node(name)
	if !known {
		h.t.Fatalf("%s does not know %s", h.cfg.Name, name)
	}
	return n.CertificateExpires
}

// Certificates are renewed long before they expire, each a few times here, and the
// mesh does not notice: nobody is ever anything but alive, and records spread.
func TestCertificatesAreRenewedInTime(t *testing.T) {
	names := []string{"centre", "edge-1", "edge-2"}
	virtualMesh(t, names, TokenRequest{}, shortLife, func(t *testing.T, hosts []*host) {
		key := hosts[1].put("web", "before")
		first := make(map[string]time.Time)
		for _, name := range names {
			first[name] = hosts[0].expires(name)
		}
		for end := time.Now().Add(9 * time.Minute); time.Now().Before(end); time.Sleep(10 * time.Second) {
			for _, h := range hosts {
				for _, name := range names {
					n, _ := h.Node(name)
					if left := time.Until(n.CertificateExpires); n.State != StateAlive || left < 45*time.Second {
						t.Fatalf("%s sees %s as %s with %s left", h.cfg.Name, name, n.State, left)
					}
				}
			}
		}
		for _, name := range names {
			if n := hosts[0].expires(name).Sub(first[name]); n < 5*time.Minute {
				t.Errorf("the certificate of %s was renewed for %s only", name, n)
			}
		}
		for _, h := range hosts {
			h.has(KindEndpoint, key, "before")
		}
		hosts[1].put("web", "after")
		hosts[2].has(KindEndpoint, key, "after")
	})
}

// Renewals of a mesh whose nodes joined at once are spread, and the same node asks at
// the same time each time that it looks.
func TestRenewalsAreSpread(t *testing.T) {
	w := newWorld(t)
	seen := make(map[time.Time]bool)
	for range 20 {
		c, err := w.ca.issue(w.m.key.public(), "edge", []Role{RoleEdge}, w.now)
		if err != nil {
			t.Fatal(err)
		}
		at := c.renewAt()
		if !at.Equal(c.renewAt()) {
			t.Error("it is not the same time twice")
		}
		if left := c.expires.Sub(at); left > c.life()/3 || left < c.life()/4 {
			t.Errorf("renewed with %s left of %s", left, c.life())
		}
		seen[at] = true
	}
	if len(seen) < 15 {
		t.Errorf("20 renewals fall on %d instants", len(seen))
	}
}

// While no authority answers a node asks again and again, and gets its certificate
// when one is back.
func TestARenewalWaitsForAnAuthority(t *testing.T) {
	names := []string{"centre", "edge"}
	virtualMesh(t, names, TokenRequest{}, shortLife, func(t *testing.T, hosts []*host) {
		centre, edge := hosts[0], hosts[1]
		before := edge.Self().CertificateExpires
		centre.stop()
		time.Sleep(200 * time.Second)
		if now := edge.Self().CertificateExpires; !now.Equal(before) {
			t.Fatalf("renewed by nobody: %s, %s", before, now)
		}
		centre.start()
		eventually(t, 35*time.Second, edge.Mesh, func() error {
			if !edge.Self().CertificateExpires.After(before) {
				return errors.New("not renewed")
			}
			return nil
		})
	})
}

// A node that was away until its certificate had run out is believed by nobody: it
// knows so, the others say so, and it comes back by a new token.
func TestAnExpiredNodeIsToldAndComesBack(t *testing.T) {
	names := []string{"centre", "edge-1", "away"}
	virtualMesh(t, names, TokenRequest{}, shortLife, func(t *testing.T, hosts []*host) {
		centre, away := hosts[0], hosts[2]
		if _, expired := away.Expired(); expired {
			t.Error("expired from the beginning")
		}
		away.stop()
		time.Sleep(4*time.Minute + 10*time.Second)
		for _, h := range hosts[:2] {
			if n, _ := h.Node("away"); n.State != StateExpired {
				t.Errorf("%s sees it as %s", h.cfg.Name, n.State)
			}
		}
		away.start()
		time.Sleep(time.Minute)
		if at, expired := away.Expired(); !expired || away.Self().State != StateExpired {
			t.Errorf("it does not know: %s, %t", at, expired)
		}
		for _, h := range hosts[:2] {
			if n, _ := h.Node("away"); n.State != StateExpired {
				t.Errorf("%s sees it as %s once it is back", h.cfg.Name, n.State)
			}
		}
		if err := away.Leave(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := away.Join(t.Context(), centre.token(TokenRequest{})); err != nil {
			t.Fatal(err)
		}
		for _, h := range hosts {
			h.sees(names...)
		}
	})
}

// Who was evicted, or has lost its name, gets no certificate.
func TestWhoGetsNoNewCertificate(t *testing.T) {
	hosts := newMesh(t, "centre", "stolen", "edge")
	centre, stolen, edge := hosts[0], hosts[1], hosts[2]
	in := stolen.current()
	if _, _, err := centre.Evict(t.Context(), "stolen"); err != nil {
		t.Fatal(err)
	}
	var answer wire.RenewResponse
	err := stolen.callPeer(t.Context(), PeerURL(centre.id)+pathRenew, &wire.RenewRequest{}, maxRenewAnswer, &answer)
	wantError(t, err, ErrEvicted)
	// An edge node does not issue, whoever asks.
	err = centre.callPeer(t.Context(), PeerURL(edge.id)+pathRenew, &wire.RenewRequest{}, maxRenewAnswer, &answer)
	wantError(t, err, ErrNotAuthority)
	// What is another's certificate, or older, is not taken.
	wantError(t, edge.takeCertificate(edge.current(), in.self.der), errCertificate)
	wantError(t, edge.takeCertificate(edge.current(), edge.current().self.der), errCertificate)
	// A name that another node has by now is not given back.
	former := edge.current().self
	if err := edge.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, 5*time.Second, centre.Mesh, func() error {
		if n, _ := centre.Node(string(edge.id)); n.State != StateLeft {
			return fmt.Errorf("it is %s", n.State)
		}
		return nil
	})
	other := newHost(t, "edge")
	if err := other.Join(t.Context(), centre.token(TokenRequest{})); err != nil {
		t.Fatal(err)
	}
	_, err = centre.reissue(centre.current().authority, former)
	wantError(t, err, ErrNameTaken)
}
