package isolation

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
)

// mirror is a map of the kernel together with what is known to be in it. Nobody
// else writes these maps, so nothing is written twice.
type mirror[K, V comparable] struct {
	name   string
	kernel *ebpf.Map
	have   map[K]V
}

// openMirror reads all of a map.
func openMirror[K, V comparable](name string, m *ebpf.Map) (*mirror[K, V], error) {
	t := &mirror[K, V]{name: name, kernel: m, have: make(map[K]V)}
	var (
		key   K
		value V
	)
	entries := m.Iterate()
	for entries.Next(&key, &value) {
		t.have[key] = value
	}
	if err := entries.Err(); err != nil {
		return nil, fmt.Errorf("read map %s: %w", name, err)
	}
	return t, nil
}

func (t *mirror[K, V]) put(key K, value V) error {
	if have, ok := t.have[key]; ok && have == value {
		return nil
	}
	if err := t.kernel.Update(&key, &value, ebpf.UpdateAny); err != nil {
		return fmt.Errorf("write map %s: %w", t.name, err)
	}
	t.have[key] = value
	return nil
}

func (t *mirror[K, V]) delete(key K) error {
	if _, ok := t.have[key]; !ok {
		return nil
	}
	if err := t.kernel.Delete(&key); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("delete from map %s: %w", t.name, err)
	}
	delete(t.have, key)
	return nil
}

// retain deletes what is not planned.
func retain[K, V comparable](t *mirror[K, V], planned map[K]V) error {
	var errs []error
	for key := range t.have {
		if _, ok := planned[key]; !ok {
			errs = append(errs, t.delete(key))
		}
	}
	return errors.Join(errs...)
}
