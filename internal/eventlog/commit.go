package eventlog

import (
	"errors"
	"fmt"
	"time"

	"go.etcd.io/bbolt"
	"google.golang.org/protobuf/proto"

	api "edgenet.dev/edgenet/api/edgenet/v1"
	"edgenet.dev/edgenet/internal/events"
)

// maxChanges bounds one transaction, so that readers soon see the first of many.
const maxChanges = 1024

// Change is what an object has become.
type Change struct {
	// Key tells objects apart.
	Key string
	// After is a message with the object alone; nil if it is gone.
	After *api.WatchResponse
}

// Commit adds the events that make of the objects what the changes say, in their
// order, for a log of a mesh. What is as it was gives no event. The first commit of a
// log gives none at all: the objects are what there is to begin with. words, if not
// empty, is added to what is said of each event.
//
// With begun the log was begun anew, because it is damaged or cannot be written any
// more, and has nothing in it.
func (l *Log) Commit(at time.Time, mesh, words string, changes []Change) (begun bool, err error) {
	err = l.add(at, mesh, words, changes)
	if err == nil || errors.Is(err, ErrClosed) {
		return false, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.pokes.poke()
	var damage damageError
	if errors.As(err, &damage) {
		return true, l.replace(damage.err)
	}
	if l.db == nil {
		return false, ErrClosed
	}
	path, closed := l.db.Path(), l.db.Close()
	l.db = nil
	return true, l.fallBack(errors.Join(fmt.Errorf("write event log %s: %w", path, err), closed))
}

// add writes the events of changes, in transactions of a bounded size.
func (l *Log) add(at time.Time, mesh, words string, changes []Change) error {
	return l.view(func(db *database) error {
		if err := l.found.Load(); err != nil {
			return *err
		}
		m, err := db.meta()
		quiet := !m.whole
		for first := true; err == nil && (first || len(changes) > 0); first = false {
			some := changes[:min(len(changes), maxChanges)]
			changes = changes[len(some):]
			err = db.Update(func(tx *bbolt.Tx) error { return l.addSome(tx, at, mesh, words, some, quiet) })
			l.pokes.poke()
		}
		return err
	})
}

// addSome is one transaction of a commit.
func (l *Log) addSome(tx *bbolt.Tx, at time.Time, mesh, words string, changes []Change, quiet bool) error {
	m, err := readMeta(tx)
	if err != nil {
		return err
	}
	m.mesh = mesh
	for _, c := range changes {
		happened, err := exchange(tx.Bucket(bucketObjects), at, c)
		if err != nil {
			return fmt.Errorf("object %s: %w", c.Key, err)
		}
		if quiet {
			continue
		}
		for _, e := range happened {
			if words != "" {
				e.Message = join(e.GetMessage(), words)
			}
			if err := m.append(tx.Bucket(bucketEvents), e); err != nil {
				return err
			}
		}
	}
	if err := m.forget(tx.Bucket(bucketEvents), l.cfg.MaxEvents, l.cfg.MaxBytes); err != nil {
		return err
	}
	return writeMeta(tx, m)
}

func join(message, words string) string {
	if message == "" {
		return words
	}
	return message + "; " + words
}

// exchange makes an object what a change says, and returns what has happened.
func exchange(objects *bbolt.Bucket, at time.Time, c Change) ([]*api.WatchResponse, error) {
	var before *api.WatchResponse
	if stored := objects.Get([]byte(c.Key)); stored != nil {
		var err error
		if before, err = decodeObject(stored); err != nil {
			return nil, damageError{err}
		}
	}
	happened := events.Between(at, before, c.After)
	if len(happened) == 0 {
		return nil, nil
	}
	if c.After == nil {
		return happened, objects.Delete([]byte(c.Key))
	}
	last := &api.WatchResponse{Object: happened[len(happened)-1].GetObject()}
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(last)
	if err != nil {
		return nil, err
	}
	return happened, objects.Put([]byte(c.Key), b)
}

// append adds an event.
func (m *meta) append(to *bbolt.Bucket, e *api.WatchResponse) error {
	b, err := proto.Marshal(e)
	if err != nil {
		return err
	}
	m.last++
	m.bytes += int64(len(b))
	return to.Put(number(m.last), b)
}

// forget removes the oldest events that are too much.
func (m *meta) forget(from *bbolt.Bucket, events uint64, bytes int64) error {
	c := from.Cursor()
	for k, v := c.First(); k != nil; k, v = c.First() {
		n, err := readNumber(k)
		if err != nil {
			return damageError{err}
		}
		if n == m.last || m.last-n < events && m.bytes <= bytes {
			return nil
		}
		m.bytes -= int64(len(v))
		if err := c.Delete(); err != nil {
			return err
		}
	}
	return nil
}
