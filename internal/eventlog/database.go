package eventlog

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
	"google.golang.org/protobuf/proto"

	api "edgenet.dev/edgenet/api/edgenet/v1"
	"edgenet.dev/edgenet/internal/events"
)

// openTimeout is how long an open waits for another process to let go.
const openTimeout = time.Second

// The buckets of the file.
var (
	bucketMeta    = []byte("meta")
	bucketEvents  = []byte("events")  // number, big-endian -> api.WatchResponse without revision
	bucketObjects = []byte("objects") // key -> api.WatchResponse with the object alone
)

// The keys of bucketMeta.
var (
	metaID    = []byte("id")    // events.Revision.Log
	metaMesh  = []byte("mesh")  // the mesh's id
	metaLast  = []byte("last")  // number of the last event, big-endian
	metaBytes = []byte("bytes") // of all events, big-endian
	metaWhole = []byte("whole") // there once anything was committed
)

// database is the file.
type database struct{ *bbolt.DB }

// damageError says that what is in the file is none of ours.
type damageError struct{ err error }

func (e damageError) Error() string { return "event log is damaged: " + e.err.Error() }

func (e damageError) Unwrap() error { return e.err }

// beginDatabase makes a database where there is none, or one that does not matter.
func beginDatabase(path string) (*database, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("begin event log: %w", err)
	}
	return openDatabase(path)
}

// moveAside keeps a damaged file for people, in place of an earlier one.
func moveAside(path string) error {
	if err := os.Rename(path, path+".damaged"); err != nil {
		return fmt.Errorf("move damaged event log aside: %w", err)
	}
	return nil
}

// openDatabase opens a database and reads all of it, or makes one.
func openDatabase(path string) (db *database, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer recoverDamage(&err)
	b, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: openTimeout, FreelistType: bbolt.FreelistMapType})
	switch {
	case errors.Is(err, berrors.ErrInvalid), errors.Is(err, berrors.ErrChecksum), errors.Is(err, berrors.ErrVersionMismatch), errors.Is(err, berrors.ErrInvalidMapping):
		return nil, damageError{err}
	case err != nil:
		return nil, fmt.Errorf("open event log %s: %w", path, err)
	}
	db = &database{b}
	if err := db.guard(db.check); err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return db, nil
}

// guard calls what touches the file. Damage of it would be a panic, or a fault in
// mapped memory.
func (db *database) guard(do func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer recoverDamage(&err)
	return do()
}

func recoverDamage(err *error) {
	if r := recover(); r != nil {
		*err = damageError{fmt.Errorf("%v", r)}
	}
}

// check reads everything once, and makes a new file a log.
func (db *database) check() error {
	fresh := false
	err := db.View(func(tx *bbolt.Tx) error {
		info, err := os.Stat(db.Path())
		if err != nil {
			return fmt.Errorf("open event log: %w", err)
		}
		if tx.Size() > info.Size() {
			return damageError{fmt.Errorf("it is cut short: %d bytes of %d", info.Size(), tx.Size())}
		}
		if fresh = tx.Bucket(bucketMeta) == nil; fresh {
			return nil
		}
		return checkContent(tx)
	})
	if err != nil || !fresh {
		return err
	}
	return db.Update(func(tx *bbolt.Tx) error {
		id := make([]byte, 8)
		if _, err := rand.Read(id); err != nil {
			return err
		}
		for _, name := range [][]byte{bucketMeta, bucketEvents, bucketObjects} {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		return tx.Bucket(bucketMeta).Put(metaID, []byte(hex.EncodeToString(id)))
	})
}

// checkContent reads what a log consists of.
func checkContent(tx *bbolt.Tx) error {
	m, err := readMeta(tx)
	if err != nil {
		return err
	}
	var next uint64
	var size int64
	err = tx.Bucket(bucketEvents).ForEach(func(k, v []byte) error {
		number, err := readNumber(k)
		if err != nil || next != 0 && number != next {
			return damageError{fmt.Errorf("an event has the number %x", k)}
		}
		if _, err := decodeEvent(v); err != nil {
			return damageError{fmt.Errorf("event %d: %w", number, err)}
		}
		next, size = number+1, size+int64(len(v))
		return nil
	})
	if err != nil {
		return err
	}
	if next != 0 && next != m.last+1 || size != m.bytes {
		return damageError{fmt.Errorf("it ends with event %d and %d bytes, not %d and %d", next-1, size, m.last, m.bytes)}
	}
	return tx.Bucket(bucketObjects).ForEach(func(k, v []byte) error {
		if _, err := decodeObject(v); err != nil {
			return damageError{fmt.Errorf("object %q: %w", k, err)}
		}
		return nil
	})
}

// meta is what a log says of itself.
type meta struct {
	id, mesh string
	last     uint64
	bytes    int64
	whole    bool
}

func (db *database) meta() (m meta, err error) {
	err = db.View(func(tx *bbolt.Tx) error {
		m, err = readMeta(tx)
		return err
	})
	return m, err
}

func readMeta(tx *bbolt.Tx) (meta, error) {
	b := tx.Bucket(bucketMeta)
	if b == nil || tx.Bucket(bucketEvents) == nil || tx.Bucket(bucketObjects) == nil {
		return meta{}, damageError{errors.New("a bucket is missing")}
	}
	m := meta{id: string(b.Get(metaID)), mesh: string(b.Get(metaMesh)), whole: b.Get(metaWhole) != nil}
	if _, err := events.ParseRevision(m.id + "-0"); err != nil {
		return meta{}, damageError{fmt.Errorf("its id is %.64q", m.id)}
	}
	if !m.whole {
		return m, nil
	}
	last, err := readNumber(b.Get(metaLast))
	size, err2 := readNumber(b.Get(metaBytes))
	if err := errors.Join(err, err2); err != nil {
		return meta{}, damageError{err}
	}
	m.last, m.bytes = last, int64(size)
	return m, nil
}

// writeMeta writes all that changes.
func writeMeta(tx *bbolt.Tx, m meta) error {
	b := tx.Bucket(bucketMeta)
	return errors.Join(
		b.Put(metaMesh, []byte(m.mesh)), b.Put(metaLast, number(m.last)),
		b.Put(metaBytes, number(uint64(m.bytes))), b.Put(metaWhole, []byte{1}),
	)
}

func number(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

func readNumber(b []byte) (uint64, error) {
	if len(b) != 8 {
		return 0, fmt.Errorf("%x is no number of 8 bytes", b)
	}
	return binary.BigEndian.Uint64(b), nil
}

// decodeEvent reads an event as it is stored.
func decodeEvent(b []byte) (*api.WatchResponse, error) {
	m := &api.WatchResponse{}
	if err := proto.Unmarshal(b, m); err != nil {
		return nil, err
	}
	if events.ObjectOf(m) == "" || m.GetEvent() == "" || m.GetType() == "" || m.GetTime().CheckValid() != nil {
		return nil, errors.New("it is no event")
	}
	m.Revision = ""
	return m, nil
}

// decodeObject reads an object as it is stored.
func decodeObject(b []byte) (*api.WatchResponse, error) {
	m := &api.WatchResponse{}
	if err := proto.Unmarshal(b, m); err != nil {
		return nil, err
	}
	if events.ObjectOf(m) == "" {
		return nil, errors.New("it is no object")
	}
	return &api.WatchResponse{Object: m.GetObject()}, nil
}
