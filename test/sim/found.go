package sim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"go.etcd.io/bbolt"
	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"

	"edgenet.dev/edgenet/internal/records"
	"edgenet.dev/edgenet/pkg/mesh"
	"edgenet.dev/edgenet/test/sim/wan"
)

// The parts of a node's database that are copied (docs/mesh.md, Files).
const databaseName = "mesh.db"

var (
	bucketRecords = []byte("records")
	bucketMeta    = []byte("meta")
)

// found makes the mesh: the first node is its authority, the others join it, each
// makes its endpoints, and then each gets the records of all, as if it had
// synchronized and stopped.
func (w *World) found(ctx context.Context) error {
	quick := wan.New(wan.Config{}) // Joining is not what is measured.
	first := w.nodes[0]
	m, err := mesh.Open(first.config(quick.Host(first.host.Addr())))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	select {
	case <-m.Ready(): // Before, a mesh is made that nobody serves yet.
	case err := <-done:
		return errors.Join(err, m.Close())
	}
	if err = m.Init(ctx); err == nil {
		err = first.furnish(ctx, m)
	}
	authorities := max(1, w.cfg.Authorities)
	if err == nil {
		err = w.admit(ctx, m, quick, w.nodes[1:authorities], mesh.RoleAuthority)
	}
	if err == nil {
		err = w.admit(ctx, m, quick, w.nodes[authorities:], mesh.RoleEdge)
	}
	id, _ := m.MeshID()
	cancel()
	if err = errors.Join(err, <-done, m.Close()); err != nil {
		return err
	}
	return w.share(id)
}

// admit has nodes join with a role, by a token of the authority's.
func (w *World) admit(ctx context.Context, authority *mesh.Mesh, network *wan.Network, nodes []*node, role mesh.Role) error {
	if len(nodes) == 0 {
		return nil
	}
	token, _, err := authority.CreateToken(mesh.TokenRequest{TTL: 24 * time.Hour, Uses: len(nodes), Roles: []mesh.Role{role}})
	if err != nil {
		return err
	}
	for _, n := range nodes {
		if err := n.join(ctx, network, token); err != nil {
			return err
		}
	}
	return nil
}

// join makes a node a member.
func (n *node) join(ctx context.Context, network *wan.Network, token string) error {
	m, err := mesh.Open(n.config(network.Host(n.host.Addr())))
	if err != nil {
		return err
	}
	if err = m.Join(ctx, token); err == nil {
		err = n.furnish(ctx, m)
	}
	return errors.Join(err, m.Close())
}

// furnish makes the endpoints of a node.
func (n *node) furnish(ctx context.Context, m *mesh.Mesh) error {
	n.id = m.Self().ID
	var recs []mesh.Record
	for i := n.index; i < n.world.cfg.Endpoints; i += n.world.cfg.Nodes {
		key := fmt.Sprintf("%s/%d/e%05d", n.id, 1+i%1000, i)
		n.endpoints = append(n.endpoints, key)
		payload, err := payload(i, m.Now())
		if err != nil {
			return err
		}
		recs = append(recs, mesh.Record{Kind: mesh.KindEndpoint, Key: key, Payload: payload})
	}
	return m.PutAll(ctx, recs)
}

// payload is what an endpoint is like whose address was claimed at a version.
func payload(i int, claim mesh.Version) ([]byte, error) {
	return proto.Marshal(&records.Endpoint{
		Ip: fmt.Sprintf("172.16.%d.%d", i>>8&255, i&255), Mac: fmt.Sprintf("02:00:00:00:%02x:%02x", i>>8&255, i&255),
		Groups: []string{"web", "monitored"}, Kind: records.KindNetns,
		Netns: fmt.Sprintf("/run/netns/%08x", i), Ifname: "eth0", Claim: uint64(claim), AttachedMs: claim.Time().UnixMilli(),
	})
}

// row is a key and a value of a database.
type row struct{ key, value []byte }

// share gives every node of a mesh the records of all.
func (w *World) share(id mesh.ID) error {
	all, meta, err := w.collect()
	if err != nil {
		return err
	}
	if w.shared == nil {
		return w.copy(all, meta)
	}
	before := memory()
	for _, r := range all {
		if err := w.shared.Add(id, r.value); err != nil {
			return err
		}
	}
	w.lent = memory() - before
	runtime.KeepAlive(all) // Or it would count as gone.
	return nil
}

// collect returns each node's own records together, in order, and what else each
// has.
func (w *World) collect() (all []row, meta [][]row, err error) {
	meta = make([][]row, len(w.nodes))
	for i, n := range w.nodes {
		db, err := openDatabase(n.dir)
		if err != nil {
			return nil, nil, err
		}
		err = db.View(func(tx *bbolt.Tx) error {
			meta[i] = rows(tx.Bucket(bucketMeta), func(string) bool { return true })
			all = append(all, rows(tx.Bucket(bucketRecords), func(key string) bool {
				_, key, _ = strings.Cut(key, "\x00")
				return strings.HasPrefix(key, string(n.id))
			})...)
			return nil
		})
		if err = errors.Join(err, db.Close()); err != nil {
			return nil, nil, err
		}
	}
	slices.SortFunc(all, func(a, b row) int { return bytes.Compare(a.key, b.key) })
	return all, meta, nil
}

// copy puts all records into every node's database: a file that has them is
// copied, and what is a node's own, its membership and its clock, is put into the
// copy.
func (w *World) copy(all []row, meta [][]row) error {
	authority := w.nodes[0].dir // Its tokens and members are its own.
	if err := fill(authority, bucketRecords, all); err != nil {
		return err
	}
	if len(w.nodes) == 1 {
		return nil
	}
	full := w.nodes[1].dir
	if err := fill(full, bucketRecords, all); err != nil {
		return err
	}
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i := 2; i < len(w.nodes); i++ {
		group.Go(func() error {
			dir := w.nodes[i].dir
			if err := copyFile(filepath.Join(dir, databaseName), filepath.Join(full, databaseName)); err != nil {
				return err
			}
			return fill(dir, bucketMeta, meta[i])
		})
	}
	return group.Wait()
}

func openDatabase(dir string) (*bbolt.DB, error) {
	return bbolt.Open(filepath.Join(dir, databaseName), 0o600, &bbolt.Options{Timeout: time.Second, NoSync: true})
}

// rows returns what a bucket has under some keys.
func rows(b *bbolt.Bucket, want func(key string) bool) []row {
	var out []row
	for k, v := range each(b) {
		if want(string(k)) {
			out = append(out, row{slices.Clone(k), slices.Clone(v)})
		}
	}
	return out
}

// each goes over a bucket in the order of its keys.
func each(b *bbolt.Bucket) func(yield func(k, v []byte) bool) {
	return func(yield func(k, v []byte) bool) {
		c := b.Cursor()
		for k, v := c.First(); k != nil; k, v = c.Next() {
			if !yield(k, v) {
				return
			}
		}
	}
}

// fill puts rows into a bucket of a node's database.
func fill(dir string, bucket []byte, rows []row) error {
	db, err := openDatabase(dir)
	if err != nil {
		return err
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		for _, r := range rows {
			if err := tx.Bucket(bucket).Put(r.key, r.value); err != nil {
				return err
			}
		}
		return nil
	})
	return errors.Join(err, db.Close())
}

func copyFile(to, from string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
