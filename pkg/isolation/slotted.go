package isolation

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// slotted is a map of the kernel whose values have a part in two slots, one of
// which is in force, together with what is known to be in it. Keys belong to
// groups that are compared as one. What is staged is written by commit: into
// both slots if nobody asks for it yet, else into the one that is not in force.
type slotted[G, K, S comparable, V any] struct {
	name   string
	kernel *ebpf.Map
	group  func(K) G
	encode func(K, [2]S) V
	decode func(*V) [2]S
	// shared says that values are written in place, under their lock, while
	// programs may read them. Without, the kernel exchanges them whole.
	shared bool
	// memory has the values in place of the kernel's map, if it is not nil.
	memory memory[K, S]
	// used is told of every change of a key's slots.
	used func(key K, old, now [2]S)

	have  map[G]map[K][2]S
	count int
	// staged is what shall be in force.
	staged map[K]staged[S]
	// apart are the keys whose slots differ.
	apart map[K]struct{}
	// leaving are the keys that nobody finds anything in, or asks for: they are
	// deleted when the packets that did are gone.
	leaving map[K]struct{}
	// tainted says that packets under way may read memory that was given back.
	tainted bool
}

// memory is a table that is written where it is.
type memory[K, S comparable] interface {
	write(key K, slots [2]S) error
	remove(key K)
}

type staged[S comparable] struct {
	want S
	// before is what a new key stood for so far.
	before S
	leaves bool
}

type write[K, S comparable] struct {
	key   K
	slots [2]S
}

func (t *slotted[G, K, S, V]) open() error {
	t.begin()
	var (
		key   K
		value V
	)
	entries := t.kernel.Iterate()
	for entries.Next(&key, &value) {
		t.note(key, t.decode(&value))
	}
	if err := entries.Err(); err != nil {
		return fmt.Errorf("read map %s: %w", t.name, err)
	}
	return nil
}

// begin makes it ready, with nothing known of the map.
func (t *slotted[G, K, S, V]) begin() {
	t.have = make(map[G]map[K][2]S)
	t.staged, t.apart, t.leaving = make(map[K]staged[S]), make(map[K]struct{}), make(map[K]struct{})
}

// at is what is in the slots of a key.
func (t *slotted[G, K, S, V]) at(key K) ([2]S, bool) {
	slots, ok := t.have[t.group(key)][key]
	return slots, ok
}

// note takes down what was written.
func (t *slotted[G, K, S, V]) note(key K, slots [2]S) {
	g := t.group(key)
	old, ok := t.have[g][key]
	if !ok {
		if t.have[g] == nil {
			t.have[g] = make(map[K][2]S)
		}
		t.count++
	}
	t.have[g][key] = slots
	if slots[0] != slots[1] {
		t.apart[key] = struct{}{}
	} else {
		delete(t.apart, key)
	}
	if t.used != nil {
		t.used(key, old, slots)
	}
}

func (t *slotted[G, K, S, V]) forget(key K) {
	g := t.group(key)
	old, ok := t.have[g][key]
	if !ok {
		return
	}
	delete(t.have[g], key)
	if len(t.have[g]) == 0 {
		delete(t.have, g)
	}
	delete(t.apart, key)
	delete(t.leaving, key)
	t.count--
	if t.used != nil {
		t.used(key, old, [2]S{})
	}
}

// stage says what shall be in force of a key, the zero value for nothing.
func (t *slotted[G, K, S, V]) stage(key K, want S, active int) {
	var none S
	have, ok := t.at(key)
	switch {
	case want == none && (!ok || have[active] == none):
		delete(t.staged, key)
		if ok {
			t.leaving[key] = struct{}{}
		}
	case ok && have[active] == want:
		delete(t.staged, key)
		delete(t.leaving, key)
	default:
		delete(t.leaving, key)
		t.staged[key] = staged[S]{want: want, leaves: want == none}
	}
}

// leave has a key deleted that nobody will ask for after the commit.
func (t *slotted[G, K, S, V]) leave(key K) {
	delete(t.staged, key)
	if _, ok := t.at(key); ok {
		t.leaving[key] = struct{}{}
	}
}

// fresh says whether there is nothing in a key, whichever slot is asked.
func (t *slotted[G, K, S, V]) fresh(key K) bool {
	slots, ok := t.at(key)
	return !ok || slots == [2]S{}
}

// commit writes what is staged, and says what could not be. With flip, all of it
// is in the slot that is not in force, together with all else that is to be.
func (t *slotted[G, K, S, V]) commit(active int, flip bool) map[K]error {
	writes := make([]write[K, S], 0, len(t.staged))
	for key, s := range t.staged {
		slots := [2]S{s.want, s.want}
		if flip {
			have, ok := t.at(key)
			if !ok {
				have[active] = s.before
			}
			slots[active] = have[active]
		}
		writes = append(writes, write[K, S]{key, slots})
		if s.leaves {
			t.leaving[key] = struct{}{}
		}
	}
	if flip {
		for key := range t.apart {
			if _, ok := t.staged[key]; ok {
				continue
			}
			have, _ := t.at(key)
			writes = append(writes, write[K, S]{key, [2]S{have[active], have[active]}})
		}
	}
	clear(t.staged)
	return t.write(writes)
}

// close takes keys out of force at once, in both slots.
func (t *slotted[G, K, S, V]) close(keys []K) error {
	writes := make([]write[K, S], 0, len(keys))
	for _, key := range keys {
		delete(t.staged, key)
		t.leaving[key] = struct{}{}
		if !t.fresh(key) {
			writes = append(writes, write[K, S]{key: key})
		}
	}
	var errs []error
	for _, err := range t.write(writes) {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// write writes keys, and says which could not be. Where memory that was given
// back may still be read, a new key appears with nothing in it, and is filled
// then: who reads a value of another key than it asked for also reads the key.
func (t *slotted[G, K, S, V]) write(writes []write[K, S]) map[K]error {
	failed := make(map[K]error)
	if t.tainted && t.shared {
		var empty []write[K, S]
		for _, w := range writes {
			if _, ok := t.at(w.key); !ok {
				empty = append(empty, write[K, S]{key: w.key})
			}
		}
		t.put(empty, failed)
	}
	t.put(writes, failed)
	return failed
}

// few are written one by one: a batch has a price of its own.
const few = 4

func (t *slotted[G, K, S, V]) put(writes []write[K, S], failed map[K]error) {
	how := ebpf.UpdateAny
	if t.shared {
		how = ebpf.UpdateLock
	}
	if t.memory != nil {
		t.putInMemory(writes, failed)
		return
	}
	if len(writes) > few {
		keys, values := make([]K, len(writes)), make([]V, len(writes))
		for i, w := range writes {
			keys[i], values[i] = w.key, t.encode(w.key, w.slots)
		}
		done, err := t.kernel.BatchUpdate(keys, values, &ebpf.BatchOptions{ElemFlags: uint64(how)})
		if err == nil {
			done = len(writes)
		}
		for _, w := range writes[:done] {
			t.note(w.key, w.slots)
		}
		writes = writes[done:]
	}
	for _, w := range writes {
		if failed[w.key] != nil {
			continue
		}
		value := t.encode(w.key, w.slots)
		if err := t.kernel.Update(&w.key, &value, how); err != nil {
			failed[w.key] = t.explain("write", err)
			continue
		}
		t.note(w.key, w.slots)
	}
}

func (t *slotted[G, K, S, V]) putInMemory(writes []write[K, S], failed map[K]error) {
	for _, w := range writes {
		if failed[w.key] != nil {
			continue
		}
		if err := t.memory.write(w.key, w.slots); err != nil {
			failed[w.key] = t.explain("write", err)
			continue
		}
		t.note(w.key, w.slots)
	}
}

func (t *slotted[G, K, S, V]) explain(verb string, err error) error {
	if errors.Is(err, unix.E2BIG) || errors.Is(err, unix.ENOSPC) {
		return fmt.Errorf("map %s is full: it has room for %d", t.name, t.kernel.MaxEntries())
	}
	return fmt.Errorf("%s map %s: %w", verb, t.name, err)
}

// collect deletes what nobody asks for any more. The packets that did are gone.
func (t *slotted[G, K, S, V]) collect() (deleted bool, err error) {
	t.tainted = false
	if len(t.leaving) == 0 {
		return false, nil
	}
	t.tainted = true
	if t.memory != nil {
		for key := range t.leaving {
			t.memory.remove(key)
			t.forget(key)
		}
		return true, nil
	}
	if len(t.leaving) > few {
		keys := make([]K, 0, len(t.leaving))
		for key := range t.leaving {
			keys = append(keys, key)
		}
		done, err := t.kernel.BatchDelete(keys, nil)
		if err == nil {
			done = len(keys)
		}
		for _, key := range keys[:done] {
			t.forget(key)
		}
	}
	var errs []error
	for key := range t.leaving {
		if err := t.kernel.Delete(&key); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			errs = append(errs, t.explain("delete from", err))
			continue
		}
		t.forget(key)
	}
	return true, errors.Join(errs...)
}
