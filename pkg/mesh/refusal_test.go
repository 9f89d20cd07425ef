package mesh

import (
	"crypto"
	"errors"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"edgenet.dev/edgenet/pkg/mesh/internal/wire"
)

// node is a node of a test without network: what is needed to sign.
type node struct {
	key  privateKey
	cred *credential
}

// world is a mesh of a test without network: an authority, and one replica that
// is told things.
type world struct {
	t   *testing.T
	ca  *authority
	m   *Mesh
	now time.Time
}

// newWorld opens a mesh that does not run.
func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, now: time.Now()}
	m, err := Open(Config{
		StateDir: t.TempDir(), Name: "here", Links: []Link{{Addr: loopback()}},
		Now: func() time.Time { return w.now },
		Validate: func(r Record) error {
			if string(r.Payload) == "bad" {
				return errors.New("bad payload")
			}
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := m.Init(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.m, w.ca = m, m.current().authority
	return w
}

// admit makes a node with a certificate of an authority.
func (w *world) admit(ca *authority, name string, roles ...Role) *node {
	w.t.Helper()
	key, err := newKey(w.t.TempDir() + "/key")
	if err != nil {
		w.t.Fatal(err)
	}
	c, err := ca.issue(key.public(), name, roles, w.now)
	if err != nil {
		w.t.Fatal(err)
	}
	return &node{key: key, cred: c}
}

// record makes the record of a node.
func (w *world) record(n *node) Record {
	w.t.Helper()
	info := &nodeInfo{name: n.cred.name, links: []Link{{Addr: loopback()}}, gossipPort: 1, peerPort: 2}
	b, err := info.encode()
	if err != nil {
		w.t.Fatal(err)
	}
	return Record{Kind: KindNode, Key: string(n.cred.id), Version: versionAt(w.now), Payload: b}
}

// signed signs a record by a node.
func (w *world) signed(n *node, r Record) *wire.Envelope {
	w.t.Helper()
	if r.Node == "" {
		r.Node = n.cred.id
	}
	if r.Version == 0 {
		r.Version = versionAt(w.now)
	}
	body := &wire.Body{
		Kind: string(r.Kind), Key: r.Key, Version: uint64(r.Version), Node: r.Node.bytes(),
		Deleted: r.Deleted, Payload: r.Payload,
	}
	if r.Kind == KindNode {
		body.Certificate = n.cred.der
	}
	b, err := wire.Marshal(body)
	if err != nil {
		w.t.Fatal(err)
	}
	return n.sign(b)
}

// sign signs bytes as if they were a record's.
func (n *node) sign(body []byte) *wire.Envelope {
	key := n.key.key
	signature, _ := key.Sign(nil, append([]byte(recordDomain), body...), noHash{})
	return &wire.Envelope{Body: body, Signature: signature}
}

// told tells the replica something and returns how many news it was, and the
// reasons that were counted for it.
func (w *world) told(envs ...*wire.Envelope) (int, []string) {
	w.t.Helper()
	before := w.m.Refusals()
	news, _ := w.m.replica.apply(envs)
	var why []string
	for reason, n := range w.m.Refusals() {
		if n > before[reason] {
			why = append(why, reason)
		}
	}
	return len(news), why
}

func TestRecordsThatAreRefused(t *testing.T) {
	w := newWorld(t)
	edge := w.admit(w.ca, "edge", RoleEdge)
	if n, why := w.told(w.signed(edge, w.record(edge))); n != 1 {
		t.Fatalf("a node was refused: %v", why)
	}
	endpoint := Record{Kind: KindEndpoint, Key: endpointKey(edge.cred.id, "e"), Payload: []byte("p")}
	for name, c := range w.refused(edge, endpoint) {
		t.Run(name, func(t *testing.T) {
			if n, why := w.told(c.env); n != 0 || !slices.Equal(why, []string{c.want}) {
				t.Errorf("got %d news, refusals %v, want %s", n, why, c.want)
			}
		})
	}
	if n, why := w.told(w.signed(edge, endpoint)); n != 1 {
		t.Errorf("the good one was refused: %v", why)
	}
	w.now = w.now.Add(2 * DefaultCertificateLife)
	endpoint.Key += "2"
	if n, why := w.told(w.signed(edge, endpoint)); n != 0 || !slices.Equal(why, []string{refusedCertificate}) {
		t.Errorf("a node whose certificate has expired: %d news, %v", n, why)
	}
}

// refusedCase is a record that is not to be believed, and why not.
type refusedCase struct {
	env  *wire.Envelope
	want string
}

// refused makes records that are all but the good one of a node.
func (w *world) refused(edge *node, endpoint Record) map[string]refusedCase {
	t := w.t
	t.Helper()
	other := w.admit(w.ca, "other", RoleEdge)
	foreignCA, err := newAuthority(t.TempDir(), DefaultCertificateLife, w.now)
	if err != nil {
		t.Fatal(err)
	}
	foreign := w.admit(foreignCA, "foreign", RoleAuthority)
	stranger := w.admit(w.ca, "stranger", RoleEdge)
	if n, why := w.told(w.signed(other, w.record(other))); n != 1 {
		t.Fatalf("a node was refused: %v", why)
	}
	with := func(change func(*Record)) Record {
		r := endpoint
		change(&r)
		return r
	}
	forged := w.signed(edge, endpoint)
	forged.Signature[3] ^= 1
	unknownField := w.signed(edge, endpoint).GetBody()
	unknownField = protowire.AppendTag(unknownField, 99, protowire.VarintType)
	unknownField = protowire.AppendVarint(unknownField, 1)
	misnamed := w.record(stranger)
	misnamed.Payload = w.record(edge).Payload
	hijack := w.signed(stranger, Record{
		Kind: KindNode, Key: string(edge.cred.id), Node: edge.cred.id,
		Version: versionAt(w.now.Add(time.Second)), Payload: w.record(edge).Payload,
	})

	return map[string]refusedCase{
		"a forged signature":           {forged, refusedSignature},
		"signed by another's key":      {w.signed(other, with(func(r *Record) { r.Node = edge.cred.id })), refusedSignature},
		"another's endpoint":           {w.signed(other, endpoint), refusedAuthor},
		"a VPC by an edge":             {w.signed(edge, Record{Kind: KindVPC, Key: "v"}), refusedAuthor},
		"policy tests by an edge":      {w.signed(edge, Record{Kind: KindTests, Key: "7"}), refusedAuthor},
		"a shadow by an edge":          {w.signed(edge, Record{Kind: KindShadow, Key: "7"}), refusedAuthor},
		"a shadow of no VPC":           {w.signed(edge, Record{Kind: KindShadow, Key: "07"}), refusedKey},
		"a tunnel policy by an edge":   {w.signed(edge, Record{Kind: KindTunnels, Key: PolicyKey}), refusedAuthor},
		"a grant by an edge":           {w.signed(edge, Record{Kind: KindGrant, Key: endpoint.Key, Payload: []byte("p")}), refusedAuthor},
		"a grant's removal by an edge": {w.signed(edge, Record{Kind: KindGrant, Key: endpoint.Key, Deleted: true}), refusedAuthor},
		"a grant of no endpoint":       {w.signed(edge, Record{Kind: KindGrant, Key: "7/web"}), refusedKey},
		"settings by an edge":          {w.signed(edge, Record{Kind: KindSettings, Key: SettingsKey}), refusedAuthor},
		"other settings":               {w.signed(edge, Record{Kind: KindSettings, Key: "settings"}), refusedKey},
		"another tunnel policy":        {w.signed(edge, Record{Kind: KindTunnels, Key: "policies"}), refusedKey},
		"a group's removal by an edge": {w.signed(edge, Record{Kind: KindGroup, Key: "7/g", Deleted: true}), refusedAuthor},
		"of a foreign authority":       {w.signed(foreign, w.record(foreign)), refusedCertificate},
		"with another's certificate":   {hijack, refusedCertificate},
		"by an unknown author":         {w.signed(stranger, Record{Kind: KindEndpoint, Key: endpointKey(stranger.cred.id, "e")}), refusedUnknownAuthor},
		"of the future":                {w.signed(edge, with(func(r *Record) { r.Version = versionAt(w.now.Add(11 * time.Minute)) })), refusedFuture},
		"too big":                      {w.signed(edge, with(func(r *Record) { r.Payload = make([]byte, MaxPayload+1) })), refusedOversize},
		"far too big":                  {edge.sign(make([]byte, maxEnvelope+1)), refusedOversize},
		"with a bad payload":           {w.signed(edge, with(func(r *Record) { r.Payload = []byte("bad") })), refusedPayload},
		"with another node's name":     {w.signed(stranger, misnamed), refusedPayload},
		"an unknown field":             {edge.sign(unknownField), refusedMalformed},
		"trailing bytes":               {edge.sign(append(w.signed(edge, endpoint).GetBody(), 0)), refusedMalformed},
		"a short signature":            {&wire.Envelope{Body: forged.GetBody(), Signature: []byte{1}}, refusedMalformed},
		"a tombstone with a payload":   {w.signed(edge, with(func(r *Record) { r.Deleted = true })), refusedMalformed},
		"an unknown kind":              {w.signed(edge, with(func(r *Record) { r.Kind = "x" })), refusedKind},
		"a bad key":                    {w.signed(edge, with(func(r *Record) { r.Key += "/x" })), refusedKey},
		"a long key":                   {w.signed(edge, with(func(r *Record) { r.Key += string(make([]byte, MaxKey)) })), refusedKey},
	}
}

// An older state is no news, and no fault either.
func TestReplayChangesNothing(t *testing.T) {
	w := newWorld(t)
	edge := w.admit(w.ca, "edge", RoleEdge)
	key := endpointKey(edge.cred.id, "e")
	first := w.signed(edge, Record{Kind: KindEndpoint, Key: key, Payload: []byte("1")})
	w.now = w.now.Add(time.Second)
	second := w.signed(edge, Record{Kind: KindEndpoint, Key: key, Payload: []byte("2")})
	if n, why := w.told(w.signed(edge, w.record(edge)), first, second); n != 3 {
		t.Fatalf("%d news, refusals %v", n, why)
	}
	for _, env := range []*wire.Envelope{first, second} {
		if n, why := w.told(env); n != 0 || len(why) != 0 {
			t.Errorf("a replay gave %d news, refusals %v", n, why)
		}
	}
	if r, _ := w.m.Get(KindEndpoint, key); string(r.Payload) != "2" {
		t.Errorf("the payload is %q", r.Payload)
	}
}

// A record that comes before its author's node record is asked for when that
// comes.
func TestStrangersAreRemembered(t *testing.T) {
	w := newWorld(t)
	edge := w.admit(w.ca, "edge", RoleEdge)
	early := w.signed(edge, Record{Kind: KindEndpoint, Key: endpointKey(edge.cred.id, "e")})
	if _, why := w.told(early); !slices.Equal(why, []string{refusedUnknownAuthor}) {
		t.Fatalf("refusals %v", why)
	}
	news, _ := w.m.replica.apply([]*wire.Envelope{w.signed(edge, w.record(edge))})
	if got := w.m.replica.strangers.introduced(news); !slices.Equal(got, []NodeID{edge.cred.id}) {
		t.Errorf("introduced are %v", got)
	}
	if got := w.m.replica.strangers.introduced(news); len(got) != 0 {
		t.Errorf("introduced again are %v", got)
	}
	if n, why := w.told(early); n != 1 {
		t.Errorf("refused again: %v", why)
	}
}

// Of two states with one version all nodes choose the same, in whatever order
// they hear of them.
func TestEqualVersionsAreDecided(t *testing.T) {
	w := newWorld(t)
	a, b := w.admit(w.ca, "a", RoleAuthority), w.admit(w.ca, "b", RoleAuthority)
	w.told(w.signed(a, w.record(a)), w.signed(b, w.record(b)))
	x := w.signed(a, Record{Kind: KindVPC, Key: "x", Payload: []byte("a")})
	y := w.signed(b, Record{Kind: KindVPC, Key: "x", Payload: []byte("b")})
	w.told(x, y)
	first, _ := w.m.Get(KindVPC, "x")
	w.m.replica.table.remove(w.m.replica.table.get(ref{KindVPC, "x"}))
	w.told(y, x)
	if again, _ := w.m.Get(KindVPC, "x"); string(again.Payload) != string(first.Payload) {
		t.Errorf("first %q won, then %q", first.Payload, again.Payload)
	}
}

// Tombstones go after a day; a node's own stays while something of it is there.
func TestTombstonesAreCollected(t *testing.T) {
	w := newWorld(t)
	auth := w.admit(w.ca, "auth", RoleAuthority)
	tomb := w.record(auth)
	tomb.Deleted, tomb.Payload, tomb.Version = true, nil, tomb.Version+1
	vpc := w.signed(auth, Record{Kind: KindVPC, Key: "v", Payload: []byte("x")})
	gone := w.signed(auth, Record{Kind: KindVPC, Key: "gone", Deleted: true})
	if n, why := w.told(w.signed(auth, w.record(auth)), vpc, gone, w.signed(auth, tomb)); n != 4 {
		t.Fatalf("%d news, refusals %v", n, why)
	}
	if n, _ := w.m.Node("auth"); n.State != StateLeft {
		t.Errorf("its state is %s", n.State)
	}
	digest := w.m.replica.table.digest()
	if n, err := w.m.replica.collect(); n != 0 || err != nil {
		t.Errorf("%d collected at once, %v", n, err)
	}
	w.now = w.now.Add(tombstoneLife + time.Minute)
	if n, err := w.m.replica.collect(); n != 1 || err != nil {
		t.Errorf("%d collected after a day, %v, want 1", n, err)
	}
	if slices.Equal(digest, w.m.replica.table.digest()) {
		t.Error("the digest does not show it")
	}
	if n, why := w.told(gone); n != 0 || len(why) != 0 {
		t.Errorf("an old tombstone came back: %d, %v", n, why)
	}
	if _, err := w.m.Put(t.Context(), KindVPC, "v", []byte("taken over")); err != nil {
		t.Fatal(err)
	}
	if n, err := w.m.replica.collect(); n != 1 || err != nil {
		t.Errorf("%d collected, %v, want the node", n, err)
	}
	if _, ok := w.m.Node("auth"); ok {
		t.Error("the node is still there")
	}
}

// What a node may not sign it cannot put.
func TestPutChecksWhoMay(t *testing.T) {
	w := newWorld(t)
	own := w.m.Self().ID
	other := w.admit(w.ca, "other", RoleEdge)
	put := func(kind Kind, key string, payload string) error {
		_, err := w.m.Put(t.Context(), kind, key, []byte(payload))
		return err
	}
	wantText(t, put(KindEndpoint, endpointKey(other.cred.id, "e"), ""), "belongs to node")
	wantText(t, put(KindNode, string(own), ""), "by the mesh itself")
	wantText(t, put(KindVPC, "v", "bad"), "bad payload")
	wantText(t, put(KindGroup, "g", ""), "not the key")
	wantText(t, put("x", "g", ""), "not the key")
	if err := w.m.Delete(t.Context(), KindVPC, "absent"); err != nil {
		t.Error(err)
	}
	in := *w.m.current()
	self := *in.self
	self.roles, in.self = []Role{RoleEdge}, &self
	w.m.member = &in
	wantError(t, put(KindVPC, "v", ""), ErrNotAuthority)
	wantError(t, put(KindGroup, "7/g", ""), ErrNotAuthority)
}

// noHash makes Ed25519 sign the message itself.
type noHash struct{}

func (noHash) HashFunc() crypto.Hash { return 0 }
