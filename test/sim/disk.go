package sim

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"go.etcd.io/bbolt"
	"google.golang.org/protobuf/encoding/protowire"

	"edgenet.dev/edgenet/pkg/mesh"
)

// state is what a database has of a record.
type state struct {
	node     mesh.NodeID
	version  mesh.Version
	deleted  bool
	payload  []byte
	envelope []byte
}

func (s state) equal(o state) bool { return bytes.Equal(s.envelope, o.envelope) }

// disk returns the file of a node's database. Nothing may be writing to it.
func (n *node) disk() ([]byte, error) { return os.ReadFile(filepath.Join(n.dir, databaseName)) }

// replace makes a file the node's database. The node must not run.
func (n *node) replace(disk []byte) error {
	return os.WriteFile(filepath.Join(n.dir, databaseName), disk, 0o600)
}

// onDisk returns what a node has written down of all records, tombstones too.
func (n *node) onDisk() (out map[ref]state, err error) {
	file, err := n.disk()
	if err != nil {
		return nil, err
	}
	copied := filepath.Join(n.dir, "copy.db") // The database itself is in use.
	if err := os.WriteFile(copied, file, 0o600); err != nil {
		return nil, err
	}
	db, err := bbolt.Open(copied, 0o600, &bbolt.Options{ReadOnly: true})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close(), os.Remove(copied)) }()
	out = make(map[ref]state)
	err = db.View(func(tx *bbolt.Tx) error {
		for k, v := range each(tx.Bucket(bucketRecords)) {
			kind, key, _ := strings.Cut(string(k), "\x00")
			s, err := parseState(v)
			if err != nil {
				return fmt.Errorf("read record %q of %s: %w", k, name(n.index), err)
			}
			out[ref{mesh.Kind(kind), key}] = s
		}
		return nil
	})
	return out, err
}

// errState says that a record on disk is none.
var errState = errors.New("not a record")

// parseState takes an envelope apart (pkg/mesh/internal/wire/mesh.proto), which
// the mesh has verified.
func parseState(envelope []byte) (state, error) {
	s := state{envelope: bytes.Clone(envelope)}
	outer, err := fields(envelope)
	if err != nil {
		return s, err
	}
	body, err := fields(outer[1])
	if err != nil {
		return s, err
	}
	if len(body[3]) != 8 {
		return s, errState
	}
	s.version = mesh.Version(binary.LittleEndian.Uint64(body[3]))
	s.node = mesh.NodeID(fmt.Sprintf("%x", body[4]))
	s.deleted = len(body[5]) > 0
	s.payload = bytes.Clone(body[6])
	return s, nil
}

// fields returns the fields of a message: the content of bytes, the encoding of
// all else.
func fields(b []byte) (map[protowire.Number][]byte, error) {
	out := make(map[protowire.Number][]byte)
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return nil, errState
		}
		b = b[n:]
		if n = protowire.ConsumeFieldValue(number, kind, b); n < 0 {
			return nil, errState
		}
		if out[number] = b[:n]; kind == protowire.BytesType {
			out[number], _ = protowire.ConsumeBytes(b)
		}
		b = b[n:]
	}
	return out, nil
}

// metaTransaction is where a meta page of a database has the number of the
// transaction that it is of (bbolt's internal/common: page and Meta); a database
// begins with two, and a transaction writes one of them last.
const metaTransaction = 64

// torn returns a database whose last transaction was cut short when all but its
// meta page was written. It tells whether there was exactly one between the two
// files: pages that one transaction frees the next may write over.
func torn(before, after []byte) ([]byte, bool) {
	if lastTransaction(after) != lastTransaction(before)+1 || len(after) < len(before) {
		return nil, false
	}
	metas := 2 * os.Getpagesize()
	return append(bytes.Clone(before[:metas]), after[metas:]...), true
}

// lastTransaction returns the number of that which a database was last written by.
func lastTransaction(disk []byte) uint64 {
	second := os.Getpagesize() + metaTransaction
	return max(
		binary.LittleEndian.Uint64(disk[metaTransaction:]),
		binary.LittleEndian.Uint64(disk[second:]),
	)
}
