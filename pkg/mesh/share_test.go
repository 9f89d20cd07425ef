package mesh

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"edgenet.dev/edgenet/pkg/mesh/internal/wire"
	"edgenet.dev/edgenet/test/sim/wan"
)

// hasMeshKey waits until an authority has got the mesh's key.
func (h *host) hasMeshKey() {
	h.t.Helper()
	eventually(h.t, 20*time.Second, h.Mesh, func() error {
		if !h.HasMeshKey() {
			return fmt.Errorf("%s has not got the mesh's key", h.cfg.Name)
		}
		return nil
	})
}

// knows waits until an authority knows of a token.
func (h *host) knows(text string, admitted int) {
	h.t.Helper()
	tok, err := parseToken(text)
	if err != nil {
		h.t.Fatal(err)
	}
	eventuallyPolled(h.t, func() error {
		shared, err := h.replica.db.sharedTokens(tok.id[:], time.Now())
		if err != nil || len(shared) != 1 || len(shared[0].GetGrant().GetAdmitted()) != admitted {
			return fmt.Errorf("%s knows %v of the token: %w", h.cfg.Name, shared, err)
		}
		return nil
	})
}

// Of three authorities two are lost for good: the last admits nodes, also by a token
// that one of the lost has made, renews certificates, evicts and replaces the gossip
// key, and has its mesh's key after a restart.
func TestTheLastAuthorityGoesOnAlone(t *testing.T) {
	names := []string{"first", "second", "third"}
	roles := TokenRequest{Roles: []Role{RoleAuthority}}
	virtualMesh(t, names, roles, shortLife, func(t *testing.T, hosts []*host) {
		first, second, third := hosts[0], hosts[1], hosts[2]
		for _, h := range hosts {
			h.hasMeshKey()
		}
		network := third.network(t)
		edge := virtualHost(t, network, 10, "edge", shortLife)
		defer edge.stop()
		token := second.token(TokenRequest{Uses: 2})
		if err := edge.Join(t.Context(), token); err != nil {
			t.Fatal(err)
		}
		third.knows(token, 1)
		third.sees("first", "second", "third", "edge")
		expires := edge.Self().CertificateExpires
		first.stop()
		second.stop()
		third.stop()
		third.start()
		late := virtualHost(t, network, 11, "late", shortLife)
		defer late.stop()
		eventuallyPolled(t, func() error { return late.Join(t.Context(), token) })
		third.sees("third", "edge", "late")
		other := virtualHost(t, network, 12, "other", shortLife)
		defer other.stop()
		wantError(t, other.Join(t.Context(), token), ErrTokenUsedUp)
		wantError(t, other.Join(t.Context(), third.token(TokenRequest{Uses: 1})), nil)
		time.Sleep(6 * time.Minute)
		if now := third.expires("edge"); !now.After(expires) {
			t.Errorf("the certificate is not renewed: %s, %s", expires, now)
		}
		if n, _, err := third.Evict(t.Context(), "second"); err != nil || n.State != StateEvicted {
			t.Errorf("evict an authority: %s, %v", n.State, err)
		}
		if _, err := third.RotateGossipKey(t.Context()); err != nil {
			t.Error(err)
		}
		eventuallyPolled(t, func() error {
			if edge.current().keys.newest() != third.newestKey() {
				return errors.New("the edge has not got the next gossip key")
			}
			return nil
		})
		// Names of nodes that others admitted are taken.
		again := virtualHost(t, network, 13, "edge", shortLife)
		defer again.stop()
		wantError(t, again.Join(t.Context(), third.token(TokenRequest{})), ErrNameTaken)
	})
}

// network is the network in memory that a node is on.
func (h *host) network(t *testing.T) *wan.Network {
	t.Helper()
	at, ok := h.cfg.Network.(*wan.Host)
	if !ok {
		t.Fatal("not in virtual time")
	}
	return at.Network()
}

// A token of one use is good once, whichever authorities are asked one after the
// other.
func TestATokenIsUsedOnceWithAllAuthorities(t *testing.T) {
	hosts := []*host{newAuthorityHost(t)}
	second := newHost(t, "second")
	if err := second.Join(t.Context(), hosts[0].token(TokenRequest{Roles: []Role{RoleAuthority}})); err != nil {
		t.Fatal(err)
	}
	second.hasMeshKey()
	hosts[0].sees(hosts[0].cfg.Name, "second")
	second.sees(hosts[0].cfg.Name, "second")
	for _, maker := range []*host{hosts[0], second} {
		text := maker.token(TokenRequest{})
		tok, err := parseToken(text)
		if err != nil || len(tok.seeds) != 2 {
			t.Fatalf("seeds %v, %v", tok.seeds, err)
		}
		for i, seed := range tok.seeds {
			one := *tok
			one.seeds = one.seeds[i : i+1 : i+1]
			text, err := one.format()
			if err != nil {
				t.Fatal(err)
			}
			edge := newHost(t, fmt.Sprintf("edge-%s-%d", maker.cfg.Name, i))
			if err := edge.Join(t.Context(), text); i == 0 && err != nil || i > 0 && !errors.Is(err, ErrTokenUsedUp) {
				t.Errorf("%s: use %d, at %s: %v", maker.cfg.Name, i, seed, err)
			}
		}
	}
}

// The mesh's key is for authorities, and only the right one is taken.
func TestTheMeshsKeyIsForAuthorities(t *testing.T) {
	hosts := newMesh(t, "centre", "edge")
	centre, edge := hosts[0], hosts[1]
	var answer wire.ShareResponse
	err := edge.callPeer(t.Context(), PeerURL(centre.id)+pathShare, &wire.ShareRequest{}, maxShareBody, &answer)
	wantError(t, err, refusalCodes[codeNotServed])
	if len(answer.GetKey()) != 0 || edge.HasMeshKey() {
		t.Error("an edge node has got the mesh's key")
	}
	err = centre.callPeer(t.Context(), PeerURL(edge.id)+pathShare, &wire.ShareRequest{}, maxShareBody, &answer)
	wantError(t, err, ErrNotAuthority)
	for _, seed := range [][]byte{[]byte("short"), make([]byte, 32)} {
		if err := edge.takeAuthority(edge.current(), seed); err == nil || edge.HasMeshKey() {
			t.Errorf("took %x", seed)
		}
	}
	if _, err := os.Stat(filepath.Join(edge.cfg.StateDir, authorityKeyFile)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("its file is there: %v", err)
	}
}

// sharedSample is a token as authorities exchange it.
func sharedSample() *wire.SharedToken {
	id := NodeID("0123456789abcdef0123456789abcdef01234567")
	return &wire.SharedToken{Id: make([]byte, tokenIDSize), Grant: &wire.Grant{
		Key: make([]byte, 32), Expires: 2_000_000_000, Uses: 3, Roles: []string{"edge"}, Admitted: []string{string(id)},
	}}
}

// What is no token is refused, and no use of one is forgotten or counted twice.
func TestSharedTokensAreChecked(t *testing.T) {
	w := newWorld(t)
	db, now := w.m.replica.db, time.Unix(2_000_000_000-60, 0)
	for name, change := range map[string]func(*wire.SharedToken){
		"id":       func(s *wire.SharedToken) { s.Id = s.GetId()[1:] },
		"key":      func(s *wire.SharedToken) { s.Grant.Key = nil },
		"uses":     func(s *wire.SharedToken) { s.Grant.Uses = 0 },
		"too many": func(s *wire.SharedToken) { s.Grant.Uses = MaxTokenUses + 1 },
		"for ever": func(s *wire.SharedToken) { s.Grant.Expires = 3_000_000_000 },
		"role":     func(s *wire.SharedToken) { s.Grant.Roles = []string{"king"} },
		"twice":    func(s *wire.SharedToken) { s.Grant.Roles = []string{"edge", "edge"} },
		"node":     func(s *wire.SharedToken) { s.Grant.Admitted = []string{"x"} },
		"nothing":  func(s *wire.SharedToken) { s.Grant = nil },
	} {
		s := sharedSample()
		change(s)
		if err := db.mergeTokens([]*wire.SharedToken{s}, now); !errors.Is(err, errSharedToken) {
			t.Errorf("%s: %v", name, err)
		}
	}
	one, two := sharedSample(), sharedSample()
	two.Grant.Admitted = []string{"ffffffffffabcdef0123456789abcdef01234567"}
	forged := sharedSample()
	forged.Grant.Key, forged.Grant.Admitted = append(make([]byte, 31), 1), []string{"eeeeeeeeeeabcdef0123456789abcdef01234567"}
	for _, s := range []*wire.SharedToken{one, two, one, forged} {
		if err := db.mergeTokens([]*wire.SharedToken{s}, now); err != nil {
			t.Fatal(err)
		}
	}
	got, err := db.sharedTokens(nil, now)
	if err != nil || len(got) != 1 || len(got[0].GetGrant().GetAdmitted()) != 2 || !proto.Equal(&wire.Grant{Key: got[0].GetGrant().GetKey()}, &wire.Grant{Key: one.GetGrant().GetKey()}) {
		t.Errorf("got %v, %v", got, err)
	}
	if got, err := db.sharedTokens(nil, now.Add(time.Hour)); err != nil || len(got) != 0 {
		t.Errorf("an expired one is shared: %v, %v", got, err)
	}
}

// FuzzSharedToken looks for what makes the check of another authority's tokens, or
// their merging, break.
func FuzzSharedToken(f *testing.F) {
	now := time.Unix(2_000_000_000-60, 0)
	db, err := openDatabase(f.TempDir())
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = db.Close() })
	b, err := wire.Marshal(sharedSample())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		s := &wire.SharedToken{}
		if wire.Unmarshal(b, s) != nil || checkShared(s, now) != nil {
			return
		}
		for range 2 {
			if err := db.mergeTokens([]*wire.SharedToken{s}, now); err != nil {
				t.Fatal(err)
			}
		}
		got, err := db.sharedTokens(s.GetId(), now)
		if err != nil || len(got) > 1 {
			t.Fatalf("%v, %v", got, err)
		}
		for _, one := range got {
			if err := checkShared(one, now); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// What an authority has signed stays in force when it is lost and its certificate has
// run out, also for a node that joins only then.
func TestWhatALostAuthoritySignedStays(t *testing.T) {
	names := []string{"first", "second"}
	virtualMesh(t, names, TokenRequest{Roles: []Role{RoleAuthority}}, shortLife, func(t *testing.T, hosts []*host) {
		first, second := hosts[0], hosts[1]
		second.hasMeshKey()
		for _, key := range []string{"blue", "red"} {
			if _, err := first.Put(t.Context(), KindVPC, key, []byte(key)); err != nil {
				t.Fatal(err)
			}
			second.has(KindVPC, key, key)
		}
		if err := first.Delete(t.Context(), KindVPC, "red"); err != nil {
			t.Fatal(err)
		}
		second.lacksVPC("red")
		first.stop()
		time.Sleep(4*time.Minute + 10*time.Second)
		if n, _ := second.Node("first"); n.State != StateExpired {
			t.Fatalf("the lost one is %s", n.State)
		}
		late := virtualHost(t, second.network(t), 10, "late", shortLife)
		defer late.stop()
		if err := late.Join(t.Context(), second.token(TokenRequest{})); err != nil {
			t.Fatal(err)
		}
		late.has(KindVPC, "blue", "blue")
		if r, _ := late.Get(KindVPC, "blue"); r.Node != second.id {
			t.Errorf("it is signed by %s", r.Node)
		}
		late.lacksVPC("red")
	})
}

// lacksVPC waits until the node has no such VPC.
func (h *host) lacksVPC(name string) {
	h.t.Helper()
	eventually(h.t, 15*time.Second, h.Mesh, func() error {
		if _, there := h.Get(KindVPC, name); there {
			return fmt.Errorf("%s still has the VPC %s", h.cfg.Name, name)
		}
		return nil
	})
}
