package isolation

import (
	"errors"
	"fmt"
	"sync/atomic"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// tables are the datapath's maps as this process knows them.
type tables struct {
	maps      *edgenetMaps
	state     *edgenetState
	memory    []byte
	endpoints *mirror[uint32, edgenetEndpoint]
	addresses *mirror[edgenetAddressKey, edgenetAddress]
	nodes     *mirror[uint64, edgenetNode]
	verdicts  *verdicts
}

// openTables reads the maps, and marks new ones with the format.
func openTables(maps *edgenetMaps) (*tables, error) {
	t := &tables{maps: maps}
	memory, err := unix.Mmap(maps.EdgenetState.FD(), 0, unix.Getpagesize(),
		unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map state: %w", err)
	}
	t.memory = memory
	// The memory is page aligned and longer than the structure; it stays
	// mapped until close.
	t.state = (*edgenetState)(unsafe.Pointer(unsafe.SliceData(memory)))
	if t.state.Format == 0 {
		t.state.NextId = 1
		atomic.StoreUint32(&t.state.Format, format)
	}
	if err := t.read(); err != nil {
		return nil, errors.Join(err, t.close())
	}
	return t, nil
}

func (t *tables) read() (err error) {
	if t.endpoints, err = openMirror[uint32, edgenetEndpoint](edgenetMapEndpoints, t.maps.Endpoints, ebpf.UpdateLock); err != nil {
		return err
	}
	if t.addresses, err = openMirror[edgenetAddressKey, edgenetAddress](edgenetMapAddresses, t.maps.Addresses, ebpf.UpdateLock); err != nil {
		return err
	}
	if t.nodes, err = openMirror[uint64, edgenetNode](edgenetMapNodes, t.maps.Nodes, ebpf.UpdateAny); err != nil {
		return err
	}
	t.verdicts, err = openVerdicts(t.maps)
	return err
}

func (t *tables) close() error {
	t.state = nil
	if err := unix.Munmap(t.memory); err != nil {
		return fmt.Errorf("unmap state: %w", err)
	}
	return nil
}

// active is the slot in force.
func (t *tables) active() int {
	return int(atomic.LoadUint64(&t.state.Generation) & 1)
}

// flip puts the other slot in force, for every packet from now on.
func (t *tables) flip() {
	atomic.AddUint64(&t.state.Generation, 1)
}

// newID returns an endpoint id that was never used.
func (t *tables) newID() uint32 {
	return uint32(atomic.AddUint64(&t.state.NextId, 1) - 1)
}

// freeSlot returns an unused place in the arrays, cleared. Place 0 is nobody's.
func (t *tables) freeSlot() (uint32, error) {
	used := make(map[uint32]bool, len(t.endpoints.have))
	for _, e := range t.endpoints.have {
		used[e.Slot] = true
	}
	for slot := uint32(1); slot < t.maps.Learned.MaxEntries(); slot++ {
		if !used[slot] {
			return slot, t.clearSlot(slot)
		}
	}
	return 0, fmt.Errorf("all %d places for endpoints are taken", t.maps.Learned.MaxEntries()-1)
}

func (t *tables) clearSlot(slot uint32) error {
	if err := t.maps.Learned.Put(slot, uint64(0)); err != nil {
		return fmt.Errorf("clear learned address: %w", err)
	}
	perCPU, err := t.accounts(slot)
	if err != nil {
		return err
	}
	clear(perCPU)
	if err := t.maps.Accounts.Put(slot, perCPU); err != nil {
		return fmt.Errorf("clear counters: %w", err)
	}
	if err := t.maps.Drops.Put(slot, &edgenetDropped{}); err != nil {
		return fmt.Errorf("clear drops: %w", err)
	}
	return nil
}

// accounts returns an account as each CPU has it.
func (t *tables) accounts(slot uint32) ([]edgenetAccount, error) {
	var perCPU []edgenetAccount
	if err := t.maps.Accounts.Lookup(slot, &perCPU); err != nil {
		return nil, fmt.Errorf("read counters: %w", err)
	}
	return perCPU, nil
}

// keyOf is the name of an endpoint as it stands in the kernel.
func keyOf(e *edgenetEndpoint) Key {
	n := 0
	for n < len(e.Name) && e.Name[n] != 0 {
		n++
	}
	return Key{VNI: e.Vni, Name: string(e.Name[:n])}
}
