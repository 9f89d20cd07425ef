package daemon

import "edgenet.dev/edgenet/pkg/mesh"

// decoded are the records of one kind, by key, each decoded once.
type decoded[T any] []decodedRecord[T]

type decodedRecord[T any] struct {
	key     string
	version mesh.Version
	value   T
	// err says why there is no value. Validate keeps such records out.
	err error
}

// update makes d the records given, which are in the order of their keys.
func (d *decoded[T]) update(recs []mesh.Record, decode func(mesh.Record) (T, error)) {
	old := *d
	next := make(decoded[T], 0, len(recs))
	for _, rec := range recs {
		for len(old) > 0 && old[0].key < rec.Key {
			old = old[1:]
		}
		if len(old) > 0 && old[0].key == rec.Key && old[0].version == rec.Version {
			next = append(next, old[0])
			continue
		}
		one := decodedRecord[T]{key: rec.Key, version: rec.Version}
		one.value, one.err = decode(rec)
		next = append(next, one)
	}
	*d = next
}
