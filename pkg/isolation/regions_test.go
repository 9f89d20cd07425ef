package isolation

import (
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"edgenet.dev/edgenet/pkg/policy"
)

// The program finds the rows that a policy has, and no others, while so many come
// and go that cells are used again and the policy outgrows its region.
func TestRowsComeAndGoInARegion(t *testing.T) {
	b := newBench(t)
	b.alone()
	b.close()
	b.cfg.MaxVerdicts = 1 << 12
	b.open()
	r := rand.New(rand.NewPCG(1, 1))
	rows := make(map[policy.Identity]uint16) // and the port that is allowed
	regions := make(map[edgenetRegion]bool)
	for step := range 150 {
		for range 1 + r.IntN(12) {
			id := policy.Identity(2 * (1 + r.IntN(400)))
			if _, ok := rows[id]; ok && r.IntN(3) > 0 {
				delete(rows, id)
			} else {
				rows[id] = uint16(1000 + r.IntN(3))
			}
		}
		if step%50 == 49 {
			clear(rows)
		}
		table := &policy.Table{Verdicts: map[policy.Match][]policy.Interval{{Identity: policy.Rest4, Protocol: 6}: {{First: 99, Last: 99}}}}
		for id, port := range rows {
			table.Verdicts[policy.Match{Identity: id, Protocol: 6}] = []policy.Interval{{First: port, Last: port}}
		}
		asked := policy.Identity(2 * (1 + r.IntN(400)))
		if all := slices.Sorted(maps.Keys(rows)); len(all) > 0 && step%2 == 0 {
			asked = all[r.IntN(len(all))]
		}
		at := Address{testVNI, farAddr}
		b.state.Addresses[at] = Location{Node: nodeB, Identity: asked}
		b.ruledBy(table)
		regions[b.dp.tables.verdicts.regions.of[rests]] = true
		if step%20 == 19 { // the process is another one
			b.adopt()
			b.refill()
		}
		own, ok := rows[asked]
		for _, port := range []uint16{99, 1000, 1001, 1002} {
			want := ok && port == own || !ok && port == 99
			side := b.trace(Probe{
				VNI: testVNI, Source: farAddr, Destination: webAddr, Protocol: 6, SourcePort: 40000, DestinationPort: port, Node: nodeB,
			}).Ingress
			if side == nil || side.Identity != asked || side.Allowed != want {
				t.Fatalf("step %d, %d rows: identity %d at port %d is judged %+v, want %v", step, len(rows), asked, port, side, want)
			}
		}
	}
	if len(regions) < 4 {
		t.Errorf("the policy has had %d regions, want more", len(regions))
	}
}

// A row that is farther from home than is looked is refused, and the policy has
// another region the next time.
func TestARowTooFarFromHomeNeedsAnotherRegion(t *testing.T) {
	b := newBench(t)
	b.close()
	b.cfg.MaxVerdicts = 1 << 10
	b.open()
	v := b.dp.tables.verdicts
	const crowded policy.ID = 0xc0
	var err error
	if v.regions.of[crowded], err = v.regions.add(crowded, 40); err != nil {
		t.Fatal(err)
	}
	// Identities of the same 32 bits are at home in the same cell.
	key := func(i int) verdictKey { return verdictKey{crowded, policy.Identity(uint64(i)<<32 | uint64(i)), 6} }
	written := 0
	for ; err == nil; written++ {
		err = v.regions.write(key(written), [2]edgenetSpan{})
	}
	if written < 40 || v.regions.fits(crowded, 0) {
		t.Errorf("%d rows of one place were written: %v", written, err)
	}
	for i := range written - 1 {
		v.regions.remove(key(i))
	}
	for _, cell := range v.regions.cells(v.regions.of[crowded]) {
		if cell.State != edgenetVerdictStateVERDICT_NONE {
			t.Fatalf("a cell of a region without rows is %+v", cell)
		}
	}
	v.regions.drop(crowded)
}
