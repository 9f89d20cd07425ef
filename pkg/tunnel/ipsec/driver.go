package ipsec

import (
	"context"
	"fmt"
	"hash/crc32"
	"log/slog"
	"time"

	"github.com/strongswan/govici/vici"
	"github.com/vishvananda/netlink"

	"edgenet.dev/edgenet/pkg/tunnel"
	"edgenet.dev/edgenet/pkg/tunnel/internal/device"
	"edgenet.dev/edgenet/pkg/tunnel/internal/proc"
)

// Alias marks the devices that the drivers of this package made.
const Alias = "edgenet:ipsec"

// driver is a tunnel.Driver. It keeps no truth of its own: what it remembers
// between calls only saves work, or tells a changed wish from a learned address
// and a new attempt from one that goes on.
type driver struct {
	cfg Config
	log *slog.Logger
	now func() time.Time
	// dir is charon's directory.
	dir string
	// device is as wanted last; its name is empty before the first Up.
	device tunnel.Device
	// silence is charon's.
	silence proc.Silence
	// mute is true when it has left a request without an answer since the last Up.
	mute bool
	// right is the device as the last Up left it; zero if that did not go well.
	right device.Right
	// ifID is the xfrm interface's; 0 for KindUserspace.
	ifID uint32
	// pid of the charon that was seen last, so that it can be reaped if it is a
	// child; 0 is none.
	pid int
	// replaced is true when nothing of the other kind is left.
	replaced bool
	// keyed is true when that charon has the private key.
	keyed bool
	// started is when this driver started it; zero when it was adopted. met is when it
	// started or adopted it.
	started   time.Time
	met       time.Time
	seen      *snapshot
	lastReqID uint32
	// waited is how often the TUN's token bucket had stopped packets.
	waited  uint32
	traffic traffic
	ages    ages
	// refused is shared with Watch.
	refused refusals
	// moved are IKE SAs that lead to an endpoint that is wanted no more, or by which the
	// peer does not answer; renewed is when it last was found not to.
	moved   map[tunnel.PublicKey]map[uint32]bool
	renewed map[tunnel.PublicKey]time.Time
	// asked are the peers as this charon was told of them last; served are the
	// SAs by which packets to a peer could go when it was put last.
	asked  map[tunnel.PublicKey]tunnel.Peer
	served map[tunnel.PublicKey]map[saID]bool
	// alone is since when a peer has no SA, tried when the last attempt began.
	alone, tried map[tunnel.PublicKey]time.Time
	// slumbers is since when a peer that rests has no child SA, woken when it was last
	// to be awake.
	slumbers, woken map[tunnel.PublicKey]time.Time
}

var _ tunnel.Watcher = (*driver)(nil)

// New returns a driver. It touches nothing before Up.
func New(cfg Config) (tunnel.Driver, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("configure ipsec: %w", err)
	}
	return newDriver(cfg), nil
}

func newDriver(cfg Config) *driver {
	return &driver{
		cfg:     cfg,
		log:     cfg.Logger,
		now:     cfg.Now,
		dir:     directory(cfg.RunDir, cfg.Device),
		traffic: make(traffic),
		ages:    make(ages),
		moved:   make(map[tunnel.PublicKey]map[uint32]bool),
		renewed: make(map[tunnel.PublicKey]time.Time),
		asked:   make(map[tunnel.PublicKey]tunnel.Peer),
		served:  make(map[tunnel.PublicKey]map[saID]bool),
		alone:   make(map[tunnel.PublicKey]time.Time),
		tried:   make(map[tunnel.PublicKey]time.Time),

		slumbers: make(map[tunnel.PublicKey]time.Time),
		woken:    make(map[tunnel.PublicKey]time.Time),
	}
}

// Name implements tunnel.Driver.
func (d *driver) Name() string {
	if d.cfg.Kind == KindKernel {
		return NameKernel
	}
	return NameUserspace
}

// local is this node's half of its peers' configuration.
func (d *driver) local() local {
	return local{key: d.cfg.Key.Public(), device: d.device, ifID: d.ifID, lifetimes: d.cfg.Lifetimes}
}

// Up implements tunnel.Driver. For KindUserspace the device's name is charon's
// choice, and its MTU at most 1400.
func (d *driver) Up(ctx context.Context, want tunnel.Device) (tunnel.Device, error) {
	if err := device.Validate(want); err != nil {
		return tunnel.Device{}, fmt.Errorf("bring up tunnel: %w", err)
	}
	if want.Name != d.cfg.Device {
		return tunnel.Device{}, fmt.Errorf("bring up tunnel: the driver is one of device %s, not %s", d.cfg.Device, want.Name)
	}
	want.Index, d.mute = 0, false
	if d.device != want {
		d.device, d.seen = want, nil
	}
	got, err := d.right.Make(d.log, want, func(mended *device.Mended) (tunnel.Device, error) { return d.up(ctx, want, mended) })
	if err != nil {
		return tunnel.Device{}, fmt.Errorf("bring up tunnel %s: %w", want.Name, err)
	}
	return got, nil
}

func (d *driver) up(ctx context.Context, want tunnel.Device, mended *device.Mended) (tunnel.Device, error) {
	// Before the device: there is no moment in which the mesh's addresses
	// follow the default route.
	if err := device.EnsureUnreachable(want.Mesh, mended); err != nil {
		return want, err
	}
	link, err := d.ensureDevice(ctx, want, mended)
	if err != nil {
		return want, err
	}
	want.Name, want.Index = link.Attrs().Name, link.Attrs().Index
	if d.cfg.Kind == KindUserspace {
		want.MTU = min(want.MTU, maxTUNMTU)
	}
	if err := device.EnsureIPv6(want.Name, mended); err != nil {
		return want, err
	}
	if err := device.EnsureAttributes(link, Alias, want.MTU, mended); err != nil {
		return want, err
	}
	if err := d.ensureOwn(ctx, link, mended); err != nil {
		return want, err
	}
	if err := device.EnsureUp(link, mended); err != nil {
		return want, err
	}
	if err := device.EnsureAddress(link, want.Address, mended); err != nil {
		return want, err
	}
	if err := device.EnsureRoutes(link, want.Mesh, want.Metric, mended); err != nil {
		return want, err
	}
	return want, d.ensureKey(ctx)
}

// ensureOwn makes right what only devices of the kind have.
func (d *driver) ensureOwn(ctx context.Context, link netlink.Link, mended *device.Mended) error {
	if d.cfg.Kind == KindUserspace {
		return d.ensureBound(ctx, link, mended)
	}
	return ensureNoGRO(link.Attrs().Name, mended)
}

// ensureDevice returns the link of a device that exists and whose charon runs.
func (d *driver) ensureDevice(ctx context.Context, want tunnel.Device, mended *device.Mended) (netlink.Link, error) {
	if err := d.replaceOther(ctx); err != nil {
		return nil, err
	}
	var link netlink.Link
	var err error
	if d.cfg.Kind == KindKernel { // which charon is told of
		if link, err = d.ensureInterface(want, mended); err != nil {
			return nil, err
		}
	}
	p, err := d.ensureCharon(ctx, want, mended)
	if err != nil {
		return nil, err
	}
	defer p.Close()
	if d.cfg.Kind == KindUserspace {
		return ensureTUN(p.PID)
	}
	return link, nil
}

// ensureKey hands charon the private key, which it keeps in memory alone.
func (d *driver) ensureKey(ctx context.Context) error {
	if d.keyed {
		return nil
	}
	text, err := d.cfg.Key.pem()
	if err != nil {
		return err
	}
	m, err := vici.MarshalMessage(map[string]string{"type": "any", "data": text})
	if err != nil {
		return fmt.Errorf("encode private key: %w", err)
	}
	if err := d.request(ctx, "load-key", m); err != nil {
		return err
	}
	d.keyed = true
	return nil
}

// Down implements tunnel.Driver.
func (d *driver) Down(ctx context.Context) error {
	if err := d.down(ctx); err != nil {
		return fmt.Errorf("take down tunnel %s: %w", d.cfg.Device, err)
	}
	return nil
}

func (d *driver) down(ctx context.Context) error {
	if err := d.endCharon(ctx); err != nil {
		return err
	}
	mesh := d.device.Mesh
	if d.cfg.Kind == KindKernel {
		routed, err := deleteInterface(d.cfg.Device, d.ifID)
		if err != nil {
			return err
		}
		if !mesh.IsValid() {
			mesh = routed
		}
	} else if err := removeRules(); err != nil {
		return err
	}
	d.device, d.right = tunnel.Device{}, device.Right{}
	d.begunAnew()
	clear(d.traffic)
	// Last: until here nothing could leave in clear.
	return device.RemoveUnreachable(mesh)
}

// begunAnew forgets what is true of a charon, because there is another, or none.
func (d *driver) begunAnew() {
	d.seen, d.keyed = nil, false
	clear(d.moved)
	clear(d.renewed)
	clear(d.asked)
	clear(d.served)
	clear(d.alone)
	clear(d.tried)
	clear(d.slumbers)
	clear(d.woken)
}

// interfaceID follows from the device's name, so that a driver that adopts knows
// what is its own.
func interfaceID(name string) uint32 {
	return max(crc32.ChecksumIEEE([]byte(name)), 1)
}
