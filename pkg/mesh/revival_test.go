package mesh

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha512"
	"fmt"
	"math/big"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"
	"go.etcd.io/bbolt"

	"edgenet.dev/edgenet/pkg/mesh/internal/wire"
)

// The tombstone of a node that all have forgotten does not come back from the
// one that has not yet, or it would go round for ever.
func TestAForgottenNodeDoesNotComeBack(t *testing.T) {
	w := newWorld(t)
	edge, auth := w.admit(w.ca, "edge", RoleEdge), w.admit(w.ca, "auth", RoleAuthority)
	tombs := map[*node]Record{}
	for _, n := range []*node{edge, auth} {
		tomb := w.record(n)
		tomb.Deleted, tomb.Payload, tomb.Version = true, nil, tomb.Version+1
		tombs[n] = tomb
		if n, why := w.told(w.signed(n, w.record(n)), w.signed(n, tomb)); n != 2 {
			t.Fatalf("%d news, refusals %v", n, why)
		}
	}
	vpc := w.signed(auth, Record{Kind: KindVPC, Key: "v", Payload: []byte("x")})
	w.now = w.now.Add(tombstoneLife + time.Minute)
	if n, err := w.m.replica.collect(); n != 2 || err != nil {
		t.Fatalf("%d collected, %v", n, err)
	}
	for n, tomb := range tombs {
		if n, why := w.told(w.signed(n, tomb)); n != 0 || len(why) != 0 {
			t.Errorf("it came back: %d, %v", n, why)
		}
	}
	// Unless there is something that only its certificate verifies.
	w.told(vpc)
	if n, why := w.told(w.signed(auth, tombs[auth]), vpc); n != 2 {
		t.Errorf("%d news, refusals %v: what it has signed is lost", n, why)
	}
	if n, _ := w.told(w.signed(edge, tombs[edge])); n != 0 {
		t.Error("another came back with it")
	}
	// A node that joins again is there again.
	again := w.record(edge)
	again.Version = versionAt(w.now)
	if n, why := w.told(w.signed(edge, again)); n != 1 {
		t.Errorf("a node that joined again: %v", why)
	}
}

// After its farewell a node signs nothing more, whoever was about to.
func TestNothingIsSignedAfterTheFarewell(t *testing.T) {
	hosts := newMesh(t, "centre", "edge")
	edge := hosts[1]
	id := edge.Self().ID
	stop := make(chan struct{})
	var writers sync.WaitGroup
	for i := range 8 {
		writers.Go(func() {
			for j := 0; ; j++ {
				select {
				case <-stop:
					return
				default:
				}
				if i == 0 {
					_ = edge.SetAnnouncement(fmt.Append(nil, j))
					continue
				}
				if _, err := edge.Put(t.Context(), KindEndpoint, endpointKey(id, fmt.Sprintf("e%d-%d", i, j%50)), nil); err != nil {
					return
				}
			}
		})
	}
	in := edge.current()
	if err := edge.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	close(stop)
	writers.Wait()
	if _, err := edge.replica.put(Record{Kind: KindEndpoint, Key: endpointKey(id, "late")}, in, edge.key); err == nil {
		t.Error("it signed for a mesh that it has left")
	}
	// The farewell was there before Leave returned; what came later is news.
	eventually(t, 10*time.Second, hosts[0].Mesh, func() error {
		if n, _ := hosts[0].Node("edge"); n.State != StateLeft {
			return fmt.Errorf("it is %s", n.State)
		}
		return nil
	})
	if live := hosts[0].List(KindEndpoint); len(live) != 0 {
		t.Errorf("%d endpoints live on", len(live))
	}
}

// A record of the mesh that was just left does not get into the next.
func TestNothingIsTakenAfterTheMeshIsForgotten(t *testing.T) {
	w := newWorld(t)
	edge := w.admit(w.ca, "edge", RoleEdge)
	r := w.m.replica
	env := w.signed(edge, w.record(edge))
	e, err := r.admit(r.trust(), env)
	if err != nil || e == nil {
		t.Fatal(e, err)
	}
	anchor := r.trust()
	r.drop()
	if r.accept(anchor, e) {
		t.Error("it was taken")
	}
}

// A node that looks for the dead, and always reaches somebody else at a dead
// one's address, slows down all the same.
func TestLookingInVainSlowsDown(t *testing.T) {
	wait := rejoinFirst
	for range 20 {
		wait = nextLook(wait, 3, 3)
	}
	if wait != rejoinLast {
		t.Errorf("it looks every %s", wait)
	}
	if wait = nextLook(wait, 3, 2); wait != rejoinFirst {
		t.Errorf("after a success it looks after %s", wait)
	}
}

// signAlike signs with the nonce of the node's signature of another message:
// who does that gives the key away, and gets signatures that begin alike.
func signAlike(n *node, other, message []byte) []byte {
	order, _ := new(big.Int).SetString("7237005577332262213973186563042994240857116359379907606001950938285454250989", 10)
	number := func(little []byte) *big.Int {
		big1 := bytes.Clone(little)
		slices.Reverse(big1)
		return new(big.Int).SetBytes(big1)
	}
	secret := sha512.Sum512(n.key.key.Seed())
	nonce := sha512.Sum512(append(bytes.Clone(secret[32:]), other...))
	first := ed25519.Sign(n.key.key, other)[:32]
	challenge := sha512.Sum512(slices.Concat(first, n.cred.key, message))
	secret[0] &= 248
	secret[31] = secret[31]&63 | 64
	sum := new(big.Int).Mul(number(challenge[:]), number(secret[:32]))
	rest := sum.Add(sum, number(nonce[:])).Mod(sum, order).FillBytes(make([]byte, 32))
	slices.Reverse(rest)
	return append(first, rest...)
}

// Replicas agree also on states of one version whose signatures begin alike.
func TestSignaturesThatBeginAlikeAreDecided(t *testing.T) {
	w := newWorld(t)
	edge := w.admit(w.ca, "edge", RoleEdge)
	a, b := memoryReplica(w.ca.trustAnchor), memoryReplica(w.ca.trustAnchor)
	node := w.signed(edge, w.record(edge))
	for i, r := range []*replica{a, b} {
		env := w.signed(edge, Record{Kind: KindEndpoint, Key: endpointKey(edge.cred.id, "e"), Payload: fmt.Append(nil, i)})
		env.Signature = signAlike(edge, []byte("x"), append([]byte(recordDomain), env.GetBody()...))
		if news, _ := r.apply([]*wire.Envelope{node, env}); len(news) != 2 {
			t.Fatalf("%d news, %v", len(news), r.refusals.snapshot())
		}
	}
	meet(t, a, b)
}

// A node that has left keeps a certificate for a year: neither its prefix nor
// its name may become a way to be another.
func TestWhoHasLeftDoesNotBecomeAnother(t *testing.T) {
	w := newWorld(t)
	old := w.admit(w.ca, "db", RoleEdge)
	tomb := w.record(old)
	tomb.Deleted, tomb.Payload, tomb.Version = true, nil, tomb.Version+1
	if err := w.m.replica.db.Update(func(tx *bbolt.Tx) error { return putMember(tx, old.cred) }); err != nil {
		t.Fatal(err)
	}
	w.told(w.signed(old, w.record(old)), w.signed(old, tomb))
	collides := func() error {
		return w.m.replica.db.View(func(tx *bbolt.Tx) error {
			return w.m.checkCollisions(tx, w.ca.trustAnchor, &admission{id: old.cred.id[:10] + "ffffffffffffffffffffffffffffff", name: "x"})
		})
	}
	wantError(t, collides(), ErrPrefixTaken)
	w.now = w.now.Add(tombstoneLife + time.Minute)
	if n, err := w.m.replica.collect(); n != 1 || err != nil {
		t.Fatalf("%d collected, %v", n, err)
	}
	wantError(t, collides(), ErrPrefixTaken)
	today := w.now
	w.now = w.now.Add(2 * DefaultCertificateLife)
	if err := collides(); err != nil {
		t.Errorf("after its certificate has expired: %v", err)
	}
	w.now = today
	renamed := &admission{id: NodeID(fmt.Sprintf("%040x", 1)), name: "db"}
	if err := w.m.replica.db.View(func(tx *bbolt.Tx) error { return w.m.checkCollisions(tx, w.ca.trustAnchor, renamed) }); err != nil {
		t.Errorf("its name is not free: %v", err)
	}
	// Another gets the name; the old one comes back with the old certificate.
	next := w.admit(w.ca, "db", RoleEdge)
	w.told(w.signed(next, w.record(next)))
	w.now = w.now.Add(time.Minute)
	back := w.record(old)
	if n, why := w.told(w.signed(old, back)); n != 1 {
		t.Fatal(why)
	}
	if n, _ := w.m.Node("db"); n.ID != next.cred.id {
		t.Error("the name leads to the one that had it before")
	}
}

func memberNamed(name string) *memberlist.Node { return &memberlist.Node{Name: name} }

// Who has the gossip key can make up members; they do not fill the memory, nor take
// most of the gossip in a mesh of many.
func TestMadeUpMembersAreBounded(t *testing.T) {
	const made = 300 // The first ids; nodes have the others.
	for _, known := range []int{1, minUnknownMembers, 100} {
		ms := newMembers(&Mesh{replica: memoryReplica(nil)}, func() {})
		ms.known = func(id NodeID) bool { return id >= NodeID(fmt.Sprintf("%040x", made)) }
		ms.evicted = func(NodeID) bool { return false }
		for i := range known {
			ms.NotifyJoin(memberNamed(fmt.Sprintf("%040x", made+i)))
		}
		accepted := 0
		for i := range made - 1 {
			n := memberNamed(fmt.Sprintf("%040x", i))
			if ms.NotifyAlive(n) == nil {
				accepted++
				ms.NotifyJoin(n)
			}
		}
		if want := max(known, minUnknownMembers); accepted != want {
			t.Errorf("%d members that are nobody are accepted beside %d nodes, want %d", accepted, known, want)
		}
		if err := ms.NotifyAlive(memberNamed(fmt.Sprintf("%040x", made+known))); err != nil {
			t.Errorf("a node: %v", err)
		}
		ms.NotifyLeave(memberNamed(fmt.Sprintf("%040x", 1)))
		if err := ms.NotifyAlive(memberNamed(fmt.Sprintf("%040x", made-1))); err != nil {
			t.Errorf("after one is gone: %v", err)
		}
	}
}
