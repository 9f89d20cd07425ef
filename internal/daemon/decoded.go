package daemon

import (
	"bytes"
	"slices"
	"strings"

	"edgenet.dev/edgenet/pkg/mesh"
)

// decoded are the records of one kind, by key, each decoded once.
type decoded[T any] struct {
	records []mesh.Record
	list    []decodedRecord[T]
}

type decodedRecord[T any] struct {
	key     string
	version mesh.Version
	payload []byte
	value   T
	// err says why there is no value. Validate keeps such records out.
	err error
}

// update makes d the records given, which are in the order of their keys. It
// returns the values that are not as they were: those of before and those of
// now.
func (d *decoded[T]) update(recs []mesh.Record, decode func(mesh.Record) (T, error)) (before, now []T) {
	// The mesh gives the same slice for as long as nothing has changed.
	if len(recs) == len(d.records) && (len(recs) == 0 || &recs[0] == &d.records[0]) {
		return nil, nil
	}
	drop := func(old decodedRecord[T]) {
		if old.err == nil {
			before = append(before, old.value)
		}
	}
	old := d.list
	next := make([]decodedRecord[T], 0, len(recs))
	for _, rec := range recs {
		for ; len(old) > 0 && old[0].key < rec.Key; old = old[1:] {
			drop(old[0])
		}
		if len(old) > 0 && old[0].key == rec.Key {
			// A node that signs two payloads under one version fools nobody for long:
			// the mesh then agrees on one of them.
			if old[0].version == rec.Version && samePayload(old[0].payload, rec.Payload) {
				next, old = append(next, old[0]), old[1:]
				continue
			}
			drop(old[0])
			old = old[1:]
		}
		one := decodedRecord[T]{key: rec.Key, version: rec.Version, payload: rec.Payload}
		if one.value, one.err = decode(rec); one.err == nil {
			now = append(now, one.value)
		}
		next = append(next, one)
	}
	for _, gone := range old {
		drop(gone)
	}
	d.records, d.list = recs, next
	return before, now
}

// find returns the value of a key that has one.
func (d *decoded[T]) find(key string) (value T, found bool) {
	at, found := slices.BinarySearchFunc(d.list, key, func(one decodedRecord[T], key string) int { return strings.Compare(one.key, key) })
	if !found || d.list[at].err != nil {
		return value, false
	}
	return d.list[at].value, true
}

// samePayload compares payloads. The mesh gives the same memory for as long as a
// record stays.
func samePayload(a, b []byte) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0] || bytes.Equal(a, b))
}
