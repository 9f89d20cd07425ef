package mesh

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/memberlist"

	"edgenet.dev/edgenet/pkg/mesh/internal/wire"
)

// talkers are sessions that hear one another's packets at once, and do nothing
// else.
type talkers struct {
	w    *world
	all  map[NodeID]*session
	sent int
	// bytes is what they said.
	bytes int
}

// join makes a session of a node that knows all nodes.
func (k *talkers) join(n *node, known ...*wire.Envelope) *session {
	m := &Mesh{id: n.cred.id, log: slog.New(slog.DiscardHandler), replica: memoryReplica(k.w.ca.trustAnchor)}
	s := &session{
		m: m, log: m.log, limits: newLimits(), pace: newPace(differFirst, differLast),
		mergePace: newPace(mergePatience, mergeLast), merge: make(chan NodeID, 1), agreed: time.Now(),
		queue: &memberlist.TransmitLimitedQueue{RetransmitMult: 1, NumNodes: func() int { return 1 }},
		deliver: func(to memberlist.Address, b []byte) error {
			k.sent, k.bytes = k.sent+1, k.bytes+len(b)
			if len(b) > maxGossip {
				return fmt.Errorf("%d bytes", len(b))
			}
			if other := k.all[NodeID(to.Name)]; other != nil {
				other.receive([][]byte{b})
			}
			return nil
		},
	}
	s.members, s.syncer = newMembers(m, func() {}), newSyncer(s)
	m.session = s
	m.replica.apply(known)
	k.all[m.id] = s
	return s
}

// pair returns two sessions that know each other's nodes and records from a
// minute ago, and who makes records that they believe.
func pair(t *testing.T) (k *talkers, a, b *session, author *node) {
	t.Helper()
	w := newWorld(t)
	k = &talkers{w: w, all: map[NodeID]*session{}}
	na, nb := w.admit(w.ca, "a", RoleEdge), w.admit(w.ca, "b", RoleEdge)
	author = w.admit(w.ca, "author", RoleAuthority)
	var known []*wire.Envelope
	for _, n := range []*node{na, nb, author} {
		rec := w.record(n)
		rec.Version = versionAt(time.Now().Add(-time.Minute))
		known = append(known, w.signed(n, rec))
	}
	return k, k.join(na, known...), k.join(nb, known...), author
}

// say has one node say to another what it has.
func say(from, to *session) { from.sendDigest(to.m.id, from.m.replica.latest(), initial) }

// However changes of the last seconds are spread over two nodes, one digest
// makes them equal, and opens no connection.
func TestADigestMakesNodesEqual(t *testing.T) {
	k, a, b, author := pair(t)
	for i := range 40 {
		env := k.w.signed(author, Record{
			Kind: KindVPC, Key: fmt.Sprint("v", rand.IntN(20)), Payload: []byte("p"),
			Version: versionAt(time.Now().Add(time.Duration(i-40) * 10 * time.Millisecond)),
		})
		for _, s := range []*session{a, b} {
			if rand.IntN(2) == 0 {
				s.m.replica.apply([]*wire.Envelope{env})
			}
		}
	}
	say(a, b)
	if !slices.Equal(a.m.replica.table.digest(), b.m.replica.table.digest()) {
		t.Error("they differ")
	}
	if len(a.syncer.pending)+len(b.syncer.pending) > 0 {
		t.Error("a comparison of everything is asked for")
	}
	sent := k.sent
	say(a, b)
	say(b, a)
	if k.sent != sent+2 {
		t.Errorf("%d packets between nodes that are equal, want 2", k.sent-sent)
	}
}

// A record that does not fit into a packet is fetched from who has it.
func TestADigestTellsOfBigRecords(t *testing.T) {
	k, a, b, author := pair(t)
	k.w.now = time.Now()
	a.m.replica.apply([]*wire.Envelope{k.w.signed(author, Record{Kind: KindVPC, Key: "big", Payload: make([]byte, 2*maxGossip)})})
	say(b, a)
	task := b.syncer.pending[a.m.id]
	if task == nil || task.full || len(task.want) != 1 {
		t.Errorf("asked for is %+v", task)
	}
}

// What differs for longer than changes take to spread is compared as a whole,
// the more rarely the less that brings.
func TestAnOldDifferenceIsCompared(t *testing.T) {
	k, a, b, author := pair(t)
	a.m.replica.apply([]*wire.Envelope{k.w.signed(author, Record{
		Kind: KindVPC, Key: "old", Payload: []byte("p"), Version: versionAt(time.Now().Add(-2 * digestWindow)),
	})})
	say(a, b)
	if task := b.syncer.pending[a.m.id]; task == nil || !task.full {
		t.Errorf("b asks for %+v", task)
	}
	clear(b.syncer.pending)
	b.m.paced(0)
	say(a, b)
	if len(b.syncer.pending) != 0 {
		t.Error("b asks again at once")
	}
}

// Who knows changes only from a later version on is answered by what can be
// compared.
func TestADigestFromBeforeARestartIsAnswered(t *testing.T) {
	k, a, b, author := pair(t)
	put := func(s *session, key string, at Version) {
		s.m.replica.apply([]*wire.Envelope{k.w.signed(author, Record{
			Kind: KindVPC, Key: key, Payload: []byte("p"), Version: at,
		})})
	}
	start := versionAt(time.Now())
	put(b, "before", start)
	b.m.replica.table.settle(start)
	put(a, "after", start+1)
	say(a, b)
	if _, ok := b.m.Get(KindVPC, "after"); !ok {
		t.Error("what came after it is missing")
	}
	if task := a.syncer.pending[b.m.id]; task == nil || !task.full {
		t.Errorf("of what was before it is asked for %+v", task)
	}
	// An answer is never answered by another.
	sent := k.sent
	a.sendDigest(b.m.id, &view{cut: 1}, answer)
	if k.sent != sent+1 {
		t.Errorf("%d packets after an answer", k.sent-sent)
	}
}

// Whoever has the gossip key can say anything in any name: what is done for it
// is bounded, and is seen.
func TestDigestsDoNotMakeMuchWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, a, b, author := pair(t)
		var many []*wire.Envelope
		for i := range 300 {
			many = append(many, k.w.signed(author, Record{
				Kind: KindVPC, Key: fmt.Sprint("v", i), Payload: make([]byte, 500), Version: versionAt(time.Now()) + Version(i),
			}))
		}
		a.m.replica.apply(many)
		delete(k.all, b.m.id)
		asks := 0
		for i := range 20000 {
			if i%1000 == 0 {
				time.Sleep(100 * time.Millisecond)
			}
			a.compareDigest(&digest{sender: b.m.id, settled: rand.Uint64(), recent: []uint64{rand.Uint64()}, members: rand.Uint64()})
			a.answerWant(&want{sender: b.m.id, hashes: []uint64{rand.Uint64(), a.m.replica.table.recent.log[i%300].hash}})
			if len(a.syncer.pending) > 0 {
				asks++
				clear(a.syncer.pending)
				a.m.paced(0)
			}
		}
		if most := digestBurst + 2*digestRate + repairBurst/500; k.sent > 2*most {
			t.Errorf("%d packets are sent, want %d at most", k.sent, most)
		}
		if most := repairBurst + 2*repairRate + (digestBurst+2*digestRate)*100; k.bytes > most {
			t.Errorf("%d bytes are sent, want %d at most", k.bytes, most)
		}
		if asks > 3 {
			t.Errorf("%d comparisons are asked for within 2 s", asks)
		}
		if len(a.merge) > 0 {
			t.Error("members are to be exchanged within 2 s")
		}
		if n := a.m.Refusals()[refusedFlood]; n < 35000 {
			t.Errorf("%d are refused", n)
		}
	})
}

// Members are exchanged when nobody has been heard of for a while that sees the
// same, and not while somebody has.
func TestMembersThatDifferAreExchanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, a, b, _ := pair(t)
		a.members.NotifyJoin(memberNamed(string(b.m.id)))
		same := &digest{sender: b.m.id, members: a.members.sum()}
		other := &digest{sender: b.m.id, members: 1}
		for range 100 {
			time.Sleep(200 * time.Millisecond)
			a.compareMembers(other)
			a.compareMembers(same)
		}
		if len(a.merge) > 0 {
			t.Error("members are exchanged although some see the same")
		}
		begin := time.Now()
		for len(a.merge) == 0 && time.Since(begin) < time.Minute {
			time.Sleep(200 * time.Millisecond)
			a.compareMembers(other)
		}
		if took := time.Since(begin); took < mergePatience/2 || took > 2*mergePatience {
			t.Errorf("members are exchanged after %s", took)
		}
	})
}

func TestAPaceSlowsDownInVain(t *testing.T) {
	now := time.Unix(1e9, 0)
	p := newPace(time.Second, 4*time.Second)
	for _, want := range []time.Duration{0, 2, 4, 4} {
		now = now.Add(want*time.Second - 1)
		if want > 0 && p.due(now) {
			t.Errorf("due before %d s", want)
		}
		now = now.Add(1)
		p.brought(false)
		if !p.due(now) {
			t.Errorf("not due after %d s", want)
		}
	}
	p.brought(true)
	if p.due(now.Add(time.Second)) {
		t.Error("what was set is shortened")
	}
	now = now.Add(4 * time.Second)
	if !p.due(now) || p.due(now.Add(time.Second-1)) || !p.due(now.Add(time.Second)) {
		t.Error("it is not the first pace after success")
	}
}
