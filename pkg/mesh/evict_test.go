package mesh

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"testing"
	"time"

	"edgenet.dev/edgenet/pkg/mesh/internal/wire"
)

// evictionLimit is within what time a node is out everywhere.
const evictionLimit = 5 * time.Second

// envelopes are the records that a node has of itself.
func (h *host) envelopes() []*wire.Envelope {
	return envelopesOf(h.replica.table.entries(func(e *entry) bool { return owner(e.Kind, e.Key) == h.id }))
}

// holdsOnly waits until a node has exactly one gossip key, the newest.
func (h *host) holdsOnly(want Version) {
	h.t.Helper()
	eventuallyPolled(h.t, func() error {
		h.mu.RLock()
		s := h.session
		h.mu.RUnlock()
		if s == nil || s.in.keys.newest() != want || len(s.in.keys.held()) != 1 ||
			!slices.EqualFunc(s.ring.GetKeys(), s.in.keys.held(), func(a []byte, b *wire.HeldKey) bool { return bytes.Equal(a, b.GetKey()) }) {
			return fmt.Errorf("%s has not one gossip key, or not that of %d", h.cfg.Name, want)
		}
		return nil
	})
}

// newestKey is the version of the newest key that a node has a record of.
func (h *host) newestKey() Version {
	return h.replica.table.get(ref{KindGossipKey, GossipKeyKey}).Version
}

// An evicted node is gone from all within seconds, whatever it goes on to say.
func TestAnEvictedNodeIsGoneFromAll(t *testing.T) {
	hosts := newMesh(t, "centre", "edge-1", "edge-2", "stolen")
	centre, stolen := hosts[0], hosts[3]
	rest := hosts[:3]
	key := stolen.put("web", "true")
	for _, h := range rest {
		h.has(KindEndpoint, key, "true")
	}
	said := stolen.envelopes()
	first := centre.current().keys.held()[0]
	began := time.Now()
	if n, already, err := centre.Evict(t.Context(), "stolen"); err != nil || already || n.State != StateEvicted {
		t.Fatalf("%+v, %t, %v", n, already, err)
	}
	for _, h := range rest {
		eventually(t, evictionLimit, h.Mesh, func() error {
			n, _ := h.Node("stolen")
			_, there := h.Get(KindEndpoint, key)
			if n.State != StateEvicted || there {
				return fmt.Errorf("%s still has it: %+v, endpoint %t", h.cfg.Name, n, there)
			}
			return nil
		})
	}
	t.Logf("gone from all after %s", time.Since(began))
	for _, h := range rest {
		h.holdsOnly(centre.newestKey())
		before := h.Refusals()[refusedEvicted]
		if news, _ := h.replica.apply(said); len(news) != 0 || h.Refusals()[refusedEvicted] != before+uint64(len(said)) {
			t.Errorf("%s took %d of %d records that were replayed, refusals %v", h.cfg.Name, len(news), len(said), h.Refusals())
		}
		h.sees("centre", "edge-1", "edge-2")
	}
	if now := centre.current().keys.held()[0]; bytes.Equal(now.GetKey(), first.GetKey()) {
		t.Error("the gossip key is the same")
	}
	// The stolen node knows it, has no copy of the key, and is nobody's peer.
	eventually(t, evictionLimit, stolen.Mesh, func() error {
		if _, evicted := stolen.Evicted(); !evicted || stolen.Self().State != StateEvicted {
			return errors.New("the evicted node does not know it")
		}
		return nil
	})
	if len(stolen.current().keys.held()) != 1 || stolen.current().keys.newest() != Version(first.GetVersion()) {
		t.Error("the evicted node has got another gossip key")
	}
	_, err := stolen.Put(t.Context(), KindEndpoint, key, []byte("again"))
	wantError(t, err, ErrEvicted)
	wantError(t, stolen.callPeer(t.Context(), PeerURL(centre.id)+pathKeys, &wire.KeyRequest{}, maxKeyAnswer, &wire.KeyResponse{}), ErrEvicted)
	_, err = centre.PeerClient(stolen.id).Get(PeerURL(stolen.id) + "/")
	wantError(t, err, ErrEvicted)
	if _, already, err := centre.Evict(t.Context(), "stolen"); err != nil || !already {
		t.Errorf("evicted again: %t, %v", already, err)
	}
}

// Who speaks with the gossip key that an evicted node had is not understood any
// more.
func TestTheFormerGossipKeyBuysNothing(t *testing.T) {
	hosts := newMesh(t, "centre", "edge", "stolen")
	former := *hosts[2].current()
	former.keys = &keyring{keys: slices.Clone(former.keys.keys)}
	if _, _, err := hosts[0].Evict(t.Context(), string(hosts[2].id)); err != nil {
		t.Fatal(err)
	}
	for _, h := range hosts[:2] {
		h.holdsOnly(hosts[0].newestKey())
	}
	name := string(hosts[2].id[:30]) + "0123456789"
	list := intruder(t, &former, name, &broadcast{name: "x", message: []byte("x")})
	for _, h := range hosts[:2] {
		addr, _ := h.gossipAddr(h.id)
		if n, err := list.Join([]string{addr}); err == nil {
			t.Errorf("%s let the intruder in: %d", h.cfg.Name, n)
		}
		if h.session.members.state(NodeID(name)) != StateDead {
			t.Errorf("%s knows the intruder", h.cfg.Name)
		}
	}
}

// A node that was away when it was evicted learns it when it comes back, and is
// refused; it comes in with another key, under its old name.
func TestANodeThatWasEvictedWhileAwayStaysOut(t *testing.T) {
	hosts := newMesh(t, "centre", "edge", "stolen")
	centre, edge, stolen := hosts[0], hosts[1], hosts[2]
	key := stolen.put("web", "true")
	edge.has(KindEndpoint, key, "true")
	stolen.stop()
	if _, _, err := centre.Evict(t.Context(), "stolen"); err != nil {
		t.Fatal(err)
	}
	edge.lacks(key)
	edge.holdsOnly(centre.newestKey())
	edge.stop()
	edge.start() // What it forgot stays forgotten.
	if n, _ := edge.Node("stolen"); n.State != StateEvicted {
		t.Errorf("after a restart its state is %q", n.State)
	}
	stolen.start()
	eventually(t, 20*time.Second, stolen.Mesh, func() error {
		if _, evicted := stolen.Evicted(); !evicted {
			return errors.New("the evicted node does not know it")
		}
		return nil
	})
	for _, h := range []*host{centre, edge} {
		h.sees("centre", "edge")
		h.lacks(key)
	}
	if err := stolen.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantError(t, stolen.Join(t.Context(), centre.token(TokenRequest{})), ErrEvicted)
	again := newHost(t, "stolen")
	if err := again.Join(t.Context(), centre.token(TokenRequest{})); err != nil {
		t.Fatal(err)
	}
	edge.sees("centre", "edge", "stolen")
	if n, _ := edge.Node("stolen"); n.ID != again.id {
		t.Errorf("the name is that of %s, want the new node", n.ID)
	}
}

// A node that was away while the gossip key was replaced comes back by the peer
// API, also one without a seed to ask.
func TestANodeThatWasAwayDuringARotationComesBack(t *testing.T) {
	hosts := newMesh(t, "centre", "second", "away", "stolen")
	for _, h := range hosts[1:2] {
		h.stop() // It gets its role by a certificate, as a join with it would.
		promote(t, hosts[0], h)
		h.start()
	}
	for _, h := range hosts {
		h.sees("centre", "second", "away", "stolen")
	}
	hosts[0].stop() // It knows no seeds.
	hosts[2].stop()
	if _, _, err := hosts[1].Evict(t.Context(), "stolen"); err != nil {
		t.Fatal(err)
	}
	hosts[1].holdsOnly(hosts[1].newestKey())
	for _, h := range []*host{hosts[2], hosts[0]} {
		h.start()
		h.holdsOnly(hosts[1].newestKey())
	}
	for _, h := range hosts[:3] {
		h.sees("centre", "second", "away")
	}
}

// promote gives a node that stands still the role of an authority.
func promote(t *testing.T, centre, h *host) {
	t.Helper()
	m, err := Open(h.cfg)
	if err != nil {
		t.Fatal(err)
	}
	in := m.current()
	c, err := centre.current().authority.issue(m.key.public(), in.name(), []Role{RoleAuthority}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	stored := &wire.Membership{Authority: in.cert.Raw, Certificate: c.der, GossipKeys: in.keys.held()}
	if err := m.enter(stored, nil, nil); err != nil {
		t.Fatal(err)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
}

// A key that is replaced as planned is used by all in the end, and a node that the
// authority did not know asks for it.
func TestTheGossipKeyIsReplaced(t *testing.T) {
	hosts := newMesh(t, "centre", "edge")
	centre, edge := hosts[0], hosts[1]
	in := centre.current()
	// As if the edge had joined elsewhere at that moment.
	rec, err := centre.nextGossipKey(in, edge.id)
	if err != nil {
		t.Fatal(err)
	}
	es, err := centre.replica.putAll([]Record{rec}, in, centre.key)
	if err != nil {
		t.Fatal(err)
	}
	centre.publish(es)
	edge.holdsOnly(es[0].Version)
	for want := range uint64(2) {
		if n, err := centre.RotateGossipKey(t.Context()); err != nil || n != want+2 {
			t.Fatalf("generation %d, %v, want %d", n, err, want+2)
		}
	}
	eventuallyPolled(t, func() error {
		if edge.current().keys.newest() != centre.newestKey() {
			return errors.New("the edge has no copy")
		}
		return nil
	})
	for _, h := range hosts {
		h.stop()
		h.start() // Keys and times are on disk.
		if h.current().keys.newest() == 0 || len(h.current().keys.held()) < 2 {
			t.Errorf("%s has lost its keys", h.cfg.Name)
		}
	}
	edge.sees("centre", "edge")
	_, err = edge.RotateGossipKey(t.Context())
	wantError(t, err, ErrNotAuthority)
	_, _, err = edge.Evict(t.Context(), "centre")
	wantError(t, err, ErrNotAuthority)
	_, _, err = centre.Evict(t.Context(), "centre")
	wantError(t, err, ErrEvictSelf)
	_, _, err = centre.Evict(t.Context(), "nobody")
	wantError(t, err, ErrUnknownNode)
}

// Strangers are not given the gossip keys.
func TestGossipKeysAreForNodes(t *testing.T) {
	hosts := newMesh(t, "centre")
	base := "https://" + netip.AddrPortFrom(hosts[0].cfg.Links[0].Addr, DefaultPeerPort).String()
	if status, err := post(t, strangerClient(t), base+pathKeys, nil); err != nil || status != http.StatusForbidden {
		t.Errorf("status %d, %v", status, err)
	}
}
