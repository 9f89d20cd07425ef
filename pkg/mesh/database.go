package mesh

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
	"google.golang.org/protobuf/proto"

	"edgenet.dev/edgenet/pkg/mesh/internal/wire"
)

// databaseFile is the name of the database in the state directory.
const databaseFile = "mesh.db"

// databaseTimeout is how long an open waits for another process to let go.
const databaseTimeout = time.Second

// The buckets of the database.
var (
	bucketMeta    = []byte("meta")    // membership, hlc
	bucketRecords = []byte("records") // kind\0key -> wire.Envelope
	bucketTokens  = []byte("tokens")  // token id -> wire.Grant (authority)
	bucketMembers = []byte("members") // node id -> wire.Member (authority)
)

// The keys of bucketMeta.
var (
	metaMembership = []byte("membership")
	metaClock      = []byte("hlc")
)

// database is the state on disk.
type database struct {
	*bbolt.DB
}

// openDatabase opens or makes the database in dir, and proves that it can be
// read and written.
func openDatabase(dir string) (db *database, err error) {
	path := filepath.Join(dir, databaseFile)
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer recoverCorruption(path, &err)
	if err := ensureDatabase(path); err != nil {
		return nil, err
	}
	b, err := bbolt.Open(path, 0o600, databaseOptions())
	switch {
	case errors.Is(err, berrors.ErrTimeout):
		return nil, fmt.Errorf("open database %s: another process has it open: stop the other edgenetd or give this one its own state directory", path)
	case isCorrupt(err):
		return nil, corruptDatabase(path, err)
	case err != nil:
		return nil, fmt.Errorf("open database %s: %w", path, err)
	}
	if err := checkLength(b); err != nil {
		return nil, errors.Join(corruptDatabase(path, err), b.Close())
	}
	db = &database{DB: b}
	err = b.Update(func(tx *bbolt.Tx) error {
		for _, name := range [][]byte{bucketMeta, bucketRecords, bucketTokens, bucketMembers} {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("write database %s: %w", path, err), b.Close())
	}
	return db, nil
}

func databaseOptions() *bbolt.Options {
	return &bbolt.Options{Timeout: databaseTimeout, FreelistType: bbolt.FreelistMapType}
}

// ensureDatabase makes an empty database where there is no file. It appears
// whole: an empty file, which bbolt would take for a new database, is damage.
func ensureDatabase(path string) error {
	info, err := os.Stat(path)
	switch {
	case err == nil && info.Size() == 0:
		return corruptDatabase(path, errors.New("it is empty"))
	case err == nil:
		return nil
	case !errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("open database: %w", err)
	}
	fresh := path + ".new"
	if err := os.Remove(fresh); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("make database %s: %w", path, err)
	}
	b, err := bbolt.Open(fresh, 0o600, databaseOptions())
	if err != nil {
		return fmt.Errorf("make database %s: %w", path, err)
	}
	if err := errors.Join(b.Sync(), b.Close(), os.Rename(fresh, path), syncDir(filepath.Dir(path))); err != nil {
		return fmt.Errorf("make database %s: %w", path, err)
	}
	return nil
}

// checkLength finds a file that was cut short. bbolt would only find out when it
// reads what is gone, or write over it.
func checkLength(b *bbolt.DB) error {
	info, err := os.Stat(b.Path())
	if err != nil {
		return err
	}
	return b.View(func(tx *bbolt.Tx) error {
		if tx.Size() > info.Size() {
			return fmt.Errorf("it is cut short: %d bytes of %d", info.Size(), tx.Size())
		}
		return nil
	})
}

// isCorrupt tells whether bbolt found a file that is not its own.
func isCorrupt(err error) bool {
	return errors.Is(err, berrors.ErrInvalid) || errors.Is(err, berrors.ErrChecksum) ||
		errors.Is(err, berrors.ErrVersionMismatch) || errors.Is(err, berrors.ErrInvalidMapping)
}

// corruptDatabase says what to do with a damaged database.
func corruptDatabase(path string, err error) error {
	return fmt.Errorf("open database %s: it is damaged: restore it from a backup, or move it away and join again: %w", path, err)
}

// recoverCorruption turns what a damaged database does to its reader, a panic
// or a fault in mapped memory, into an error.
func recoverCorruption(path string, err *error) {
	if r := recover(); r != nil {
		*err = corruptDatabase(path, fmt.Errorf("%v", r))
	}
}

// load reads everything a node knows. Damage shows here at the latest.
func (db *database) load() (m *wire.Membership, clock Version, records []*entry, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer recoverCorruption(db.Path(), &err)
	err = db.View(func(tx *bbolt.Tx) error {
		meta := tx.Bucket(bucketMeta)
		if b := meta.Get(metaClock); len(b) == 8 {
			clock = Version(binary.BigEndian.Uint64(b))
		}
		if b := meta.Get(metaMembership); b != nil {
			m = &wire.Membership{}
			if err := proto.Unmarshal(b, m); err != nil {
				return fmt.Errorf("decode membership: %w", err)
			}
		}
		return tx.Bucket(bucketRecords).ForEach(func(k, v []byte) error {
			var env wire.Envelope
			if err := wire.Unmarshal(v, &env); err != nil {
				return fmt.Errorf("decode record %q: %w", k, err)
			}
			e, err := newEntry(&env)
			if err != nil {
				return fmt.Errorf("decode record %q: %w", k, err)
			}
			records = append(records, e)
			return nil
		})
	})
	if err != nil {
		return nil, 0, nil, corruptDatabase(db.Path(), err)
	}
	return m, clock, records, nil
}

// putRecord writes an entry within a transaction.
func putRecord(tx *bbolt.Tx, e *entry) error {
	b, err := wire.Marshal(e.envelope())
	if err != nil {
		return err
	}
	return tx.Bucket(bucketRecords).Put(recordKey(e.ref()), b)
}

// recordKey is the key of a record in the database.
func recordKey(r ref) []byte { return []byte(string(r.kind) + "\x00" + r.key) }

// putClock writes the clock within a transaction.
func putClock(tx *bbolt.Tx, v Version) error {
	return tx.Bucket(bucketMeta).Put(metaClock, binary.BigEndian.AppendUint64(nil, uint64(v)))
}

// putMembership writes which mesh the node is in.
func putMembership(tx *bbolt.Tx, m *wire.Membership) error {
	b, err := wire.Marshal(m)
	if err != nil {
		return err
	}
	return tx.Bucket(bucketMeta).Put(metaMembership, b)
}

// forget drops all but the clock.
func (db *database) forget() error {
	err := db.Update(func(tx *bbolt.Tx) error {
		for _, name := range [][]byte{bucketRecords, bucketTokens, bucketMembers} {
			if err := tx.DeleteBucket(name); err != nil {
				return err
			}
			if _, err := tx.CreateBucket(name); err != nil {
				return err
			}
		}
		return tx.Bucket(bucketMeta).Delete(metaMembership)
	})
	if err != nil {
		return fmt.Errorf("write database %s: %w", db.Path(), err)
	}
	return nil
}

// makeStateDir makes the state directory and checks that it can be used.
func makeStateDir(dir string) error {
	if dir == "" {
		return errors.New("make state directory: no path is given")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make state directory %s: it must be a directory that edgenetd may read and write: %w", dir, err)
	}
	probe, err := os.CreateTemp(dir, ".probe-*")
	if err != nil {
		return fmt.Errorf("use state directory %s: it must be a directory that edgenetd may read and write: %w", dir, err)
	}
	_, err = probe.Write(make([]byte, 4096))
	if err = errors.Join(err, probe.Close(), os.Remove(probe.Name())); err != nil {
		return fmt.Errorf("use state directory %s: it must have room to write: %w", dir, err)
	}
	return nil
}
