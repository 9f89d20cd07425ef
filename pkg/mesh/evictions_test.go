package mesh

import (
	"slices"
	"strings"
	"testing"
	"time"

	"edgenet.dev/edgenet/pkg/mesh/internal/wire"
)

// eviction makes the eviction of a node by another; ca approves of it if it is
// given.
func (w *world) eviction(by, of *node, ca *authority) *wire.Envelope {
	w.t.Helper()
	key := string(of.cred.id)
	if ca != nil {
		key += evictionByMesh
	}
	payload, err := encodeEviction(of.cred.id, of.cred.name, ca)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.signed(by, Record{Kind: KindEviction, Key: key, Payload: payload})
}

// meet tells the replica of nodes.
func (w *world) meet(nodes ...*node) {
	w.t.Helper()
	for _, n := range nodes {
		if news, why := w.told(w.signed(n, w.record(n))); news != 1 {
			w.t.Fatalf("%s was refused: %v", n.cred.name, why)
		}
	}
}

func TestEvictionsThatAreRefused(t *testing.T) {
	w := newWorld(t)
	auth, edge, other := w.admit(w.ca, "auth", RoleAuthority), w.admit(w.ca, "edge", RoleEdge), w.admit(w.ca, "other", RoleEdge)
	w.meet(auth, edge, other)
	foreign, err := newAuthority(t.TempDir(), DefaultCertificateLife, w.now)
	if err != nil {
		t.Fatal(err)
	}
	id := string(other.cred.id)
	good, err := encodeEviction(other.cred.id, "other", w.ca)
	if err != nil {
		t.Fatal(err)
	}
	elsewhere, err := encodeEviction(edge.cred.id, "other", w.ca)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]refusedCase{
		"by an edge":                       {w.eviction(edge, other, nil), refusedAuthor},
		"by an edge with an approval":      {w.eviction(edge, other, w.ca), refusedAuthor},
		"approved by another mesh":         {w.eviction(auth, other, foreign), refusedPayload},
		"with the approval of another's":   {w.signed(auth, Record{Kind: KindEviction, Key: id + evictionByMesh, Payload: elsewhere}), refusedPayload},
		"without the approval it needs":    {w.signed(auth, Record{Kind: KindEviction, Key: id + evictionByMesh}), refusedPayload},
		"with an approval out of place":    {w.signed(auth, Record{Kind: KindEviction, Key: id, Payload: good}), refusedPayload},
		"taken back":                       {w.signed(auth, Record{Kind: KindEviction, Key: id, Deleted: true}), refusedMalformed},
		"of no node":                       {w.signed(auth, Record{Kind: KindEviction, Key: id[1:], Payload: good}), refusedKey},
		"rubbish":                          {w.signed(auth, Record{Kind: KindEviction, Key: id, Payload: []byte{0xff}}), refusedPayload},
		"a gossip key by an edge":          {w.signed(edge, Record{Kind: KindGossipKey, Key: GossipKeyKey}), refusedAuthor},
		"a gossip key that is none":        {w.signed(auth, Record{Kind: KindGossipKey, Key: GossipKeyKey}), refusedPayload},
		"a gossip key of another name":     {w.signed(auth, Record{Kind: KindGossipKey, Key: "x"}), refusedKey},
		"a gossip key that is taken back":  {w.signed(auth, Record{Kind: KindGossipKey, Key: GossipKeyKey, Deleted: true}), refusedMalformed},
		"a gossip key with trailing bytes": {w.signed(auth, Record{Kind: KindGossipKey, Key: GossipKeyKey, Payload: append(w.gossipKey(edge), 0)}), refusedPayload},
	} {
		if n, why := w.told(c.env); n != 0 || !slices.Equal(why, []string{c.want}) {
			t.Errorf("%s: %d news, refusals %v, want %s", name, n, why, c.want)
		}
	}
	if n, _ := w.m.Node("other"); n.State == StateEvicted {
		t.Error("it is evicted all the same")
	}
}

// gossipKey makes the payload of a key that is sealed to nodes.
func (w *world) gossipKey(to ...*node) []byte {
	w.t.Helper()
	key := secret{bytes: make([]byte, gossipKeySize)}
	var creds []*credential
	for _, n := range to {
		creds = append(creds, n.cred)
	}
	note := &wire.GossipKey{Generation: 1, Check: checkOf(key)}
	note.Copies, _ = sealTo(key, w.ca.mesh, creds)
	b, err := wire.Marshal(note)
	if err != nil {
		w.t.Fatal(err)
	}
	return b
}

// An authority cannot take another out; the mesh's key can, and then what it said
// of others does not count any more.
func TestAnAuthorityIsEvictedByTheMeshsKey(t *testing.T) {
	w := newWorld(t)
	a, b, edge := w.admit(w.ca, "a", RoleAuthority), w.admit(w.ca, "b", RoleAuthority), w.admit(w.ca, "edge", RoleEdge)
	w.meet(a, b, edge)
	endpoint := w.signed(edge, Record{Kind: KindEndpoint, Key: endpointKey(edge.cred.id, "e"), Payload: []byte("e")})
	w.told(endpoint)
	w.told(w.eviction(b, a, nil))
	w.now = w.now.Add(time.Second)
	if n, why := w.told(w.signed(a, Record{Kind: KindVPC, Key: "v", Payload: []byte("a")})); n != 1 {
		t.Fatalf("an authority was evicted by another: %v", why)
	}
	// What b says of the edge counts, until b is out.
	w.told(w.eviction(b, edge, nil), w.signed(b, Record{Kind: KindVPC, Key: "b", Payload: []byte("b")}))
	if n, _ := w.m.Node("edge"); n.State != StateEvicted {
		t.Fatalf("the edge is %q", n.State)
	}
	if n, why := w.told(endpoint); n != 0 || !slices.Equal(why, []string{refusedEvicted}) {
		t.Fatalf("%d news, refusals %v", n, why)
	}
	w.told(w.eviction(a, b, w.ca))
	if n, _ := w.m.Node("b"); n.State != StateEvicted {
		t.Errorf("b is %q", n.State)
	}
	if n, why := w.told(w.signed(b, Record{Kind: KindVPC, Key: "v", Payload: []byte("b"), Version: versionAt(w.now.Add(time.Minute))})); n != 0 || !slices.Equal(why, []string{refusedEvicted}) {
		t.Errorf("b is still believed: %d news, refusals %v", n, why)
	}
	w.meet(edge)
	if n, why := w.told(endpoint); n != 1 {
		t.Errorf("the edge is not believed again: %v", why)
	}
	// What b signed for all is in force for a while, until another has signed it.
	if _, ok := w.m.Get(KindVPC, "b"); !ok {
		t.Error("the VPC went with its author")
	}
	w.m.replica.dropOrphans()
	if _, ok := w.m.Get(KindVPC, "b"); !ok {
		t.Error("the VPC was dropped at once")
	}
	w.now = w.now.Add(orphanLife + time.Second)
	w.m.replica.dropOrphans()
	if _, ok := w.m.Get(KindVPC, "b"); ok {
		t.Error("the VPC that nobody signed anew is still there")
	}
	if _, ok := w.m.Get(KindVPC, "v"); !ok {
		t.Error("the other authority's VPC is gone")
	}
}

// The eviction of an authority hands over what it signed for all.
func TestAnEvictedAuthoritysRecordsStay(t *testing.T) {
	w := newWorld(t)
	auth, edge := w.admit(w.ca, "auth", RoleAuthority), w.admit(w.ca, "edge", RoleEdge)
	w.meet(auth, edge)
	w.told(w.signed(auth, Record{Kind: KindVPC, Key: "v", Payload: []byte("v")}), w.eviction(auth, edge, nil))
	if _, _, err := w.m.Evict(t.Context(), "auth"); err != nil {
		t.Fatal(err)
	}
	if r, ok := w.m.Get(KindVPC, "v"); !ok || r.Node != w.m.id || string(r.Payload) != "v" {
		t.Errorf("the VPC is %+v, %t", r, ok)
	}
	if n, _ := w.m.Node("edge"); n.State != StateEvicted {
		t.Errorf("the edge is %q", n.State)
	}
	w.now = w.now.Add(orphanLife + time.Second)
	w.m.replica.dropOrphans()
	if _, ok := w.m.Get(KindVPC, "v"); !ok {
		t.Error("the VPC was dropped")
	}
	if n, why := w.told(w.signed(edge, w.record(edge))); n != 0 || !slices.Equal(why, []string{refusedEvicted}) {
		t.Errorf("%d news, refusals %v", n, why)
	}
}

// An eviction is forgotten when no certificate of that node can be valid, and not
// before.
func TestAnEvictionOutlivesTheCertificate(t *testing.T) {
	w := newWorld(t)
	edge := w.admit(w.ca, "edge", RoleEdge)
	w.meet(edge)
	if _, _, err := w.m.Evict(t.Context(), "edge"); err != nil {
		t.Fatal(err)
	}
	w.now = w.now.Add(DefaultCertificateLife - time.Minute)
	if n, err := w.m.replica.collect(); n != 0 || err != nil {
		t.Errorf("%d collected, %v", n, err)
	}
	if n, why := w.told(w.signed(edge, w.record(edge))); n != 0 || !slices.Equal(why, []string{refusedEvicted}) {
		t.Errorf("%d news, refusals %v", n, why)
	}
	w.now = w.now.Add(evictionLife)
	if n, err := w.m.replica.collect(); n != 1 || err != nil {
		t.Errorf("%d collected, %v, want the eviction", n, err)
	}
	if n, why := w.told(w.signed(edge, w.record(edge))); n != 0 || !slices.Equal(why, []string{refusedCertificate}) {
		t.Errorf("%d news, refusals %v", n, why)
	}
}

// Who has no copy of the newest gossip key says so after a while, not at once, as others
// are asked for it; and not any more when it has it.
func TestALackingGossipKeyIsAProblem(t *testing.T) {
	w := newWorld(t)
	auth := w.admit(w.ca, "auth", RoleAuthority)
	w.told(w.signed(auth, w.record(auth)))
	e := w.signed(auth, Record{Kind: KindGossipKey, Key: GossipKeyKey, Payload: w.gossipKey(auth)})
	if n, why := w.told(e); n != 1 {
		t.Fatal(why)
	}
	if err := w.m.GossipKeyProblem(); err != nil {
		t.Errorf("at once: %v", err)
	}
	w.now = w.now.Add(keyPatience)
	if err := w.m.GossipKeyProblem(); err == nil || !strings.Contains(err.Error(), "15s ago") {
		t.Errorf("after %s: %v", keyPatience, err)
	}
	key := secret{bytes: make([]byte, gossipKeySize)}
	w.m.current().keys.install(key, w.m.replica.table.get(ref{KindGossipKey, GossipKeyKey}).Version, w.now, plannedOverlap)
	if err := w.m.GossipKeyProblem(); err != nil {
		t.Errorf("with the key: %v", err)
	}
}
