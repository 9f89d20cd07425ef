package isolation

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

const (
	// sweepEvery is how often flows are looked at. Programs enforce budgets if
	// somebody has done so within the last minute (HEARTBEAT in bpf/budget.h).
	sweepEvery = time.Second
	// sweepFor is how long at a time. A full table of 262,144 flows is read in
	// about 100 ms.
	sweepFor = 20 * time.Millisecond
	// leastShare is what an endpoint may have however many there are.
	leastShare = 64
)

// served is what flows are read against: who has which id now.
type served struct {
	byID map[uint32]servedEndpoint
	// unknown ids below it were of endpoints that are gone.
	nextID     uint64
	generation uint64
	timeouts   [32]time.Duration
}

type servedEndpoint struct {
	key  Key
	slot uint32
}

func (d *Datapath) served() (*served, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.tables == nil {
		return nil, errClosed
	}
	state := d.tables.state
	s := &served{
		byID:       make(map[uint32]servedEndpoint, len(d.tables.endpoints.have)),
		nextID:     atomic.LoadUint64(&state.NextId),
		generation: atomic.LoadUint64(&state.Generation),
	}
	for _, e := range d.tables.endpoints.have {
		s.byID[e.Id] = servedEndpoint{key: keyOf(&e), slot: e.Slot}
	}
	for i := range s.timeouts {
		s.timeouts[i] = time.Duration(atomic.LoadUint64(&state.Timeouts[i]))
	}
	return s, nil
}

// budgets has the numbers of flows that programs count, in their own memory.
type budgets struct {
	memory []byte
	all    []edgenetBudget
}

func openBudgets(m *ebpf.Map) (*budgets, error) {
	n := int(m.MaxEntries())
	size := n * int(unsafe.Sizeof(edgenetBudget{}))
	memory, err := unix.Mmap(m.FD(), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map budgets: %w", err)
	}
	// The memory is page aligned and stays mapped until close.
	all := unsafe.Slice((*edgenetBudget)(unsafe.Pointer(unsafe.SliceData(memory))), n)
	return &budgets{memory: memory, all: all}, nil
}

func (b *budgets) close() error {
	b.all = nil
	if err := unix.Munmap(b.memory); err != nil {
		return fmt.Errorf("unmap budgets: %w", err)
	}
	return nil
}

func (b *budgets) flows(slot uint32) int64 {
	return int64(int32(atomic.LoadUint32(&b.all[slot].Flows)))
}

func (b *budgets) add(slot uint32, difference int64) {
	atomic.AddUint32(&b.all[slot].Flows, uint32(difference))
}

// Sweep forgets the flows that have run out and holds endpoints to their share of
// the table, until ctx is done. Without it, a full table forgets whoever was
// silent for longest.
func (d *Datapath) Sweep(ctx context.Context) error {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	var s sweep
	for {
		if err := d.sweepOnce(&s, sweepFor); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// sweep is one way through the table of flows, which may take several calls.
type sweep struct {
	walk *flowWalk
	// before has the numbers of flows by slot when it began, counted those that
	// it has found; deleted are those that it has taken away.
	before, counted map[uint32]int64
	deleted         int64
	// began is when it did; of flows that were silent since news the use has been
	// noted before.
	began, news time.Duration
}

// sweepOnce goes on with a sweep for a while.
func (d *Datapath) sweepOnce(s *sweep, lasting time.Duration) error {
	d.flowsMu.Lock()
	defer d.flowsMu.Unlock()
	if d.budgets == nil {
		return fmt.Errorf("sweep flows: %w", errClosed)
	}
	served, err := d.served()
	if err != nil {
		return err
	}
	if err := d.beat(len(served.byID)); err != nil {
		return err
	}
	if s.walk == nil {
		s.begin(d.maps.Flows, d.budgets, served)
	}
	until := monotonic() + lasting
	for more := true; more && monotonic() < until; {
		if more, err = s.walk.next(); err != nil {
			return err
		}
		if err := d.sweepPiece(s, served); err != nil {
			return err
		}
		if !more {
			s.mend(d.budgets)
			s.walk = nil
		}
	}
	return nil
}

// beat tells programs that the numbers of flows are looked after, and how many
// flows endpoints may have: half of the table is for whoever comes first, the
// other half is divided. An eighth is left over, since a kernel's CPUs set entries
// aside.
func (d *Datapath) beat(endpoints int) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.tables == nil {
		return errClosed
	}
	size := d.maps.Flows.MaxEntries()
	room := (size - size/8) / 2
	share := max(room/uint32(max(endpoints, 1)), leastShare)
	state := d.tables.state
	atomic.StoreUint32(&state.FlowShare, share)
	atomic.StoreUint32(&state.FlowRoom, room)
	atomic.StoreUint64(&state.Heartbeat, uint64(monotonic()))
	return nil
}

func (s *sweep) begin(flows *ebpf.Map, b *budgets, served *served) {
	*s = sweep{
		walk:   &flowWalk{flows: flows},
		before: map[uint32]int64{0: b.flows(0)}, counted: make(map[uint32]int64),
		began: monotonic(), news: s.began,
	}
	for _, e := range served.byID {
		s.before[e.slot] = b.flows(e.slot)
	}
}

// sweepPiece counts the flows that were just read, and forgets those that have
// run out or whose endpoint is gone.
func (d *Datapath) sweepPiece(s *sweep, served *served) error {
	now, own := monotonic(), prefixWord(d.cfg.NodePrefix)
	used := map[uint64]time.Duration{}
	defer func() { d.uses.note(used) }()
	for i := range s.walk.n {
		key, value := &s.walk.keys[i], &s.walk.values[i]
		e, known := served.byID[key.Endpoint]
		gone := !known && uint64(key.Endpoint) < served.nextID
		timeout := served.timeouts[value.State%uint8(len(served.timeouts))]
		if !gone && now-time.Duration(value.Seen) < timeout {
			s.counted[0]++
			s.counted[e.slot]++
			if seen := time.Duration(value.Seen); seen > s.news {
				if node := nodeOf(key, value, own); node != 0 {
					used[node] = max(used[node], seen)
				}
			}
			continue
		}
		deleted, err := d.forget(key, served.byID)
		if err != nil {
			return err
		}
		if deleted {
			s.deleted++
		}
	}
	return nil
}

// forget deletes a flow, and says whether it was there.
func (d *Datapath) forget(key *edgenetFlowKey, served map[uint32]servedEndpoint) (bool, error) {
	if err := d.maps.Flows.Delete(key); errors.Is(err, ebpf.ErrKeyNotExist) {
		return false, nil
	} else if err != nil {
		return false, fmt.Errorf("forget a flow: %w", err)
	}
	d.budgets.add(0, -1)
	if e, ok := served[key.Endpoint]; ok {
		d.budgets.add(e.slot, -1)
	}
	return true, nil
}

// mend corrects the numbers that programs count by those that were found. Flows
// come and go meanwhile: only what is far off is corrected.
func (s *sweep) mend(b *budgets) {
	for slot, before := range s.before {
		now, found := b.flows(slot), s.counted[slot]
		noise := abs(now-before) + s.deleted + found/16 + 16
		if off := found - now; abs(off) > noise {
			b.add(slot, off)
		}
	}
}

func abs(n int64) int64 { return max(n, -n) }
