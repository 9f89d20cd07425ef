package mesh

import (
	"errors"
	"slices"
	"testing"
	"time"

	"go.etcd.io/bbolt"
)

// A node that has been dead for long is forgotten with its endpoints, and does not
// come back from others who still have it, until there is proof that it lives. An
// authority that has signed more than that stays.
func TestLongDeadNodesAreForgotten(t *testing.T) {
	w := newWorld(t)
	edge, auth := w.admit(w.ca, "edge", RoleEdge), w.admit(w.ca, "auth", RoleAuthority)
	old := w.signed(edge, w.record(edge))
	web := w.signed(edge, Record{Kind: KindEndpoint, Key: endpointKey(edge.cred.id, "web"), Payload: []byte("x")})
	vpc := w.signed(auth, Record{Kind: KindVPC, Key: "v", Payload: []byte("x")})
	if n, why := w.told(old, web, w.signed(auth, w.record(auth)), vpc); n != 4 {
		t.Fatalf("%d news, refusals %v", n, why)
	}
	others := func(id NodeID) bool { return id != w.m.id }
	forget := func(want int) {
		t.Helper()
		if n, err := w.m.replica.lapse(others); n != want || err != nil {
			t.Errorf("%d nodes are forgotten, want %d; %v", n, want, err)
		}
	}
	w.now = w.now.Add(lapseAfter - time.Minute)
	forget(0)
	w.now = w.now.Add(time.Hour)
	if n, err := w.m.replica.lapse(func(NodeID) bool { return false }); n != 0 || err != nil {
		t.Errorf("%d nodes are forgotten that are alive, %v", n, err)
	}
	forget(1)
	if _, ok := w.m.Node("edge"); ok || len(w.m.List(KindEndpoint)) != 0 {
		t.Error("something of the node is left")
	}
	if _, ok := w.m.Node("auth"); !ok || len(w.m.List(KindVPC)) != 1 {
		t.Error("an authority is gone that others need")
	}
	_, _, stored, err := w.m.replica.db.load()
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range stored {
		if e.Node == edge.cred.id {
			t.Errorf("%s %s is still on disk", e.Kind, e.Key)
		}
	}
	if n, why := w.told(old, web); n != 0 || len(why) != 0 {
		t.Errorf("it came back: %d, %v", n, why)
	}
	again := w.record(edge)
	again.Version = versionAt(w.now)
	if n, why := w.told(w.signed(edge, again), web); n != 2 {
		t.Errorf("it lives, and is not taken: %d, %v", n, why)
	}
	// One whose clock did not let it say so is taken when it is a member.
	w.now = w.now.Add(lapseAfter + time.Hour)
	forget(1)
	newMembers(w.m, func() {}).NotifyJoin(memberNamed(string(edge.cred.id)))
	if n, why := w.told(w.signed(edge, again), web); n != 2 {
		t.Errorf("it is a member, and is not taken: %d, %v", n, why)
	}
}

// A node that was forgotten can still be evicted where it was let in: otherwise who
// has its key comes back with it.
func TestAForgottenNodeCanBeEvicted(t *testing.T) {
	w := newWorld(t)
	edge := w.admit(w.ca, "edge", RoleEdge)
	if err := w.m.replica.db.Update(func(tx *bbolt.Tx) error { return putMember(tx, edge.cred) }); err != nil {
		t.Fatal(err)
	}
	w.meet(edge)
	w.now = w.now.Add(lapseAfter + time.Hour)
	if n, err := w.m.replica.lapse(func(id NodeID) bool { return id == edge.cred.id }); n != 1 || err != nil {
		t.Fatalf("%d nodes are forgotten, %v", n, err)
	}
	if _, known := w.m.Node("edge"); known {
		t.Fatal("the node is not forgotten")
	}
	if _, _, err := w.m.Evict(t.Context(), "nobody"); !errors.Is(err, ErrUnknownNode) {
		t.Errorf("evict nobody: %v", err)
	}
	n, already, err := w.m.Evict(t.Context(), "edge")
	if err != nil || already || n.State != StateEvicted || n.ID != edge.cred.id {
		t.Fatalf("%+v, %t, %v", n, already, err)
	}
	again := w.record(edge)
	again.Version = versionAt(w.now)
	if n, why := w.told(w.signed(edge, again)); n != 0 || !slices.Contains(why, refusedEvicted) {
		t.Errorf("it came back: %d, %v", n, why)
	}
	if _, already, err := w.m.Evict(t.Context(), "edge"); err != nil || !already {
		t.Errorf("again: %t, %v", already, err)
	}
}

// A node shows once a day that it lives, by the latest time that it knows of.
func TestANodeRenewsItsRecord(t *testing.T) {
	w := newWorld(t)
	renewed := func() bool {
		t.Helper()
		before, _ := w.m.Get(KindNode, string(w.m.id))
		if err := w.m.ensureSelf(); err != nil {
			t.Fatal(err)
		}
		after, _ := w.m.Get(KindNode, string(w.m.id))
		return after.Version > before.Version
	}
	if renewed() {
		t.Error("at once")
	}
	if w.now = w.now.Add(renewAfter - time.Minute); renewed() {
		t.Error("too early")
	}
	if w.now = w.now.Add(time.Hour); !renewed() || renewed() {
		t.Error("not once after a day")
	}
	w.now = w.now.Add(-100 * 24 * time.Hour)
	w.m.replica.clock.observe(w.m.Now() + Version((renewAfter+time.Hour).Milliseconds())<<16)
	if !renewed() {
		t.Error("a node whose clock is behind does not renew its record")
	}
}
