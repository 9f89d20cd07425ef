package isolation

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// ErrFormat says that a datapath is running here that this program does not
// understand. It goes with [Datapath.Remove] of the program that made it, or
// with its devices.
var ErrFormat = errors.New("a datapath of another format is running")

// Config says how to open a datapath.
type Config struct {
	// Logger is told of changes. Nil means none.
	Logger *slog.Logger
	// MeshPrefix is the mesh's /24. It contains NodePrefix.
	MeshPrefix netip.Prefix
	// NodePrefix is this node's own /64.
	NodePrefix netip.Prefix
	// MaxEndpoints, MaxAddresses, MaxFlows and MaxVerdicts are the sizes of the
	// tables; 0 means 8,192, 131,072, 262,144 and 262,144. A datapath that is
	// adopted keeps the sizes that it was made with.
	MaxEndpoints, MaxAddresses, MaxFlows, MaxVerdicts int
	// FlowTimeouts says how long a flow that is silent is kept, for states that
	// shall not have the default's: see [DefaultFlowTimeouts].
	FlowTimeouts map[FlowState]time.Duration
	// Attach says by what programs are attached.
	Attach Mode

	// kernelTypes are the kernel's types. Only tests set them: nil means those
	// of the kernel that runs.
	kernelTypes *btf.Spec
}

// maxEndpoints is what fits beside a reason in what a program says of a drop.
const maxEndpoints = 1<<16 - 1

// Datapath is what runs in the kernel. It is safe for concurrent use.
type Datapath struct {
	cfg  Config
	log  *slog.Logger
	now  func() time.Time
	nl   *netlink.Handle
	maps *edgenetMaps
	// deletions are of devices; it has a lock of its own.
	deletions *deletions
	// hook is for tunnels, taps and devices.
	hook, vethHook hook
	// inode is of the network namespace that all of this is in.
	inode uint64

	fromEndpoint, fromTunnel *ebpf.Program
	programIDs               map[*ebpf.Program]ebpf.ProgramID

	mu     sync.Mutex
	tables *tables
	// flowsMu is for those who walk over the flows, which takes long. It is
	// taken before mu.
	flowsMu sync.Mutex
	budgets *budgets
	traceMu sync.Mutex

	watchers watchers
	uses     uses

	// attached are the devices with a program of edgenet's, by index. On the
	// true ones there may be more than one, of another process.
	attached map[int]bool
	// checked has what was last seen to be right of each endpoint's wiring.
	checked map[Key]checked
	// filled is what the tables were last made from, by VNI.
	filled map[uint32]filled
	// last is what the last call found and left, for Change to go on from.
	last seen
}

// Open adopts the datapath that runs in this network namespace, or loads one. It
// changes nothing that is in force: [Datapath.Apply] does.
func Open(ctx context.Context, cfg Config) (*Datapath, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("open datapath: %w", err)
	}
	nl, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	deletions, err := openDeletions(cfg.Logger)
	if err != nil {
		nl.Close()
		return nil, err
	}
	d := &Datapath{
		deletions: deletions, cfg: cfg, log: cfg.Logger, now: time.Now, nl: nl,
		maps: &edgenetMaps{}, attached: make(map[int]bool), checked: make(map[Key]checked),
	}
	if err := d.open(); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

func (d *Datapath) open() error {
	var err error
	if d.inode, err = hostInode(); err != nil {
		return err
	}
	if err := d.chooseHooks(); err != nil {
		return err
	}
	if err := d.load(); err != nil {
		return err
	}
	if err := d.readIDs(); err != nil {
		return err
	}
	tables, err := openTables(d.maps)
	if err != nil {
		return err
	}
	d.tables = tables
	if d.budgets, err = openBudgets(d.maps.Budgets); err != nil {
		return err
	}
	// Whoever watched is gone.
	atomic.StoreUint32(&d.tables.state.Watched, 0)
	return d.tables.setTimeouts(d.cfg.FlowTimeouts)
}

// readIDs asks for the programs' ids once: they are compared often.
func (d *Datapath) readIDs() error {
	d.programIDs = make(map[*ebpf.Program]ebpf.ProgramID)
	for _, p := range []*ebpf.Program{d.fromEndpoint, d.fromTunnel} {
		info, err := p.Info()
		if err != nil {
			return fmt.Errorf("read program: %w", err)
		}
		d.programIDs[p], _ = info.ID()
	}
	return nil
}

// complete checks the configuration and fills in what was left out.
func (c *Config) complete() error {
	if !c.NodePrefix.IsValid() || !c.NodePrefix.Addr().Is6() || c.NodePrefix.Bits() != 64 {
		return fmt.Errorf("node prefix %v is not an IPv6 /64", c.NodePrefix)
	}
	c.NodePrefix = c.NodePrefix.Masked()
	if !c.MeshPrefix.IsValid() || c.MeshPrefix.Bits() != 24 || !c.MeshPrefix.Overlaps(c.NodePrefix) {
		return fmt.Errorf("mesh prefix %v is not a /24 that contains %v", c.MeshPrefix, c.NodePrefix)
	}
	if err := CheckFlowTimeouts(c.FlowTimeouts); err != nil {
		return err
	}
	if c.MaxEndpoints > maxEndpoints {
		return fmt.Errorf("there can be no more than %d endpoints", maxEndpoints)
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	for size, standard := range map[*int]int{
		&c.MaxEndpoints: 8192, &c.MaxAddresses: 131072, &c.MaxFlows: 262144, &c.MaxVerdicts: 131072,
	} {
		if *size < 0 {
			return errors.New("a table's size is negative")
		}
		if *size == 0 {
			*size = standard
		}
	}
	return nil
}

// Close lets go of the datapath, and leaves all of it in force.
func (d *Datapath) Close() error {
	d.endWatches()
	d.traceMu.Lock()
	defer d.traceMu.Unlock()
	d.flowsMu.Lock()
	defer d.flowsMu.Unlock()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.deletions.close()
	var errs []error
	if d.budgets != nil {
		errs = append(errs, d.budgets.close())
		d.budgets = nil
	}
	if d.tables != nil {
		errs = append(errs, d.tables.close())
		d.tables = nil
	}
	if d.maps != nil {
		errs = append(errs, d.maps.Close())
	}
	for _, p := range []*ebpf.Program{d.fromEndpoint, d.fromTunnel} {
		if p != nil {
			errs = append(errs, p.Close())
		}
	}
	if d.nl != nil {
		d.nl.Close()
		d.nl = nil
	}
	return errors.Join(errs...)
}
