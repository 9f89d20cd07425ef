package mesh

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"edgenet.dev/edgenet/pkg/mesh/internal/wire"
)

// nodeKeyFile is the name of the node's private key in the state directory.
const nodeKeyFile = "node.key"

// sessionTimeout is how long Init and Join wait for Run to serve the mesh.
const sessionTimeout = 5 * time.Second

// Mesh is this node's part in a mesh. Its methods may be called by several
// goroutines.
type Mesh struct {
	cfg     Config
	log     *slog.Logger
	key     privateKey
	id      NodeID
	replica *replica
	pokes   pokes

	// change lets Init, Join and Leave happen one at a time.
	change sync.Mutex
	// trusting lets evictions and gossip keys be made one at a time.
	trusting sync.Mutex
	// signing lets the node's own record be made by one at a time.
	signing sync.Mutex

	mu sync.RWMutex
	// member is nil while in no mesh.
	member *member
	// session is nil while Run is not at work in a mesh.
	session *session
	// announcement is what was last set, if announced.
	announcement []byte
	announced    bool
	leaving      bool
	// active is true while Run is at work.
	active bool

	// joined is poked when member comes to be. Its capacity is 1.
	joined    chan struct{}
	ready     chan struct{}
	readyOnce sync.Once
	// running is held by Run.
	running sync.Mutex
	// closing ends Run.
	closing   chan struct{}
	closeOnce sync.Once
	// clockWrong is true while the time is not this node's own.
	clockWrong atomic.Bool
	// renewing is why the certificate could not be renewed, if it is due.
	renewing atomic.Pointer[error]
	// peers is how other nodes are called.
	peers *http.Transport
}

// member is what a node knows of the mesh that it is in. It is never changed, but
// replaced when the node gets another certificate.
type member struct {
	*trustAnchor
	self *credential
	// authority is nil on a node without the mesh's key.
	authority *authority
	// keys are the gossip keys, which change.
	keys  *keyring
	seeds []netip.AddrPort
}

// Open opens the state of this node, making its key at the first time. Errors
// say which path is wrong, and how it should be; a damaged key or database is
// never replaced.
func Open(cfg Config) (*Mesh, error) {
	if err := cfg.complete(); err != nil {
		return nil, fmt.Errorf("open mesh: %w", err)
	}
	if err := makeStateDir(cfg.StateDir); err != nil {
		return nil, fmt.Errorf("open mesh: %w", err)
	}
	db, err := openDatabase(cfg.StateDir)
	if err != nil {
		return nil, fmt.Errorf("open mesh: %w", err)
	}
	m := &Mesh{
		cfg: cfg, log: cfg.Logger,
		joined: make(chan struct{}, 1), ready: make(chan struct{}), closing: make(chan struct{}),
	}
	times := newPeerTime(cfg.now)
	m.replica = &replica{
		log: cfg.Logger, db: db, table: newTable(), clock: &hlc{wall: times.now}, now: times.now, times: times,
		validate: cfg.Validate, restamp: cfg.Restamp, shared: cfg.Shared,
		dirty: make(map[ref]struct{}), flush: make(chan struct{}, 1),
	}
	m.peers = m.newPeerTransport()
	if err := m.restore(); err != nil {
		return nil, errors.Join(fmt.Errorf("open mesh: %w", err), db.Close())
	}
	return m, nil
}

// restore takes up what is on disk.
func (m *Mesh) restore() error {
	stored, clock, records, err := m.replica.db.load()
	if err != nil {
		return err
	}
	m.replica.clock.observe(clock)
	m.replica.reserved = clock
	path := filepath.Join(m.cfg.StateDir, nodeKeyFile)
	read := readOrMakeKey
	if stored != nil {
		read = readKey // A member without its key must not become another node.
	}
	if m.key, err = read(path); err != nil {
		return fmt.Errorf("open node key: restore it from a backup, or move the state directory away and join anew: %w", err)
	}
	id, err := idOf(m.key.public())
	if err != nil {
		return err
	}
	m.id, m.replica.self = NodeID(id), NodeID(id)
	if stored == nil {
		return nil
	}
	in, err := m.newMember(stored)
	if err != nil {
		return fmt.Errorf("restore membership from %s: %w", m.replica.db.Path(), err)
	}
	if in.name() != m.cfg.Name {
		m.log.Warn("the certificate's node name is in force", "name", in.name(), "configured", m.cfg.Name)
	}
	m.member = in
	m.replica.begin(in.trustAnchor)
	return m.replica.restore(records)
}

// newMember takes apart what is known of a mesh, and checks that it is ours.
func (m *Mesh) newMember(stored *wire.Membership) (*member, error) {
	anchor, err := newTrustAnchor(stored.GetAuthority())
	if err != nil {
		return nil, err
	}
	self, err := parseCertificate(stored.GetCertificate(), anchor.mesh)
	if err != nil {
		return nil, err
	}
	if self.id != m.id {
		return nil, fmt.Errorf("the certificate is that of node %s, the key in %s is that of %s: restore the right key",
			self.id, filepath.Join(m.cfg.StateDir, nodeKeyFile), m.id)
	}
	in := &member{trustAnchor: anchor, self: self}
	if in.authority, err = openAuthority(m.cfg.StateDir, m.cfg.CertificateLife, anchor); err != nil {
		return nil, err
	}
	if in.keys, err = newKeyring(stored.GetGossipKeys()); err != nil {
		return nil, err
	}
	for _, s := range stored.GetSeeds() {
		seed, err := netip.ParseAddrPort(s)
		if err != nil {
			return nil, fmt.Errorf("parse seed: %w", err)
		}
		in.seeds = append(in.seeds, seed)
	}
	return in, nil
}

func (in *member) name() string { return in.self.name }

// current returns the membership, nil in no mesh.
func (m *Mesh) current() *member {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.member
}

// String names the task.
func (m *Mesh) String() string { return "mesh" }

// Ready is closed when Run serves the mesh, or waits for Init or Join.
func (m *Mesh) Ready() <-chan struct{} { return m.ready }

// MeshID returns the mesh that this node is in, and whether it is in one.
func (m *Mesh) MeshID() (ID, bool) {
	in := m.current()
	if in == nil {
		return "", false
	}
	return in.mesh, true
}

// MeshPrefix returns the prefix of all nodes, the zero Prefix in no mesh.
func (m *Mesh) MeshPrefix() netip.Prefix {
	id, _ := m.MeshID()
	return id.Prefix()
}

// Refusals returns how many records were not believed, by reason: malformed,
// oversize, unknown-kind, bad-key, wrong-author, unknown-author,
// future-version, bad-certificate, bad-signature, bad-payload, too-much, evicted; and, as
// refuted, how often a witness said wrongly that a node is silent.
func (m *Mesh) Refusals() map[string]uint64 { return m.replica.refusals.snapshot() }

// Subscribe returns a channel that is poked after every change of a record, a
// node or a node's state. A poke carries no data, and one may stand for many
// changes. cancel ends it.
func (m *Mesh) Subscribe() (changed <-chan struct{}, cancel func()) { return m.pokes.subscribe() }

// Close ends Run and closes the state. The mesh sees the node as dead, not as
// left.
func (m *Mesh) Close() error {
	m.closeOnce.Do(func() { close(m.closing) })
	m.running.Lock() // Until Run has ended.
	defer m.running.Unlock()
	m.peers.CloseIdleConnections()
	err := errors.Join(m.replica.flushAll(), m.replica.db.Close())
	if err != nil {
		return fmt.Errorf("close mesh: %w", err)
	}
	return nil
}

// Run takes part in the mesh until ctx ends, and then returns nil. In no mesh it
// waits for Init or Join. Its end says nothing to the mesh.
func (m *Mesh) Run(ctx context.Context) error {
	m.running.Lock()
	defer m.running.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := make(chan struct{})
	defer close(stop)
	m.setActive(true)
	defer m.setActive(false)
	go func() {
		select {
		case <-m.closing:
			cancel()
		case <-stop:
		}
	}()
	for {
		if in := m.current(); in != nil {
			if err := m.runSession(ctx, in); err != nil {
				return fmt.Errorf("run mesh: %w", err)
			}
		}
		if m.current() == nil {
			m.readyOnce.Do(func() { close(m.ready) })
		}
		select {
		case <-ctx.Done():
			return nil
		case <-m.joined:
		}
	}
}

// setActive notes whether Run is at work.
func (m *Mesh) setActive(active bool) {
	m.mu.Lock()
	m.active = active
	m.mu.Unlock()
	m.pokes.poke()
}

// awaitSession waits until Run, if it is at work, serves the mesh: whoever has
// made a mesh wants the next node to find it. It gives up when ctx ends.
func (m *Mesh) awaitSession(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, sessionTimeout)
	defer cancel()
	changed, done := m.pokes.subscribe()
	defer done()
	for {
		m.mu.RLock()
		waiting := m.active && m.session == nil
		m.mu.RUnlock()
		if !waiting {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}
