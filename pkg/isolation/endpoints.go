package isolation

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"edgenet.dev/edgenet/pkg/policy"
)

// endpoints is the map of endpoints. Of a value, the rules are a pair of slots;
// all else is changed where it is, but for the addresses: an endpoint with others
// is another endpoint.
type endpoints struct {
	kernel *ebpf.Map
	// have are those that packets find, by the ifindex of the host's device.
	have  map[uint32]edgenetEndpoint
	byKey map[Key]uint32
	// dead are those that nobody finds, to be deleted when the packets that did
	// are gone.
	dead map[uint32]edgenetEndpoint
	// known has the ids and places of the endpoints that are wanted, also while
	// they have no device.
	known map[Key]edgenetEndpoint
	// places says which slots of the arrays are taken.
	places []bool
	// policies counts who refers to a policy.
	policies map[policy.ID]int
	staged   map[uint32]edgenetEndpoint // the wanted rules in slot 0
	apart    map[uint32]bool
	tainted  bool
}

func openEndpoints(kernel *ebpf.Map, places uint32) (*endpoints, error) {
	t := &endpoints{
		kernel: kernel, have: make(map[uint32]edgenetEndpoint), byKey: make(map[Key]uint32),
		dead: make(map[uint32]edgenetEndpoint), known: make(map[Key]edgenetEndpoint),
		places: make([]bool, places), policies: make(map[policy.ID]int),
		staged: make(map[uint32]edgenetEndpoint), apart: make(map[uint32]bool),
	}
	t.places[0] = true // nobody's
	var (
		ifindex uint32
		e       edgenetEndpoint
	)
	entries := kernel.Iterate()
	for entries.Next(&ifindex, &e) {
		if e.Slot < places {
			t.places[e.Slot] = true
		}
		if e.Flags&edgenetEndpointFlagENDPOINT_LEAVING != 0 {
			t.dead[ifindex] = e
			continue
		}
		t.note(ifindex, e)
	}
	if err := entries.Err(); err != nil {
		return nil, fmt.Errorf("read map %s: %w", edgenetMapEndpoints, err)
	}
	return t, nil
}

func (t *endpoints) note(ifindex uint32, e edgenetEndpoint) {
	t.count(t.have[ifindex].Rules, -1)
	t.count(e.Rules, 1)
	t.have[ifindex] = e
	key := keyOf(&e)
	t.byKey[key], t.known[key] = ifindex, e
	delete(t.apart, ifindex)
	if e.Rules[0] != e.Rules[1] {
		t.apart[ifindex] = true
	}
}

func (t *endpoints) count(rules [2]edgenetRules, by int) {
	for _, r := range rules {
		for _, id := range []uint64{r.Ingress, r.Egress, r.ShadowIngress, r.ShadowEgress} {
			if id == 0 {
				continue
			}
			t.policies[policy.ID(id)] += by
			if t.policies[policy.ID(id)] == 0 {
				delete(t.policies, policy.ID(id))
			}
		}
	}
}

func (t *endpoints) put(ifindex uint32, e edgenetEndpoint) error {
	if have, ok := t.have[ifindex]; ok && have == e {
		return nil
	}
	err := t.kernel.Update(&ifindex, &e, ebpf.UpdateLock)
	if errors.Is(err, unix.E2BIG) {
		return fmt.Errorf("map %s is full: it has room for %d", edgenetMapEndpoints, t.kernel.MaxEntries())
	}
	if err != nil {
		return fmt.Errorf("write map %s: %w", edgenetMapEndpoints, err)
	}
	return nil
}

// bury takes an endpoint out of force at once. Its id and place are kept if it is
// to be found behind another device.
func (t *endpoints) bury(ifindex uint32, keep bool) error {
	e, ok := t.have[ifindex]
	if !ok {
		return nil
	}
	key := keyOf(&e)
	e.Flags |= edgenetEndpointFlagENDPOINT_LEAVING
	if err := t.put(ifindex, e); err != nil {
		return err
	}
	t.dead[ifindex] = e
	t.count(e.Rules, -1)
	delete(t.have, ifindex)
	delete(t.apart, ifindex)
	delete(t.staged, ifindex)
	if t.byKey[key] == ifindex {
		delete(t.byKey, key)
	}
	if !keep {
		delete(t.known, key)
	}
	return nil
}

// stage says what an endpoint shall be, with its rules in slot 0.
func (t *endpoints) stage(e edgenetEndpoint) { t.staged[e.Ifindex] = e }

// changes says whether rules that are in force will be others.
func (t *endpoints) changes(active int) bool {
	for ifindex, e := range t.staged {
		if have, ok := t.have[ifindex]; ok && have.Rules[active] != e.Rules[0] {
			return true
		}
	}
	return false
}

// revives says whether memory is to be written that packets under way may still
// take for another endpoint's.
func (t *endpoints) revives() bool {
	for ifindex := range t.staged {
		if _, dead := t.dead[ifindex]; dead {
			return true
		}
	}
	return false
}

// commit writes what is staged, and says what could not be.
func (t *endpoints) commit(active int, flip bool) map[uint32]error {
	failed := make(map[uint32]error)
	for ifindex, next := range t.staged {
		have, known := t.have[ifindex]
		next.Rules[1] = next.Rules[0]
		switch {
		case flip:
			next.Rules[active] = have.Rules[active]
		case known:
			next.Rules = have.Rules // what is in force is what is wanted
		}
		if err := t.write(ifindex, next, known); err != nil {
			failed[ifindex] = err
		}
	}
	if flip {
		for ifindex := range t.apart {
			if _, staged := t.staged[ifindex]; staged {
				continue
			}
			e := t.have[ifindex]
			e.Rules[1-active] = e.Rules[active]
			if err := t.write(ifindex, e, true); err != nil {
				failed[ifindex] = err
			}
		}
	}
	clear(t.staged)
	return failed
}

// write writes an endpoint. A new one in memory that may be read for another's
// appears as one that is leaving: see endpoint_of in bpf/locate.h.
func (t *endpoints) write(ifindex uint32, e edgenetEndpoint, known bool) error {
	if !known && t.tainted {
		leaving := e
		leaving.Flags |= edgenetEndpointFlagENDPOINT_LEAVING
		if err := t.put(ifindex, leaving); err != nil {
			return err
		}
	}
	if err := t.put(ifindex, e); err != nil {
		return err
	}
	delete(t.dead, ifindex)
	t.note(ifindex, e)
	return nil
}

// collect deletes the endpoints that no packet has any more.
func (t *endpoints) collect() (deleted bool, err error) {
	t.tainted = len(t.dead) > 0
	var errs []error
	for ifindex, e := range t.dead {
		if err := t.kernel.Delete(&ifindex); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			errs = append(errs, fmt.Errorf("delete from map %s: %w", edgenetMapEndpoints, err))
			continue
		}
		delete(t.dead, ifindex)
		t.leavePlace(e)
	}
	return t.tainted, errors.Join(errs...)
}

// forget gives up the ids and places of endpoints that are not wanted and have no
// device.
func (t *endpoints) forget(wanted func(Key) bool) {
	if len(t.known) == len(t.byKey) {
		return
	}
	buried := make(map[uint32]bool, len(t.dead))
	for _, e := range t.dead {
		buried[e.Slot] = true
	}
	for key, e := range t.known {
		if _, ok := t.byKey[key]; ok || wanted(key) {
			continue
		}
		delete(t.known, key)
		if !buried[e.Slot] {
			t.places[e.Slot] = false
		}
	}
}

// leavePlace frees the place of an endpoint, if it was not kept for it.
func (t *endpoints) leavePlace(e edgenetEndpoint) {
	if known, ok := t.known[keyOf(&e)]; ok && known.Slot == e.Slot {
		return
	}
	t.places[e.Slot] = false
}

// takePlace returns a place in the arrays that nobody has.
func (t *endpoints) takePlace() (uint32, error) {
	for place, taken := range t.places {
		if !taken {
			t.places[place] = true
			return uint32(place), nil
		}
	}
	return 0, fmt.Errorf("all %d places for endpoints are taken", len(t.places)-1)
}
