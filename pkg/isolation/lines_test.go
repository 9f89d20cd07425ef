package isolation

import (
	"math/rand/v2"
	"slices"
	"testing"

	"edgenet.dev/edgenet/pkg/policy"
)

// intervalsIn are those of a tree that stands in lines.
func intervalsIn(lines []edgenetLine, height int) []edgenetInterval {
	var found []edgenetInterval
	for _, leaf := range leaves(lines, height) {
		for _, i := range leaf.Intervals {
			if i.First <= i.Last {
				found = append(found, i)
			}
		}
	}
	return found
}

// randomIntervals are that many in order, with or without gaps between them.
func randomIntervals(r *rand.Rand, count int) []policy.Interval {
	bounds := make(map[uint16]bool, 2*count)
	for len(bounds) < min(2*count, 1<<16) {
		bounds[uint16(r.IntN(1<<16))] = true
	}
	ports := make([]uint16, 0, len(bounds))
	for port := range bounds {
		ports = append(ports, port)
	}
	slices.Sort(ports)
	var intervals []policy.Interval
	for len(intervals) < count && len(ports) > 0 {
		i := policy.Interval{First: ports[0], Last: ports[0], Rule: uint32(r.IntN(5)), Action: policy.Action(r.IntN(2))}
		ports = ports[1:]
		if len(ports) >= count-len(intervals) && r.IntN(2) == 0 {
			i.Last = ports[0]
			ports = ports[1:]
		}
		intervals = append(intervals, i)
	}
	return intervals
}

// The program finds in a tree of lines what a look at each interval finds,
// however many there are.
func TestTheProgramFindsTheIntervalAroundAPort(t *testing.T) {
	b := newBench(t)
	b.alone()
	b.close()
	b.cfg.MaxVerdicts = 1 << 16
	b.open()
	refs := []policy.RuleRef{{}, {Group: "a", ID: "1"}, {Group: "a", ID: "2"}, {Group: "b", ID: "1"}, {Group: "b", ID: "2"}}
	r := rand.New(rand.NewPCG(1, 1))
	for _, count := range []int{1, 7, 8, 9, 8 * verdictChildren, 8*verdictChildren + 1, 1000, 8*verdictChildren*lineChildren + 1, 1 << 15, 1 << 16} {
		own := randomIntervals(r, count)
		if len(own) != count {
			t.Fatalf("%d intervals, want %d", len(own), count)
		}
		table := restsTable(own)
		table.Rules = refs
		b.ruledBy(table)
		row := b.dp.tables.verdicts.rows.have[rests][rowKey(rests, policy.Match{Identity: someone, Protocol: 6})]
		span := row[b.dp.tables.active()]
		if got := len(intervalsIn(b.dp.tables.verdicts.store.in(extentOf(span)), int(span.Height))); got != count {
			t.Errorf("%d intervals stand in %d lines, want %d", got, span.Lines, count)
		}
		ports := []uint16{0, 1, 1<<16 - 1}
		for range 200 {
			i := own[r.IntN(count)]
			ports = append(ports, i.First-1, i.First, i.Last, i.Last+1, uint16(r.IntN(1<<16)))
		}
		for _, port := range ports {
			var want policy.Interval
			allowed := false
			for _, i := range own {
				if i.First <= port && port <= i.Last {
					want, allowed = i, i.Action == policy.Allow
				}
			}
			side := b.trace(Probe{
				VNI: testVNI, Source: farAddr, Destination: webAddr, Protocol: 6, SourcePort: 40000, DestinationPort: port, Node: nodeB,
			}).Ingress
			if side == nil || side.Allowed != allowed {
				t.Fatalf("%d intervals: port %d is judged %+v, want %+v", count, port, side, want)
			}
			if rule, ok := b.dp.RuleOf(side.Rule); ok != (want.Rule != 0) || rule.ID != refs[want.Rule].ID || rule.Group != refs[want.Rule].Group {
				t.Fatalf("%d intervals: rule %+v decides about port %d, want %+v", count, rule, port, refs[want.Rule])
			}
		}
	}
}
