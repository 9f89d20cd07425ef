package mesh

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// A table compared with a cut is the sum of what it would be without what came
// after the cut, and that.
func TestATableIsSplitAtAnyVersion(t *testing.T) {
	tab := newTable()
	history := map[string][]*entry{}
	for i := range 3 * maxRecent {
		e := &entry{Record: Record{
			Kind: KindVPC, Key: fmt.Sprint("v", rand.IntN(60)), Version: Version(1 + rand.IntN(20) + i),
		}, hash: rand.Uint64()}
		if tab.put(e) {
			history[e.Key] = append(history[e.Key], e)
		}
		if rand.IntN(5) == 0 {
			checkSplit(t, tab, history, Version(rand.IntN(i+25)))
		}
		if rand.IntN(40) == 0 {
			tab.settle(Version(rand.IntN(i + 1)))
		}
	}
	if len(tab.recent.log) > maxRecent {
		t.Errorf("%d changes are remembered", len(tab.recent.log))
	}
	v := tab.latest(0, 0, 7)
	if len(v.seen) > 7 || len(v.seen) == 0 {
		t.Errorf("%d changes are listed, want 7 at most", len(v.seen))
	}
	checkSplit(t, tab, history, v.cut)
}

// checkSplit compares a table's view with what follows from all that was put.
func checkSplit(t *testing.T, tab *table, history map[string][]*entry, cut Version) {
	t.Helper()
	v, ok := tab.view(cut)
	if !ok {
		if cut >= tab.recent.floor {
			t.Fatalf("no view of %d, the floor is %d", cut, tab.recent.floor)
		}
		return
	}
	var settled uint64
	var current []uint64
	for _, es := range history {
		for i := len(es) - 1; i >= 0; i-- {
			if es[i].Version <= cut {
				settled ^= es[i].hash
				break
			}
			if i == len(es)-1 {
				current = append(current, es[i].hash)
			}
		}
	}
	slices.Sort(current)
	if v.settled != settled || !slices.Equal(v.hashes(), current) {
		t.Fatalf("at %d: %x and %x, want %x and %x", cut, v.settled, v.hashes(), settled, current)
	}
}

// What is removed is not there at any cut that can still be compared.
func TestARemovedEntryIsInNoView(t *testing.T) {
	tab := newTable()
	var all []*entry
	for i := range 5 {
		e := &entry{Record: Record{Kind: KindVPC, Key: fmt.Sprint(i), Version: Version(10 + i)}, hash: rand.Uint64()}
		tab.put(e)
		all = append(all, e)
	}
	tab.remove(all[2])
	if _, ok := tab.view(11); ok {
		t.Error("a view from before what was removed")
	}
	v, ok := tab.view(12)
	if !ok || v.settled != all[0].hash^all[1].hash || len(v.current) != 2 {
		t.Errorf("a view of %+v, %v", v, ok)
	}
	if es := tab.states([]uint64{all[4].hash, all[2].hash, 1}); len(es) != 1 || es[0] != all[4] {
		t.Errorf("%d entries for hashes", len(es))
	}
}

func TestARosterIsASet(t *testing.T) {
	var r roster
	is := map[NodeID]bool{}
	id := func() NodeID { return NodeID(fmt.Sprintf("%016x%024x", 1<<60+rand.IntN(20), 0)) }
	for range 2000 {
		one := id()
		if rand.IntN(2) == 0 {
			r.add(one)
			is[one] = true
		} else {
			r.remove(one)
			delete(is, one)
		}
		var sum uint64
		for one := range is {
			sum ^= one.hash()
		}
		if len(r.ids) != len(is) || r.sum != sum {
			t.Fatalf("%d members with %x, want %d with %x", len(r.ids), r.sum, len(is), sum)
		}
		but := id()
		drawn := r.draw(but)
		if drawn == but || drawn != "" && !is[drawn] || drawn == "" && len(is) > 1 {
			t.Fatalf("drew %q without %q of %v", drawn, but, is)
		}
	}
	for range 1000 {
		for one := range is {
			if r.draw("") == one {
				delete(is, one)
			}
		}
	}
	if len(is) > 0 {
		t.Errorf("never drawn: %v", is)
	}
}
