package isolation

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"unsafe"

	"github.com/cilium/ebpf"

	"edgenet.dev/edgenet/pkg/policy"
)

// mostProbes is MOST_PROBES in bpf/types.h.
const mostProbes = 128

// leastHomes are those of the smallest region.
const leastHomes = 4

// errFarFromHome is not to be expected of a table that is half empty.
var errFarFromHome = errors.New("too many verdicts have the same place")

// verdictKey is what a verdict is looked up by.
type verdictKey struct {
	policy   policy.ID
	identity policy.Identity
	protocol uint8
}

// regions are the cells of the verdicts in the kernel, by policy. The head of a
// policy says where its region is: another when its rows need more room.
type regions struct {
	*mapped[edgenetCell]
	store *intervals
	// heads are the cells that say where the regions are.
	heads map[policy.ID]uint32
	// of is where the rows of a policy are written.
	of map[policy.ID]edgenetRegion
	// filled counts the cells of a policy's region that are not empty.
	filled map[policy.ID]int
	// left are the regions that policies had, which packets may still read.
	left []edgenetRegion
}

// openRegions reads the regions of the policies that have these heads.
func openRegions(kernel *ebpf.Map, heads map[policy.ID]uint32) (*regions, error) {
	memory, err := openMapped[edgenetCell](kernel)
	if err != nil {
		return nil, fmt.Errorf("verdicts: %w", err)
	}
	r := &regions{mapped: memory, heads: heads, of: make(map[policy.ID]edgenetRegion), filled: make(map[policy.ID]int)}
	used := []extent{{0, 1}} // 0 is no head
	for id, head := range heads {
		used = append(used, extent{head, 1})
		if err := r.reach(extent{head, 1}); err != nil {
			return nil, errors.Join(fmt.Errorf("verdicts: %w", err), r.close())
		}
		word := atomic.LoadUint64(r.head(head))
		if region := (edgenetRegion{First: uint32(word), Homes: uint32(word >> 32)}); region.Homes > 0 {
			r.of[id] = region
			used = append(used, extentOfRegion(region))
		}
	}
	slices.SortFunc(used, func(a, b extent) int { return cmp.Compare(a.first, b.first) })
	if err := r.use(used); err != nil {
		return nil, errors.Join(fmt.Errorf("verdicts: %w", err), r.close())
	}
	return r, nil
}

// head is the word of a region in the kernel.
func (r *regions) head(cell uint32) *uint64 {
	return (*uint64)(unsafe.Pointer(&r.in(extent{cell, 1})[0]))
}

// extentOfRegion is all that a region has: behind the homes there is room for
// rows that are not at home in the last of them, and a cell that is never used.
func extentOfRegion(region edgenetRegion) extent {
	return extent{region.First, region.Homes + min(region.Homes/2, mostProbes) + 1}
}

// cells are those of a region; there are none of none.
func (r *regions) cells(region edgenetRegion) []edgenetVerdict {
	if region.Homes == 0 {
		return nil
	}
	cells := r.in(extentOfRegion(region))
	// A cell is a verdict, but for heads.
	return unsafe.Slice(&cells[0].Verdict, len(cells))
}

// rows are those of a policy.
func (r *regions) rows(id policy.ID) map[verdictKey][2]edgenetSpan {
	rows := make(map[verdictKey][2]edgenetSpan)
	r.filled[id] = 0
	for _, cell := range r.cells(r.of[id]) {
		if cell.State != edgenetVerdictStateVERDICT_NONE {
			r.filled[id]++
		}
		if cell.State == edgenetVerdictStateVERDICT_IS {
			rows[verdictKey{id, policy.Identity(cell.Identity), uint8(cell.Protocol)}] = cell.Spans
		}
	}
	return rows
}

// fits says whether a policy has a region with room for so many rows more.
// Beyond nine sixteenths, some would be too far from home.
func (r *regions) fits(id policy.ID, more int) bool {
	region, ok := r.of[id]
	return ok && (r.filled[id]+more)*16 <= int(region.Homes)*9
}

// add returns an empty region for so many rows of a policy. One that has outgrown
// its region grows further, if there is room for that.
func (r *regions) add(id policy.ID, rows int) (edgenetRegion, error) {
	if r.of[id].Homes > 0 {
		if region, err := r.addHomes(3 * rows); err == nil {
			return region, nil
		}
	}
	return r.addHomes(2 * rows)
}

func (r *regions) addHomes(homes int) (edgenetRegion, error) {
	region := edgenetRegion{Homes: uint32(max(homes, leastHomes))}
	taken, err := r.get(extentOfRegion(region).count)
	if err != nil {
		return edgenetRegion{}, err
	}
	region.First = taken.first
	clear(r.cells(region))
	return region, nil
}

// addHead makes a head for a policy that has none.
func (r *regions) addHead(id policy.ID) error {
	if r.heads[id] != 0 {
		return nil
	}
	taken, err := r.get(1)
	if err != nil {
		return err
	}
	r.heads[id] = taken.first
	atomic.StoreUint64(r.head(taken.first), 0)
	return nil
}

func (r *regions) get(cells uint32) (extent, error) {
	taken, err := r.take(cells)
	if errors.Is(err, errNoSpace) {
		return taken, fmt.Errorf("map %s is full: it has room for %d", edgenetMapVerdicts, len(r.all)/cellsPerVerdict)
	}
	if err != nil {
		return taken, fmt.Errorf("verdicts: %w", err)
	}
	return taken, nil
}

// move has the rows of a policy written into another region, and writes those
// that it has. If that fails, the policy stays.
func (r *regions) move(id policy.ID, to edgenetRegion, rows map[verdictKey][2]edgenetSpan) error {
	old := r.of[id]
	r.of[id], r.filled[id] = to, 0
	for key, spans := range rows {
		if err := r.write(key, spans); err != nil {
			r.give(extentOfRegion(to))
			r.of[id] = old
			return err
		}
	}
	if old.Homes > 0 {
		r.left = append(r.left, old)
	}
	return nil
}

// show has packets read the region that a policy has moved to.
func (r *regions) show(id policy.ID) {
	region := r.of[id]
	atomic.StoreUint64(r.head(r.heads[id]), uint64(region.First)|uint64(region.Homes)<<32)
}

// collect frees the regions that policies had. No packet may read them any more.
func (r *regions) collect() {
	for _, region := range r.left {
		r.give(extentOfRegion(region))
	}
	r.left = nil
}

// drop frees all that a policy has. No packet may ask for it any more.
func (r *regions) drop(id policy.ID) {
	if head, ok := r.heads[id]; ok {
		r.give(extent{head, 1})
	}
	if region := r.of[id]; region.Homes > 0 {
		r.give(extentOfRegion(region))
	}
	delete(r.heads, id)
	delete(r.of, id)
	delete(r.filled, id)
}

// write writes a row. A program that finds its key finds its spans.
func (r *regions) write(key verdictKey, spans [2]edgenetSpan) error {
	cells := r.cells(r.of[key.policy])
	at, found, vacant, room := r.find(key)
	switch {
	case found:
		r.storeSpans(&cells[at], spans)
		return nil
	case !room:
		r.filled[key.policy] = len(cells) // the next time, it moves
		return errFarFromHome
	}
	cell := &cells[vacant]
	if cell.State == edgenetVerdictStateVERDICT_NONE {
		r.filled[key.policy]++
	}
	// A program that is at the cell's last key looks once more whether it is there
	// when it has read the rest.
	atomic.StoreUint64(&cell.Identity, uint64(key.identity))
	atomic.StoreUint32(&cell.Protocol, uint32(key.protocol))
	r.storeSpans(cell, spans)
	setState(cell, edgenetVerdictStateVERDICT_IS)
	return nil
}

// storeSpans writes what differs: in the slot in force, nothing does. A span that
// has not got its limits yet is none, for who finds it so after a crash.
func (r *regions) storeSpans(cell *edgenetVerdict, spans [2]edgenetSpan) {
	for slot, span := range spans {
		limits := r.store.limits(span)
		if cell.Spans[slot] == span && cell.Limits[slot] == limits {
			continue
		}
		word := (*uint64)(unsafe.Pointer(&cell.Spans[slot]))
		atomic.StoreUint64(word, 0)
		cell.Limits[slot] = limits
		// As it stands in the kernel.
		atomic.StoreUint64(word, uint64(span.Line)|uint64(span.Lines)<<32|uint64(span.Height)<<48)
	}
}

// remove makes the cell of a row free for another. Nobody asks for the row.
func (r *regions) remove(key verdictKey) {
	cells := r.cells(r.of[key.policy])
	at, ok, _, _ := r.find(key)
	if !ok {
		return
	}
	setState(&cells[at], edgenetVerdictStateVERDICT_WAS)
	// What was passed by on the way to nothing need not be there.
	for ; at >= 0 && cells[at].State == edgenetVerdictStateVERDICT_WAS && cells[at+1].State == edgenetVerdictStateVERDICT_NONE; at-- {
		setState(&cells[at], edgenetVerdictStateVERDICT_NONE)
		r.filled[key.policy]--
	}
}

func setState(cell *edgenetVerdict, state edgenetVerdictState) {
	atomic.StoreUint32((*uint32)(&cell.State), uint32(state))
}

// find returns the cell of a row, or the first that it may have, if there is any
// near enough.
func (r *regions) find(key verdictKey) (at int, found bool, vacant int, room bool) {
	region := r.of[key.policy]
	cells := r.cells(region)
	first := home(key, region.Homes)
	for at := first; at < min(first+mostProbes, len(cells)-1); at++ {
		switch cell := &cells[at]; {
		case cell.State != edgenetVerdictStateVERDICT_IS:
			if !room {
				vacant, room = at, true
			}
			if cell.State == edgenetVerdictStateVERDICT_NONE {
				return 0, false, vacant, room
			}
		case cell.Identity == uint64(key.identity) && cell.Protocol == uint32(key.protocol):
			return at, true, 0, false
		}
	}
	return 0, false, vacant, room
}

// home is the cell in which a row is looked for first, as the program has it
// (bpf/verdict.h).
func home(key verdictKey, homes uint32) int {
	id := uint64(key.identity)
	hash := (uint32(id^id>>32) + uint32(key.protocol)) * 0x9e3779b1
	return int(uint64(hash) * uint64(homes) >> 32)
}
