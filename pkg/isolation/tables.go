package isolation

import (
	"errors"
	"fmt"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"edgenet.dev/edgenet/pkg/policy"
)

// tables are the datapath's maps as this process knows them. docs/datapath.md
// says how they change without a packet noticing.
type tables struct {
	maps      *edgenetMaps
	state     *edgenetState
	memory    []byte
	endpoints *endpoints
	addresses slotted[uint32, edgenetAddressKey, edgenetPlace, edgenetAddress]
	routes    slotted[uint32, edgenetRouteKey, edgenetPlace, edgenetRoute]
	tokens    *tokens
	nodes     *mirror[uint64, edgenetNode]
	verdicts  *verdicts
	numbers   *numbers
	grace     *grace
	// identities counts the addresses and prefixes that have an identity.
	identities map[policy.Identity]int
	// released are the numbers of rules that tables gave back since packets were
	// last waited for.
	released [][]uint32
	// loose says that there may be policies with rows that no VPC has.
	loose bool
	// mustFlip says that something is to be judged anew, whatever else changes.
	mustFlip bool
	// owing says that something was taken out of force, and the packets that may
	// have it have not been asked to be waited for.
	owing bool
	// flipped is the moment of the last flip: when its packets are gone, none asks
	// the slot that is not in force.
	flipped uint64
}

// openTables reads the maps, and marks new ones with the format.
func openTables(maps *edgenetMaps) (*tables, error) {
	t := &tables{maps: maps, identities: make(map[policy.Identity]int), loose: true}
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
	if t.grace, err = openGrace(); err != nil {
		return err
	}
	// What the last process took out of force may still be in use.
	t.flipped = t.grace.begin()
	if t.endpoints, err = openEndpoints(t.maps.Endpoints, t.maps.Learned.MaxEntries()); err != nil {
		return err
	}
	if err = t.readPlaces(); err != nil {
		return err
	}
	if t.nodes, err = openMirror[uint64, edgenetNode](edgenetMapNodes, t.maps.Nodes); err != nil {
		return err
	}
	known, err := openMirror[edgenetTokenKey, edgenetIp](edgenetMapTokens, t.maps.Tokens)
	if err != nil {
		return err
	}
	t.tokens = openTokens(known)
	if t.numbers, err = openNumbers(t.maps.KnownRules, t.maps.Hits); err != nil {
		return err
	}
	t.verdicts, err = openVerdicts(t.maps)
	return err
}

func (t *tables) readPlaces() error {
	t.addresses = slotted[uint32, edgenetAddressKey, edgenetPlace, edgenetAddress]{
		name: edgenetMapAddresses, kernel: t.maps.Addresses, shared: true,
		group: func(k edgenetAddressKey) uint32 { return k.Vni },
		encode: func(k edgenetAddressKey, s [2]edgenetPlace) edgenetAddress {
			return edgenetAddress{Vni: k.Vni, Address: k.Address, Places: s}
		},
		decode: func(v *edgenetAddress) [2]edgenetPlace { return v.Places },
		used:   func(_ edgenetAddressKey, old, now [2]edgenetPlace) { t.countIdentities(old, now) },
	}
	if err := t.addresses.open(); err != nil {
		return err
	}
	t.routes = slotted[uint32, edgenetRouteKey, edgenetPlace, edgenetRoute]{
		name: edgenetMapRoutes, kernel: t.maps.Routes,
		group:  func(k edgenetRouteKey) uint32 { return fromBig(k.Vni) },
		encode: func(_ edgenetRouteKey, s [2]edgenetPlace) edgenetRoute { return edgenetRoute{Places: s} },
		decode: func(v *edgenetRoute) [2]edgenetPlace { return v.Places },
		used:   func(_ edgenetRouteKey, old, now [2]edgenetPlace) { t.countIdentities(old, now) },
	}
	return t.routes.open()
}

func (t *tables) countIdentities(old, now [2]edgenetPlace) {
	for slot := range old {
		t.identities[policy.Identity(now[slot].Identity)]++
		id := policy.Identity(old[slot].Identity)
		if t.identities[id]--; t.identities[id] <= 0 {
			delete(t.identities, id)
		}
	}
}

func (t *tables) close() error {
	var errs []error
	if t.grace != nil {
		errs = append(errs, t.grace.close())
	}
	if t.verdicts != nil {
		errs = append(errs, t.verdicts.close())
	}
	t.state = nil
	if err := unix.Munmap(t.memory); err != nil {
		errs = append(errs, fmt.Errorf("unmap state: %w", err))
	}
	return errors.Join(errs...)
}

// active is the slot in force.
func (t *tables) active() int {
	return int(atomic.LoadUint64(&t.state.Generation) & 1)
}

// flip puts the other slot in force, for every packet from now on.
func (t *tables) flip() {
	atomic.AddUint64(&t.state.Generation, 1)
	t.mustFlip, t.owing = false, false
	t.flipped = t.grace.begin()
}

// newID returns an endpoint id that was never used.
func (t *tables) newID() uint32 {
	return uint32(atomic.AddUint64(&t.state.NextId, 1) - 1)
}

// collect gives back what nobody can have any more, if that is known by now.
func (t *tables) collect() error {
	if t.owing || !t.grace.passed() {
		return nil
	}
	var errs []error
	for _, collect := range []func() (bool, error){
		t.endpoints.collect, t.addresses.collect, t.routes.collect, t.verdicts.collect,
	} {
		deleted, err := collect()
		t.owing = t.owing || deleted
		errs = append(errs, err)
	}
	errs = append(errs, t.tokens.collect())
	for _, numbers := range t.released {
		t.numbers.release(numbers)
	}
	t.released = nil
	return errors.Join(errs...)
}

// releasePolicies gives up the tables that a VPC does not want any more.
func (t *tables) releasePolicies(vni uint32, want map[policy.ID]*policy.Table) {
	v := t.verdicts
	for id, n := range v.tables[vni] {
		if want[id] == nil {
			t.released = append(t.released, n.numbers)
			t.owing, t.loose = true, true
			delete(v.tables[vni], id)
		}
	}
	if len(v.tables[vni]) == 0 {
		delete(v.tables, vni)
	}
}

// settle has the packets waited for that may have what was taken out of force.
func (t *tables) settle() {
	if t.owing {
		t.owing = false
		t.grace.begin()
	}
}

// makeRoom waits for what is to be given back, if a table is nearly full.
func (t *tables) makeRoom() error {
	full := func(count, leaving int, entries uint32) bool {
		return leaving > 0 && count+count/8+leaving > int(entries)
	}
	if !full(t.addresses.count, len(t.addresses.leaving), t.maps.Addresses.MaxEntries()) &&
		!full(t.routes.count, len(t.routes.leaving), t.maps.Routes.MaxEntries()) &&
		!t.verdicts.nearlyFull() &&
		!full(t.verdicts.policies.count, len(t.verdicts.policies.leaving), t.maps.Policies.MaxEntries()) &&
		!full(len(t.endpoints.have)+len(t.endpoints.dead), len(t.endpoints.dead), t.maps.Endpoints.MaxEntries()) {
		return nil
	}
	t.settle()
	if err := t.grace.wait(); err != nil {
		return err
	}
	return t.collect()
}

// clearSlot makes the arrays new for an endpoint.
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
	if err := t.maps.Budgets.Put(slot, &edgenetBudget{}); err != nil {
		return fmt.Errorf("clear budget: %w", err)
	}
	if err := t.maps.Announcements.Put(slot, &edgenetAnnounced{}); err != nil {
		return fmt.Errorf("clear announcements: %w", err)
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
