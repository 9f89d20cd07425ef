package isolation

import (
	"fmt"
	"slices"
	"unsafe"

	"edgenet.dev/edgenet/pkg/policy"
)

// ruleDenies marks the rule of an interval that denies: RULE_DENIES.
const ruleDenies = 1 << 31

// verdicts has the policies' tables in the kernel: (policy, identity, protocol)
// to a span of port intervals. Spans of equal content are shared.
type verdicts struct {
	rows  slotted[policy.ID, edgenetVerdictKey, edgenetSpan, edgenetVerdict]
	store *intervals
	// tables are what the rows were last staged from, by VPC, with the numbers of
	// their rules.
	tables map[uint32]map[policy.ID]numbered
	buffer []edgenetInterval
	// added are the spans that were made to be staged.
	added []edgenetSpan
}

// numbered is a table together with the host's numbers of its rules.
type numbered struct {
	table   *policy.Table
	numbers []uint32
}

func openVerdicts(kernel *edgenetMaps) (*verdicts, error) {
	v := &verdicts{tables: make(map[uint32]map[policy.ID]numbered)}
	v.rows = slotted[policy.ID, edgenetVerdictKey, edgenetSpan, edgenetVerdict]{
		name: edgenetMapVerdicts, kernel: kernel.Verdicts, shared: true,
		group: func(k edgenetVerdictKey) policy.ID { return policy.ID(k.Policy) },
		encode: func(k edgenetVerdictKey, s [2]edgenetSpan) edgenetVerdict {
			return edgenetVerdict{Key: k, Spans: s}
		},
		decode: func(v *edgenetVerdict) [2]edgenetSpan { return v.Spans },
	}
	if err := v.rows.open(); err != nil {
		return nil, err
	}
	used := make(map[edgenetSpan]int)
	for _, rows := range v.rows.have {
		for _, spans := range rows {
			for _, span := range spans {
				if span.Count > 0 {
					used[span]++
				}
			}
		}
	}
	var err error
	if v.store, err = openIntervals(kernel.Intervals, used); err != nil {
		return nil, err
	}
	v.rows.used = v.spansUsed
	return v, nil
}

// spansUsed frees the spans that left a row. They were in a slot that no packet
// asks: nothing else is ever written.
func (v *verdicts) spansUsed(_ edgenetVerdictKey, old, now [2]edgenetSpan) {
	for slot := range now {
		if now[slot].Count > 0 {
			v.store.users[now[slot]]++
		}
	}
	for slot := range old {
		v.store.release(old[slot])
	}
}

// stage says what a policy of a VPC shall be. What its rows were staged from
// before need not be looked at again, if it is the same. It returns whether any
// row changes that pure does not let be added as if it had always been there.
func (v *verdicts) stage(vni uint32, id policy.ID, next numbered, active int, pure func(edgenetVerdictKey) bool) (flip bool, err error) {
	before, known := v.tables[vni][id]
	if known && before.table == next.table {
		return false, nil
	}
	same := known && len(next.numbers) >= len(before.numbers) &&
		slices.Equal(before.numbers, next.numbers[:len(before.numbers)])
	for match, intervals := range next.table.Verdicts {
		if same && sameSlice(before.table.Verdicts[match], intervals) {
			continue
		}
		changes, err := v.stageRow(rowKey(id, match), intervals, next.numbers, active, pure)
		if err != nil {
			return flip, fmt.Errorf("write policy %016x: %w", uint64(id), err)
		}
		flip = flip || changes
	}
	for key := range v.rows.have[id] {
		if _, ok := next.table.Verdicts[policy.Match{Identity: policy.Identity(key.Identity), Protocol: key.Protocol}]; ok {
			continue
		}
		v.rows.stage(key, edgenetSpan{}, active)
		if _, staged := v.rows.staged[key]; staged {
			flip = true
		}
	}
	if v.tables[vni] == nil {
		v.tables[vni] = make(map[policy.ID]numbered)
	}
	v.tables[vni][id] = next
	return flip, nil
}

func (v *verdicts) stageRow(key edgenetVerdictKey, intervals []policy.Interval, numbers []uint32, active int, pure func(edgenetVerdictKey) bool) (flip bool, err error) {
	v.buffer = encodeIntervals(v.buffer[:0], intervals, numbers)
	span, err := v.store.add(v.buffer)
	if err != nil {
		return false, err
	}
	v.added = append(v.added, span)
	v.rows.stage(key, span, active)
	_, staged := v.rows.staged[key]
	return staged && !pure(key), nil
}

// commit writes what is staged, and says which policies are not whole.
func (v *verdicts) commit(active int, flip bool) map[policy.ID]error {
	broken := make(map[policy.ID]error)
	for key, err := range v.rows.commit(active, flip) {
		id := policy.ID(key.Policy)
		broken[id] = err
		v.doubt(id)
	}
	v.letGo()
	return broken
}

// letGo forgets what was made to be staged; rows that have it keep it.
func (v *verdicts) letGo() {
	for _, span := range v.added {
		v.store.release(span)
	}
	v.added = v.added[:0]
}

// doubt has all rows of a policy looked at when it is staged next.
func (v *verdicts) doubt(id policy.ID) {
	for _, tables := range v.tables {
		if n, ok := tables[id]; ok {
			n.table = &policy.Table{}
			tables[id] = n
		}
	}
}

// leaveRows has a policy deleted that nobody asks for any more.
func (v *verdicts) leaveRows(id policy.ID) {
	for key := range v.rows.have[id] {
		v.rows.leave(key)
	}
}

// abandon forgets what was staged and not committed.
func (v *verdicts) abandon() {
	clear(v.rows.staged)
	for _, tables := range v.tables {
		for id := range tables {
			v.doubt(id)
		}
	}
	v.letGo()
}

func (v *verdicts) close() error {
	if v.store == nil {
		return nil
	}
	return v.store.close()
}

func rowKey(id policy.ID, m policy.Match) edgenetVerdictKey {
	return edgenetVerdictKey{Policy: uint64(id), Identity: uint64(m.Identity), Protocol: m.Protocol}
}

// sameSlice says whether two slices are one.
func sameSlice[T any](a, b []T) bool {
	return len(a) == len(b) && unsafe.SliceData(a) == unsafe.SliceData(b)
}

// encodeIntervals appends intervals as they stand in the kernel.
func encodeIntervals(to []edgenetInterval, intervals []policy.Interval, numbers []uint32) []edgenetInterval {
	for _, i := range intervals {
		rule := uint32(0)
		if int(i.Rule) < len(numbers) {
			rule = numbers[i.Rule]
		}
		if i.Action == policy.Deny {
			rule |= ruleDenies
		}
		to = append(to, edgenetInterval{First: i.First, Last: i.Last, Rule: rule})
	}
	return to
}
