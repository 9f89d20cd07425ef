package wireguard

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"

	"edgenet.dev/edgenet/pkg/tunnel"
	"edgenet.dev/edgenet/pkg/tunnel/internal/device"
	"edgenet.dev/edgenet/pkg/tunnel/internal/proc"
)

// Names of the drivers in the API.
const (
	NameKernel    = "wireguard-kernel"
	NameUserspace = "wireguard-userspace"
	// NameUndecided is a driver's whose kind is KindAuto before its first Up.
	NameUndecided = "wireguard"
)

// driver is a tunnel.Driver. It keeps no truth of its own: what it remembers
// between calls only saves work or, for wanted, tells a changed wish from a
// learned address.
type driver struct {
	cfg  Config
	log  *slog.Logger
	now  func() time.Time
	kind Kind // as found or made by Up; KindAuto before
	name string
	mesh netip.Prefix
	// wanted is the endpoint that was asked for last, by peer.
	wanted map[tunnel.PublicKey]netip.AddrPort
	seen   *snapshot
	// pid of the userspace process that was seen last, so that it can be reaped
	// if it is a child; 0 is none.
	pid int
	// right is the device as the last Up left it; zero if that did not go well.
	right device.Right
	// asked are the peers as this device, and this process, were given them last.
	asked map[tunnel.PublicKey]tunnel.Peer
	// hung is closed when a call that outlasted its deadline returns; nil when
	// there is none.
	hung <-chan struct{}
	// silence is that of the userspace process.
	silence proc.Silence
}

// New returns a driver. It touches nothing before Up.
func New(cfg Config) (tunnel.Driver, error) {
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("configure wireguard: %w", err)
	}
	d := &driver{
		cfg:    cfg,
		log:    cfg.Logger,
		now:    cfg.Now,
		kind:   cfg.Kind,
		name:   cfg.Device,
		wanted: make(map[tunnel.PublicKey]netip.AddrPort),
		asked:  make(map[tunnel.PublicKey]tunnel.Peer),
	}
	if d.now == nil {
		d.now = time.Now
	}
	return d, nil
}

// Name implements tunnel.Driver. With KindAuto it is NameUndecided before Up.
func (d *driver) Name() string {
	switch d.kind {
	case KindKernel:
		return NameKernel
	case KindUserspace:
		return NameUserspace
	case KindAuto:
	}
	return NameUndecided
}

// Up implements tunnel.Driver.
func (d *driver) Up(ctx context.Context, want tunnel.Device) (tunnel.Device, error) {
	if err := device.Validate(want); err != nil {
		return tunnel.Device{}, fmt.Errorf("bring up tunnel: %w", err)
	}
	d.name, d.mesh = want.Name, want.Mesh
	want.Index = 0
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
	want.Index = link.Attrs().Index
	if err := device.EnsureIPv6(want.Name, mended); err != nil {
		return want, err
	}
	if err := device.EnsureAttributes(link, Alias, want.MTU, mended); err != nil {
		return want, err
	}
	if err := d.ensureCrypto(ctx, want, mended); err != nil {
		return want, err
	}
	if err := device.EnsureUp(link, mended); err != nil {
		return want, err
	}
	if err := device.EnsureAddress(link, want.Address, mended); err != nil {
		return want, err
	}
	return want, device.EnsureRoutes(link, want.Mesh, want.Metric, mended)
}

// ensureDevice returns the link of a device that exists and is served.
func (d *driver) ensureDevice(ctx context.Context, want tunnel.Device, mended *device.Mended) (netlink.Link, error) {
	link, err := d.findOwn(ctx, want.Name)
	if err != nil {
		return nil, err
	}
	if link == nil {
		mended.Anew("the device was deleted")
		if err := d.create(ctx, want); err != nil {
			return nil, err
		}
	} else {
		kind, err := kindOf(link)
		if err != nil {
			return nil, err
		}
		d.kind = kind
		if kind == KindUserspace {
			if err := d.ensureProcess(ctx, want); err != nil {
				return nil, err
			}
		}
	}
	link, err = device.Find(want.Name)
	if err == nil && link == nil {
		err = errors.New("find device: it was deleted meanwhile")
	}
	return link, err
}

// findOwn returns the device if it is there and may stay.
func (d *driver) findOwn(ctx context.Context, name string) (netlink.Link, error) {
	link, err := device.Find(name)
	if err != nil || link == nil || d.cfg.Kind == KindAuto {
		return link, err
	}
	kind, err := kindOf(link)
	if err != nil || kind == d.cfg.Kind {
		return link, err
	}
	d.log.Warn("tunnel device is replaced: it must not be of this kind", "device", name, "kind", kind)
	return nil, d.removeDevice(ctx)
}

// create makes the device, the kernel's if it may be.
func (d *driver) create(ctx context.Context, want tunnel.Device) error {
	d.seen = nil
	clear(d.asked)
	if d.cfg.Kind != KindUserspace {
		err := createKernelLink(want)
		if err == nil {
			d.kind = KindKernel
			d.log.Info("tunnel device created", "device", want.Name, "driver", d.Name())
			return nil
		}
		if d.cfg.Kind == KindKernel || !errors.Is(err, tunnel.ErrUnsupported) {
			return err
		}
	}
	d.kind = KindUserspace
	return d.ensureProcess(ctx, want)
}

// Down implements tunnel.Driver.
func (d *driver) Down(ctx context.Context) error {
	if d.name == "" {
		return errors.New("take down tunnel: no device is named")
	}
	if err := d.down(ctx); err != nil {
		return fmt.Errorf("take down tunnel %s: %w", d.name, err)
	}
	return nil
}

func (d *driver) down(ctx context.Context) error {
	if err := d.removeDevice(ctx); err != nil {
		return err
	}
	if d.cfg.RunDir != "" {
		if err := d.removeLeftovers(ctx); err != nil {
			return err
		}
	}
	// Last: until here nothing could leave in clear.
	return device.RemoveUnreachable(d.mesh)
}

// removeDevice removes the device and its process.
func (d *driver) removeDevice(ctx context.Context) error {
	// Found first: it drops its socket before it has ended.
	p, err := findProcess(ctx, d.name)
	if err != nil {
		return err
	}
	if p != nil {
		defer p.Close()
	}
	if err := d.deleteDevice(); err != nil {
		return err
	}
	d.seen, d.right = nil, device.Right{}
	clear(d.wanted)
	clear(d.asked)
	if p != nil {
		if err := d.endOwn(ctx, p); err != nil {
			return err
		}
	}
	if d.pid != 0 { // it died before
		proc.Reap(ctx, d.pid)
		d.pid = 0
	}
	return nil
}

func (d *driver) deleteDevice() error {
	link, err := device.Find(d.name)
	if err != nil || link == nil {
		return err
	}
	if _, err := kindOf(link); err != nil {
		return err // a stranger's
	}
	if !d.mesh.IsValid() {
		d.mesh = device.RoutedMesh(link)
	}
	if err := netlink.LinkDel(link); err != nil && !device.IsNotFound(err) {
		return fmt.Errorf("delete device: %w", err)
	}
	d.log.Info("tunnel device deleted", "device", d.name, "driver", d.Name())
	return nil
}
