package mesh

import (
	"fmt"
	"testing"
	"time"
)

// What a member says in memberlist's own messages of another, that it is dead, in an
// incarnation that the other cannot refute, or has left, makes it dead for nobody: it
// is asked, and answers.
func TestForgedDeathsAreNotBelieved(t *testing.T) {
	hosts := newMesh(t, "centre", "edge-1", "edge-2", "edge-3")
	victim := hosts[2]
	// The first can be refuted by memberlist itself, maybe before the node has answered.
	for i, name := range []string{"a node has left", "a node is dead for good"} {
		lasts := i == 1
		l := &liar{Mesh: hosts[1].Mesh, s: hosts[1].session, cfg: liarConfig{Underlay: hosts[1].cfg.Links[0].Addr}}
		if err := gossipLies[name](l, &liarOrder{Victim: "edge-2"}); err != nil {
			t.Fatal(err)
		}
		for _, h := range []*host{hosts[0], hosts[3]} {
			eventuallyPolled(t, func() error {
				if n, _ := h.Node("edge-2"); n.State == StateDead {
					t.Fatalf("%s: %s thinks that the node is dead", name, h.cfg.Name)
				}
				if lasts && !h.session.members.hasProof(victim.id) {
					return fmt.Errorf("%s: for %s the node did not have to prove that it is there", name, h.cfg.Name)
				}
				return nil
			})
			h.sees("centre", "edge-1", "edge-2", "edge-3")
		}
	}
	// And who is dead proves nothing.
	victim.stop()
	for _, h := range []*host{hosts[0], hosts[3]} {
		eventually(t, proofLife+denialGrace+5*time.Second, h.Mesh, func() error {
			if n, _ := h.Node("edge-2"); n.State != StateDead {
				return fmt.Errorf("%s thinks that the node that was stopped is %s", h.cfg.Name, n.State)
			}
			return nil
		})
	}
}

// hasProof tells whether a node is there by its beats, or was taken back by memberlist
// meanwhile.
func (ms *members) hasProof(id NodeID) bool {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	d := ms.denied[id]
	return d != nil && d.isProved(time.Now())
}

// Of a node that memberlist throws out, only a beat that is later than those before it
// is a proof, each for a while, and all of them not for ever.
func TestOnlyNewBeatsProveThatADeniedNodeIsThere(t *testing.T) {
	now := time.Now()
	id, at := NodeID("x"), func(n uint64) moment { return moment{1, n} }
	ms := &members{
		alive: map[NodeID]string{id: ""}, denied: make(map[NodeID]*denial), tally: newTally(),
		known:   func(NodeID) bool { return true },
		evicted: func(id NodeID) bool { return id == "gone" },
	}
	is := func(when time.Duration, want State) {
		t.Helper()
		there, proved := ms.present(id, now.Add(when))
		got := StateDead
		if there && proved {
			got = StateAlive
		} else if there {
			got = StateSuspect
		}
		if got != want {
			t.Errorf("after %s it is %s, want %s", when, got, want)
		}
	}
	delete(ms.alive, id)
	ms.deny(id, now)
	if ms.deny("gone", now); ms.denied["gone"] != nil {
		t.Error("one that was evicted is asked whether it is there")
	}
	is(0, StateSuspect)
	is(denialGrace, StateDead)
	if !ms.prove(id, at(5), now.Add(time.Second)) {
		t.Error("the first beat is no proof")
	}
	is(time.Second, StateAlive)
	for _, old := range []uint64{4, 5} {
		ms.prove(id, at(old), now.Add(3*time.Second))
	}
	is(time.Second+proofLife, StateDead)
	if _, changed := ms.dispute(now.Add(time.Second + proofLife)); !changed || ms.roster.has(id) {
		t.Error("that its proof is too old changes nothing")
	}
	ms.prove(id, at(6), now.Add(7*time.Second))
	is(7*time.Second, StateAlive)
	if ask, _ := ms.dispute(now.Add(7 * time.Second)); len(ask) != 0 && !ms.denied[id].asked.Equal(now.Add(7*time.Second)) {
		t.Errorf("asked are %v", ask)
	}
	if ms.prove(id, at(7), now.Add(denialLife)); ms.denied[id].latest != at(6) {
		t.Error("it is proved for ever")
	}
	is(denialLife, StateDead)
	ms.dispute(now.Add(denialLife))
	if ms.isDenied(id) {
		t.Error("it is not forgotten")
	}
}
