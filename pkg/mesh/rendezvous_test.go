package mesh

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"testing"
)

// hashedIDs returns ids as nodes have them.
func hashedIDs(count int) []NodeID {
	var out []NodeID
	for i := range count {
		sum := sha256.Sum256([]byte(fmt.Sprint(i)))
		out = append(out, NodeID(hex.EncodeToString(sum[:idDigits/2])))
	}
	return out
}

// All find the same witnesses; nodes are witnesses of about equally many others;
// and of who comes or goes few notice.
func TestWitnessesAreEvenAndSteady(t *testing.T) {
	ids := hashedIDs(300)
	of, before := map[NodeID]int{}, map[NodeID][]NodeID{}
	for _, id := range ids {
		w := witnessesOf(id, ids, witnessCount)
		if len(w) != witnessCount || slices.Contains(w, id) {
			t.Fatalf("the witnesses of %s are %v", id, w)
		}
		back := slices.Clone(ids)
		slices.Reverse(back)
		if !slices.Equal(w, witnessesOf(id, back, witnessCount)) {
			t.Fatal("the order in which nodes are known counts")
		}
		for _, other := range w {
			of[other]++
		}
		before[id] = w
	}
	for _, id := range ids {
		if of[id] > 4*witnessCount {
			t.Errorf("%s is the witness of %d", id, of[id])
		}
	}
	gone, changed := ids[17], 0
	fewer := slices.DeleteFunc(slices.Clone(ids), func(id NodeID) bool { return id == gone })
	for _, id := range fewer {
		w := witnessesOf(id, fewer, witnessCount)
		if want := slices.DeleteFunc(slices.Clone(before[id]), func(id NodeID) bool { return id == gone }); !slices.Equal(w[:len(want)], want) {
			t.Fatalf("the witnesses of %s became %v, from %v", id, w, before[id])
		}
		if w[witnessCount-1] != before[id][witnessCount-1] {
			changed++
		}
	}
	if changed != of[gone] {
		t.Errorf("%d nodes have another witness, %d had the one that is gone", changed, of[gone])
	}
	if got := witnessesOf(ids[0], ids[:3], witnessCount); len(got) != 2 {
		t.Errorf("of three nodes one has the witnesses %v", got)
	}
}
