package eventlog

import (
	"context"
	"fmt"
	"time"

	"go.etcd.io/bbolt"

	api "edgenet.dev/edgenet/api/edgenet/v1"
	"edgenet.dev/edgenet/internal/events"
)

// A page is what is read at once: so many events, or bytes.
const (
	pageEvents = 256
	pageBytes  = 1 << 20
)

// Object is what a log last said of an object.
type Object struct {
	Key    string
	stored []byte
}

// Stored is how it is kept: the deterministic encoding of the message with the object
// alone.
func (o Object) Stored() []byte { return o.stored }

// Decode gives the message with the object alone.
func (o Object) Decode() (*api.WatchResponse, error) { return decodeObject(o.stored) }

// Objects are all objects by key, as they are at a revision.
func (l *Log) Objects() (at events.Revision, all []Object, err error) {
	err = l.view(func(db *database) error {
		return db.View(func(tx *bbolt.Tx) error {
			m, err := readMeta(tx)
			if err != nil {
				return err
			}
			at = events.Revision{Log: m.id, Number: m.last}
			return tx.Bucket(bucketObjects).ForEach(func(k, v []byte) error {
				all = append(all, Object{Key: string(k), stored: append([]byte(nil), v...)})
				return nil
			})
		})
	})
	return at, all, err
}

// Object is what the log last said of one object; nil if it knows none.
func (l *Log) Object(key string) (m *api.WatchResponse, err error) {
	err = l.view(func(db *database) error {
		return db.View(func(tx *bbolt.Tx) error {
			v := tx.Bucket(bucketObjects).Get([]byte(key))
			if v == nil {
				return nil
			}
			m, err = decodeObject(v)
			return err
		})
	})
	return m, err
}

// Since is the place before the first event at a time or later that is still there.
func (l *Log) Since(t time.Time) (at events.Revision, err error) {
	err = l.view(func(db *database) error {
		return db.View(func(tx *bbolt.Tx) error {
			m, err := readMeta(tx)
			if err != nil {
				return err
			}
			at = events.Revision{Log: m.id, Number: m.last}
			c := tx.Bucket(bucketEvents).Cursor()
			for k, v := c.First(); k != nil; k, v = c.Next() {
				e, err := decodeEvent(v)
				if err != nil {
					return damageError{err}
				}
				if e.GetTime().AsTime().Before(t) {
					continue
				}
				n, err := readNumber(k)
				at.Number = n - 1
				return err
			}
			return nil
		})
	})
	return at, err
}

// After are some of the events behind a revision, the next ones; none if there are
// none yet. Each has its own revision.
func (l *Log) After(at events.Revision) (page []*api.WatchResponse, err error) {
	err = l.view(func(db *database) error {
		return db.View(func(tx *bbolt.Tx) error {
			m, err := readMeta(tx)
			if err != nil {
				return err
			}
			c := tx.Bucket(bucketEvents).Cursor()
			if err := reaches(m, c, at); err != nil {
				return err
			}
			bytes := 0
			for k, v := c.Seek(number(at.Number + 1)); k != nil && len(page) < pageEvents && bytes < pageBytes; k, v = c.Next() {
				e, err := decodeEvent(v)
				if err != nil {
					return damageError{err}
				}
				n, err := readNumber(k)
				if err != nil {
					return damageError{err}
				}
				e.Revision = events.Revision{Log: m.id, Number: n}.String()
				page, bytes = append(page, e), bytes+len(v)
			}
			return nil
		})
	})
	return page, err
}

// reaches returns an error unless all events behind a revision are there.
func reaches(m meta, c *bbolt.Cursor, at events.Revision) error {
	switch {
	case at.Log != m.id:
		return fmt.Errorf("revision %s is of another log than the one there is, which was begun later: %w", at, ErrForgotten)
	case at.Number > m.last:
		return fmt.Errorf("revision %s is yet to come, the last one is %d: %w", at, m.last, ErrForgotten)
	case at.Number == m.last:
		return nil
	}
	first, err := readNumber(firstKey(c))
	if err != nil {
		return damageError{err}
	}
	if at.Number+1 < first {
		return fmt.Errorf("the log does not reach back to revision %s, its first event is %d: %w", at, first, ErrForgotten)
	}
	return nil
}

func firstKey(c *bbolt.Cursor) []byte {
	k, _ := c.First()
	return k
}

// Follow sends all events behind a revision, and those to come, until ctx ends or send
// fails. caughtUp is called once, when all were sent that were there at first.
func (l *Log) Follow(ctx context.Context, at events.Revision, caughtUp func(events.Revision) error, send func(events.Revision, *api.WatchResponse) error) error {
	changed, cancel := l.Subscribe()
	defer cancel()
	head, _, _, err := l.Head()
	if err != nil {
		return err
	}
	for ctx.Err() == nil {
		page, err := l.After(at)
		if err != nil {
			return err
		}
		for _, e := range page {
			if at.Number++; ctx.Err() != nil {
				return nil
			}
			if err := send(at, e); err != nil {
				return err
			}
			if at == head {
				break // the rest is read again
			}
		}
		if caughtUp != nil && at.Number >= head.Number {
			if err := caughtUp(at); err != nil {
				return err
			}
			caughtUp = nil
		}
		if len(page) > 0 {
			continue
		}
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
	return nil
}
