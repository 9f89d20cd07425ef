package daemon

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"edgenet.dev/edgenet/internal/audit"
	"edgenet.dev/edgenet/internal/config"
	"edgenet.dev/edgenet/internal/eventlog"
	"edgenet.dev/edgenet/internal/records"
	"edgenet.dev/edgenet/internal/version"
	"edgenet.dev/edgenet/pkg/mesh"
)

// eventsFile is the log of events in the state directory, and in the run directory while
// it cannot be there.
const eventsFile = "events.db"

// Daemon is edgenetd without its sockets: what the control API calls.
type Daemon struct {
	cfg     config.Config
	log     *slog.Logger
	mesh    *mesh.Mesh
	tunnels *tunnels
	// rotation replaces the key of the tunnels.
	rotation *rotation
	network  *network
	changes  *changes
	started  time.Time
	lock     *os.File
	audit    *audit.Log
	// events is what happened, and recorder what enters it there.
	events   *eventlog.Log
	recorder *recorder

	// membership serializes init, join and leave: each is several steps.
	membership sync.Mutex
	// changing serializes changes of VPCs and groups: each is a read and a
	// write.
	changing sync.Mutex
	// reading guards reader.
	reading sync.Mutex
	reader  reader
	tested  tested
	// reports is what others were told of how this node sees the mesh.
	reports reports
}

// New opens the state directory and takes the run directory. peers makes what
// serves other nodes' calls over the mesh. Nothing in the kernel is touched yet.
func New(cfg config.Config, kernel Kernel, peers func(*Daemon) http.Handler, log *slog.Logger) (*Daemon, error) {
	if err := makeRunDir(cfg.RunDir); err != nil {
		return nil, err
	}
	lock, err := lockRunDir(cfg.RunDir)
	if err != nil {
		return nil, err
	}
	if err := checkUnderlay(context.Background(), cfg); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	d := &Daemon{cfg: cfg, log: log, lock: lock, changes: newChanges(), started: time.Now(), audit: audit.Open(cfg.StateDir)}
	if err := d.open(kernel.complete(), peers(d)); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

func (d *Daemon) open(kernel Kernel, handler http.Handler) error {
	var err error
	links := make([]mesh.Link, 0, len(d.cfg.Underlay))
	for _, l := range d.cfg.Underlay {
		links = append(links, mesh.Link{Addr: l.Addr, Carrier: l.Carrier})
	}
	d.mesh, err = mesh.Open(mesh.Config{
		StateDir: d.cfg.StateDir,
		Name:     d.cfg.Name,
		Version:  version.Version,
		Links:    links,
		Profile:  d.cfg.MeshProfile,

		CertificateLife: d.cfg.CertificateLife,

		GossipPort:  d.cfg.GossipPort,
		PeerPort:    d.cfg.PeerPort,
		Logger:      d.log.With("part", "mesh"),
		Validate:    records.Validate,
		Restamp:     records.Restamp,
		PeerHandler: handler,
		Admitted:    d.noteAdmission,
	})
	if err != nil {
		return err
	}
	d.reader.mesh = d.mesh
	if err := d.openEvents(); err != nil {
		return err
	}
	opened := make(chan struct{})
	if err := d.openTunnels(kernel, opened); err != nil {
		return err
	}
	log := d.log.With("part", "network")
	d.network = &network{
		mesh:         d.mesh,
		tunnels:      d.tunnels,
		log:          log,
		trouble:      complaint{log: log, of: "datapath"},
		opened:       opened,
		openDatapath: kernel.Datapath,
		maxFlows:     d.cfg.MaxFlows,
		flowTimeouts: d.cfg.FlowTimeouts,
		tallies:      tallies{dir: d.cfg.RunDir},
		counting:     complaint{log: log, of: "what candidate rules count"},
		dirty:        make(chan struct{}, 1),
		heard:        newHeard(),
		passed: func() {
			poke(d.tunnels.dirty)
			d.changes.poke()
		},
		reader: reader{mesh: d.mesh, batches: newBatches(), doubted: new([]doubted)},
	}
	d.network.half.use(d.rotation.device.Upper())
	return nil
}

func (d *Daemon) openEvents() error {
	log := d.log.With("part", "events")
	var err error
	d.events, err = eventlog.Open(eventlog.Config{
		Path: filepath.Join(d.cfg.StateDir, eventsFile), Fallback: filepath.Join(d.cfg.RunDir, eventsFile), Logger: log,
	})
	if err != nil {
		return err
	}
	d.recorder = newRecorder(d.events, func() recorded {
		id, _ := d.mesh.MeshID()
		return recorded{mesh: string(id), nodes: d.ListNodes(), snapshot: d.snapshot()}
	}, &complaint{log: log, of: "event log"})
	return nil
}

func (d *Daemon) openTunnels(kernel Kernel, datapath <-chan struct{}) error {
	log := d.log.With("part", "tunnel")
	carriers, err := d.openCarriers(kernel, log)
	if err != nil {
		return err
	}
	sized := make(chan struct{}, 1)
	probes := func() *probing {
		return &probing{log: d.log.With("part", "probe"), changed: func() { poke(sized) }, via: kernel.Via}
	}
	for _, c := range carriers {
		c.proofs = probes()
	}
	d.tunnels = &tunnels{
		mesh:         d.mesh,
		links:        d.cfg.Underlay,
		carriers:     carriers,
		excluded:     d.excluded(),
		probes:       probes(),
		snapshot:     d.snapshot,
		lastUse:      func(node netip.Prefix) time.Time { return d.network.lastUse(node) },
		idle:         d.cfg.TunnelIdle,
		openHold:     kernel.Hold,
		held:         make(chan struct{}, 1),
		holding:      complaint{log: log, of: "device of waiting packets"},
		sized:        sized,
		listRoutes:   kernel.ListRoutes,
		ensureRoutes: kernel.EnsureRoutes,
		underlayMTU:  kernel.UnderlayMTU,
		adopted:      datapath,
		log:          log,
		trouble:      complaint{log: log, of: "tunnels"},
		dirty:        make(chan struct{}, 1),
		changed: func() {
			poke(d.network.dirty)
			d.changes.poke()
		},
	}
	d.rotation.tunnels = d.tunnels
	return nil
}

// Ready is closed when the mesh is served, or waited for.
func (d *Daemon) Ready() <-chan struct{} { return d.mesh.Ready() }

// Run keeps the host as the mesh's records say until ctx ends. Tunnels,
// endpoints and rules stay in force when it returns.
func (d *Daemon) Run(ctx context.Context) error {
	changed, cancel := d.mesh.Subscribe()
	defer cancel()
	happened, unsubscribe := d.changes.subscribe()
	defer unsubscribe()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return d.mesh.Run(ctx) })
	group.Go(func() error { return d.tunnels.run(ctx) })
	group.Go(func() error { return d.rotation.run(ctx) })
	group.Go(func() error { return d.network.run(ctx) })
	group.Go(func() error { return d.network.listen(ctx) })
	group.Go(func() error { return d.recorder.run(ctx, happened) })
	group.Go(func() error { return d.keepGrants(ctx) })
	group.Go(func() error {
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-changed:
				poke(d.tunnels.dirty)
				poke(d.network.dirty)
				d.changes.poke()
			}
		}
	})
	return group.Wait()
}

// Close releases files and locks. Call it after Run has returned.
func (d *Daemon) Close() error {
	var errs []error
	if d.network != nil {
		// A call that was under way may have opened it again after Run.
		errs = append(errs, d.network.close())
	}
	if d.tunnels != nil { // not before the last round, which leads there
		d.tunnels.round.Lock()
		d.tunnels.closeHold()
		d.tunnels.round.Unlock()
	}
	if d.events != nil {
		errs = append(errs, d.events.Close())
	}
	if d.mesh != nil {
		errs = append(errs, d.mesh.Close())
	}
	return errors.Join(append(errs, d.lock.Close())...)
}
