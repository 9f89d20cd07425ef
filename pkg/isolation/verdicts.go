package isolation

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"unsafe"

	"edgenet.dev/edgenet/pkg/policy"
)

// ruleDenies marks the rule of an interval that denies: RULE_DENIES.
const ruleDenies = 1 << 31

// verdicts has the policies' tables in the kernel: a policy has a region of
// cells, in which (identity, protocol) has a span of port intervals. Spans of
// equal content are shared.
type verdicts struct {
	policies slotted[policy.ID, policy.ID, uint32, edgenetPolicy]
	rows     slotted[policy.ID, verdictKey, edgenetSpan, edgenetVerdict]
	regions  *regions
	store    *intervals
	// tables are what the rows were last staged from, by VPC, with the numbers of
	// their rules.
	tables map[uint32]map[policy.ID]numbered
	buffer []edgenetLine
	// added are the spans that were made to be staged, and moving the regions.
	added  []edgenetSpan
	moving map[policy.ID]edgenetRegion
}

// numbered is a table together with the host's numbers of its rules.
type numbered struct {
	table   *policy.Table
	numbers []uint32
}

func openVerdicts(kernel *edgenetMaps) (*verdicts, error) {
	v := &verdicts{tables: make(map[uint32]map[policy.ID]numbered), moving: make(map[policy.ID]edgenetRegion)}
	v.policies = slotted[policy.ID, policy.ID, uint32, edgenetPolicy]{
		name: edgenetMapPolicies, kernel: kernel.Policies, shared: true,
		group:  func(id policy.ID) policy.ID { return id },
		encode: func(id policy.ID, heads [2]uint32) edgenetPolicy { return edgenetPolicy{Id: uint64(id), Heads: heads} },
		decode: func(p *edgenetPolicy) [2]uint32 { return p.Heads },
	}
	if err := v.policies.open(); err != nil {
		return nil, err
	}
	heads := make(map[policy.ID]uint32)
	for id, of := range v.policies.have {
		// A new one may have it in one slot only.
		if head := max(of[id][0], of[id][1]); head != 0 {
			heads[id] = head
		}
	}
	var err error
	if v.regions, err = openRegions(kernel.Verdicts, heads); err != nil {
		return nil, err
	}
	v.policies.used = v.headsUsed
	if err := v.openRows(kernel); err != nil {
		return nil, errors.Join(err, v.regions.close())
	}
	return v, nil
}

func (v *verdicts) openRows(kernel *edgenetMaps) (err error) {
	v.rows = slotted[policy.ID, verdictKey, edgenetSpan, edgenetVerdict]{
		name: edgenetMapVerdicts, shared: true, memory: v.regions,
		group: func(k verdictKey) policy.ID { return k.policy },
	}
	v.rows.begin()
	used := make(map[edgenetSpan]int)
	for id := range v.regions.of {
		for key, spans := range v.regions.rows(id) {
			v.rows.note(key, spans)
			for _, span := range spans {
				if span.Lines > 0 {
					used[span]++
				}
			}
		}
	}
	if v.store, err = openIntervals(kernel.Intervals, used); err != nil {
		return err
	}
	v.regions.store = v.store
	v.rows.used = v.spansUsed
	return nil
}

// headsUsed frees what a policy had that is not there any more.
func (v *verdicts) headsUsed(id policy.ID, old, now [2]uint32) {
	var none [2]uint32
	if now == none && old != none {
		v.regions.drop(id)
	}
}

// spansUsed frees the spans that left a row. They were in a slot that no packet
// asks: nothing else is ever written.
func (v *verdicts) spansUsed(_ verdictKey, old, now [2]edgenetSpan) {
	for slot := range now {
		if now[slot].Lines > 0 {
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
func (v *verdicts) stage(vni uint32, id policy.ID, next numbered, active int, pure func(verdictKey) bool) (flip bool, err error) {
	before, known := v.tables[vni][id]
	if known && before.table == next.table {
		return false, nil
	}
	same := known && len(next.numbers) >= len(before.numbers) &&
		slices.Equal(before.numbers, next.numbers[:len(before.numbers)])
	fresh := 0
	for match, intervals := range next.table.Verdicts {
		if same && sameSlice(before.table.Verdicts[match], intervals) {
			continue
		}
		key := rowKey(id, match)
		if _, ok := v.rows.at(key); !ok {
			fresh++
		}
		changes, err := v.stageRow(key, intervals, next.numbers, active, pure)
		if err != nil {
			return flip, fmt.Errorf("write policy %016x: %w", uint64(id), err)
		}
		flip = flip || changes
	}
	for key := range v.rows.have[id] {
		if _, ok := next.table.Verdicts[policy.Match{Identity: key.identity, Protocol: key.protocol}]; ok {
			continue
		}
		v.rows.stage(key, edgenetSpan{}, active)
		if _, staged := v.rows.staged[key]; staged {
			flip = true
		}
	}
	if err := v.stagePolicy(id, fresh, active); err != nil {
		maps.DeleteFunc(v.rows.staged, func(key verdictKey, _ staged[edgenetSpan]) bool { return key.policy == id })
		return flip, fmt.Errorf("write policy %016x: %w", uint64(id), err)
	}
	if v.tables[vni] == nil {
		v.tables[vni] = make(map[policy.ID]numbered)
	}
	v.tables[vni][id] = next
	return flip, nil
}

// stagePolicy has a policy keep its region, or move to one with room for so many
// more rows.
func (v *verdicts) stagePolicy(id policy.ID, fresh, active int) error {
	rows := len(v.rows.have[id]) + fresh
	if rows > 0 && !v.regions.fits(id, fresh) {
		v.stay(id)
		region, err := v.regions.add(id, rows)
		if err != nil {
			return err
		}
		v.moving[id] = region
		if err := v.regions.addHead(id); err != nil {
			v.stay(id)
			return err
		}
	}
	v.policies.stage(id, v.regions.heads[id], active)
	return nil
}

// stay has a policy not move.
func (v *verdicts) stay(id policy.ID) {
	if region, ok := v.moving[id]; ok {
		v.regions.give(extentOfRegion(region))
		delete(v.moving, id)
	}
	if _, ok := v.policies.at(id); !ok {
		v.regions.drop(id)
	}
}

func (v *verdicts) stageRow(key verdictKey, intervals []policy.Interval, numbers []uint32, active int, pure func(verdictKey) bool) (flip bool, err error) {
	var span edgenetSpan
	if len(intervals) > 0 {
		var height int
		v.buffer, height = lay(v.buffer[:0], intervals, numbers)
		if span, err = v.store.add(v.buffer, height); err != nil {
			return false, err
		}
		v.added = append(v.added, span)
	}
	v.rows.stage(key, span, active)
	_, staged := v.rows.staged[key]
	return staged && !pure(key), nil
}

// commit writes what is staged, and says which policies are not whole.
func (v *verdicts) commit(active int, flip bool) map[policy.ID]error {
	broken := make(map[policy.ID]error)
	for id, region := range v.moving {
		if err := v.regions.move(id, region, v.rows.have[id]); err != nil {
			broken[id] = v.rows.explain("write", err)
		}
	}
	for key, err := range v.rows.commit(active, flip) {
		broken[key.policy] = err
	}
	for id := range v.moving {
		v.regions.show(id)
	}
	clear(v.moving)
	for id, err := range v.policies.commit(active, flip) {
		broken[id] = err
	}
	for id := range broken {
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
	for id := range v.moving {
		v.stay(id)
	}
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
	v.policies.leave(id)
}

// nearlyFull says whether there are few cells and some to be given back.
func (v *verdicts) nearlyFull() bool {
	leaving := len(v.regions.left) + len(v.policies.leaving)
	return leaving > 0 && v.regions.vacant() < len(v.regions.all)/4
}

// collect gives back what nobody asks for any more.
func (v *verdicts) collect() (deleted bool, err error) {
	v.regions.collect()
	rows, err := v.rows.collect()
	if err != nil {
		return rows, err
	}
	policies, err := v.policies.collect()
	return rows || policies, err
}

// abandon forgets what was staged and not committed.
func (v *verdicts) abandon() {
	clear(v.rows.staged)
	clear(v.policies.staged)
	for _, tables := range v.tables {
		for id := range tables {
			v.doubt(id)
		}
	}
	v.letGo()
}

func (v *verdicts) close() error {
	return errors.Join(v.store.close(), v.regions.close())
}

func rowKey(id policy.ID, m policy.Match) verdictKey {
	return verdictKey{id, m.Identity, m.Protocol}
}

// sameSlice says whether two slices are one.
func sameSlice[T any](a, b []T) bool {
	return len(a) == len(b) && unsafe.SliceData(a) == unsafe.SliceData(b)
}
