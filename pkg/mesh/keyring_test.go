package mesh

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"edgenet.dev/edgenet/pkg/mesh/internal/wire"
)

func testKey(b byte) secret { return secret{bytes: bytes.Repeat([]byte{b}, gossipKeySize)} }

// Keys are received with at once, sent with a little later, and dropped in the end;
// memberlist's keyring is as they are at every moment.
func TestKeysGiveWay(t *testing.T) {
	start := time.Now()
	k, err := newKeyring([]*wire.HeldKey{{Key: testKey(1).bytes}})
	if err != nil {
		t.Fatal(err)
	}
	ring, err := k.ring(start)
	if err != nil {
		t.Fatal(err)
	}
	by := overlap{use: 2 * time.Second, drop: 10 * time.Second}
	steps := []struct {
		at      time.Duration
		install byte
		// sends is the key in use, receives are all.
		sends    byte
		receives []byte
		next     time.Duration
	}{
		{at: 0, install: 2, sends: 1, receives: []byte{1, 2}, next: 2 * time.Second},
		{at: 2 * time.Second, sends: 2, receives: []byte{1, 2}, next: 10 * time.Second},
		{at: 3 * time.Second, install: 3, sends: 2, receives: []byte{1, 2, 3}, next: 5 * time.Second},
		{at: 4 * time.Second, install: 4, sends: 2, receives: []byte{1, 2, 3, 4}, next: 5 * time.Second},
		{at: 5 * time.Second, sends: 3, receives: []byte{1, 2, 3, 4}, next: 6 * time.Second},
		{at: 6 * time.Second, sends: 4, receives: []byte{1, 2, 3, 4}, next: 10 * time.Second},
		{at: 10 * time.Second, sends: 4, receives: []byte{2, 3, 4}, next: 13 * time.Second},
		{at: 14 * time.Second, sends: 4, receives: []byte{4}},
	}
	for _, step := range steps {
		now := start.Add(step.at)
		if step.install != 0 && !k.install(testKey(step.install), Version(step.install), now, by) {
			t.Fatalf("key %d is no news", step.install)
		}
		k.expire(now)
		if err := k.turn(ring, now); err != nil {
			t.Fatal(err)
		}
		if got := ring.GetPrimaryKey()[0]; got != step.sends {
			t.Errorf("after %s it sends with %d, want %d", step.at, got, step.sends)
		}
		var receives []byte
		for _, key := range ring.GetKeys() {
			receives = append(receives, key[0])
		}
		if slices.Sort(receives); !slices.Equal(receives, step.receives) {
			t.Errorf("after %s it receives with %v, want %v", step.at, receives, step.receives)
		}
		var next time.Duration
		if at := k.next(now); !at.IsZero() {
			next = at.Sub(start)
		}
		if next != step.next {
			t.Errorf("after %s it looks again at %s, want %s", step.at, next, step.next)
		}
		// What is on disk, and what another node is given, is the same.
		again, err := newKeyring(k.held())
		if err != nil || !bytes.Equal(again.keys[0].secret.bytes, k.keys[0].secret.bytes) || len(again.keys) != len(k.keys) {
			t.Errorf("after %s %d keys came back, %v", step.at, len(k.keys), err)
		}
		offer := k.offer(now)
		if err := checkOffer(offer); err != nil {
			t.Errorf("after %s the offer is refused: %v", step.at, err)
		}
		if again, err := newKeyring(heldFrom(offer, now)); err != nil || again.inUse(now).version != k.inUse(now).version {
			t.Errorf("after %s another node uses another key: %v", step.at, err)
		}
	}
	if k.install(testKey(3), 3, start, by) {
		t.Error("an older key was installed")
	}
	for i := range 2 * maxGossipKeys {
		k.install(testKey(byte(i)), Version(100+i), start, by)
	}
	if len(k.keys) != maxGossipKeys {
		t.Errorf("%d keys are held", len(k.keys))
	}
}

func TestOffersThatAreRefused(t *testing.T) {
	good := &wire.OfferedKey{Key: testKey(1).bytes, Version: 1}
	for name, offer := range map[string][]*wire.OfferedKey{
		"none":           nil,
		"a short key":    {{Key: []byte{1}}},
		"too many":       slices.Repeat([]*wire.OfferedKey{good}, maxGossipKeys+1),
		"out of order":   {good, {Key: testKey(2).bytes, Version: 2}},
		"two alike":      {good, good},
		"years from now": {{Key: testKey(1).bytes, UseInMs: maxOfferMs + 1}},
	} {
		if err := checkOffer(offer); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

// A copy opens for its receiver alone, in its mesh alone, and only if it is the key
// that the record speaks of.
func TestACopyIsForOneNode(t *testing.T) {
	w := newWorld(t)
	a, b := w.admit(w.ca, "a", RoleEdge), w.admit(w.ca, "b", RoleEdge)
	key := testKey(7)
	copies, left := sealTo(key, w.ca.mesh, []*credential{a.cred, b.cred})
	if len(copies) != 2 || len(left) != 0 {
		t.Fatalf("%d copies, %d without", len(copies), len(left))
	}
	note := &wire.GossipKey{Generation: 1, Check: checkOf(key), Copies: copies}
	for _, n := range []*node{a, b} {
		got, err := n.key.openCopy(note, w.ca.mesh, n.cred.id)
		if err != nil || !bytes.Equal(got.bytes, key.bytes) {
			t.Errorf("%s: %v", n.cred.name, err)
		}
	}
	_, err := b.key.openCopy(note, w.ca.mesh, a.cred.id)
	wantText(t, err, "not sealed to it")
	_, err = a.key.openCopy(note, ID(a.cred.id), a.cred.id)
	wantText(t, err, "not sealed to it")
	_, err = w.m.key.openCopy(note, w.ca.mesh, w.m.id)
	wantText(t, err, "no copy")
	note.Check = checkOf(testKey(8))
	_, err = a.key.openCopy(note, w.ca.mesh, a.cred.id)
	wantText(t, err, "another key")
}

// As many copies as are made fit into a record.
func TestAllCopiesFit(t *testing.T) {
	note := &wire.GossipKey{Generation: 1 << 60, Check: make([]byte, 32), Eviction: true}
	for i := range maxCopies {
		id := make([]byte, idDigits/2)
		id[0], id[1], id[19] = byte(i>>8), byte(i), 1
		note.Copies = append(note.Copies, &wire.SealedKey{Node: id, Sealed: make([]byte, sealedSize)})
	}
	b, err := wire.Marshal(note)
	if err != nil || len(b) > MaxPayload {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	if _, err := decodeGossipKey(b); err != nil {
		t.Error(err)
	}
}

func FuzzGossipKey(f *testing.F) {
	_, ca := newReplica(f)
	key, err := newKey(f.TempDir() + "/key")
	if err != nil {
		f.Fatal(err)
	}
	c, err := ca.issue(key.public(), "edge", []Role{RoleEdge}, time.Now())
	if err != nil {
		f.Fatal(err)
	}
	note := &wire.GossipKey{Generation: 1, Check: checkOf(testKey(1))}
	note.Copies, _ = sealTo(testKey(1), ca.mesh, []*credential{c})
	b, err := wire.Marshal(note)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		note, err := decodeGossipKey(b)
		if err != nil {
			return
		}
		if again, err := wire.Marshal(note); err != nil || !bytes.Equal(again, b) {
			t.Errorf("%x became %x, %v", b, again, err)
		}
		if opened, err := key.openCopy(note, ca.mesh, c.id); err == nil && !bytes.Equal(checkOf(opened), note.GetCheck()) {
			t.Error("another key was opened")
		}
	})
}

func FuzzEviction(f *testing.F) {
	_, ca := newReplica(f)
	id := NodeID("0123456789abcdef0123456789abcdef01234567")
	for _, by := range []*authority{nil, ca} {
		b, err := encodeEviction(id, "edge", by)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, key := range []string{string(id), string(id) + evictionByMesh} {
			e := &entry{Record: Record{Kind: KindEviction, Key: key, Payload: b}}
			if ca.checkEviction(e) == nil {
				ca.evictions.add(e, time.Now())
			}
		}
		if note, err := decodeEviction(b); err == nil {
			if again, err := wire.Marshal(note); err != nil || !bytes.Equal(again, b) {
				t.Errorf("%x became %x, %v", b, again, err)
			}
		}
	})
}

func FuzzOffer(f *testing.F) {
	k := &keyring{keys: []gossipKey{{secret: testKey(1), version: 3}}}
	b, err := wire.Marshal(&wire.KeyResponse{Keys: k.offer(time.Now())})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		var answer wire.KeyResponse
		if wire.Unmarshal(b, &answer) != nil || checkOffer(answer.GetKeys()) != nil {
			return
		}
		if _, err := newKeyring(heldFrom(answer.GetKeys(), time.Now())); err != nil {
			t.Errorf("what was checked is refused: %v", err)
		}
	})
}
