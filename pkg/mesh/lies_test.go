package mesh

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// What is said of who is there is believed only if it is signed by a node that is
// a witness, about a beat that the other has made, and one member can make nobody
// dead, whatever it says and however often.
func TestLiesOfAMemberAreRefused(t *testing.T) {
	hosts := newMesh(t, "centre", "edge-1", "edge-2", "edge-3")
	here, liar, victim := hosts[0], hosts[1], hosts[2]
	stranger, err := newKey(t.TempDir() + "/key")
	if err != nil {
		t.Fatal(err)
	}
	start := liar.Now()
	true1 := newBeat(victim.id, moment{victim.session.vigil.start, 1}, victim.key)
	forged := newBeat(victim.id, moment{victim.session.vigil.start, 1 << 40}, liar.key)
	nobody := NodeID(strings.Repeat("ab", idDigits/2))
	say := func(what string, s *silence, reason string) {
		t.Helper()
		before := here.Refusals()[reason]
		b, err := encodeSilence(s)
		if err != nil {
			t.Fatal(err)
		}
		here.session.vigil.receive(b)
		eventuallyPolled(t, func() error {
			if here.Refusals()[reason] == before {
				return fmt.Errorf("%s is not refused as %s: %v", what, reason, here.Refusals())
			}
			return nil
		})
		if n, _ := here.Node("edge-2"); n.State == StateDead {
			t.Errorf("%s: the node is dead", what)
		}
	}
	at := func(i uint64) moment { return moment{start, i} }
	say("another's word", newSilence(hosts[3].id, true1, time.Second, at(1), liar.key), refusedSignature)
	say("a word about a beat that was never made", newSilence(liar.id, forged, time.Second, at(2), liar.key), refusedSignature)
	say("the word of nobody", newSilence(nobody, true1, time.Second, at(3), stranger), refusedUnknownAuthor)
	say("a word about nobody", newSilence(liar.id, newBeat(nobody, at(1), stranger), time.Second, at(4), liar.key), refusedUnknownAuthor)
	// What it may say is proved wrong by the next beat.
	begin := victim.session.vigil.began
	for i := range uint64(4) {
		now := uint64(time.Since(begin).Milliseconds())
		last := newBeat(victim.id, moment{victim.session.vigil.start, now}, victim.key)
		say("a lie", newSilence(liar.id, last, time.Millisecond, at(10+i), liar.key), refusedRefuted)
	}
	here.sees("centre", "edge-1", "edge-2", "edge-3")
	// And it may not say much.
	for i := range uint64(2 * sayingsAtOnce) {
		b, err := encodeSilence(newSilence(liar.id, newBeat(victim.id, moment{victim.session.vigil.start, 1<<30 + i}, victim.key), 0, at(100+i), liar.key))
		if err != nil {
			t.Fatal(err)
		}
		here.session.vigil.receive(b)
	}
	eventuallyPolled(t, func() error {
		if here.Refusals()[refusedQuota] == 0 {
			return fmt.Errorf("nothing of very much is refused: %v", here.Refusals())
		}
		return nil
	})
	if n, _ := here.Node("edge-2"); n.State == StateDead {
		t.Error("a member alone made another dead")
	}
	if gone := here.session.members.there(here.id); !slices.Contains(gone, victim.id) {
		t.Error("its victim is no witness any more")
	}
}
