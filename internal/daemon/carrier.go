package daemon

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"edgenet.dev/edgenet/pkg/tunnel"
)

// carrier is one technology that this node encrypts with: a driver and its
// device.
type carrier struct {
	technology tunnel.Technology
	driver     tunnel.Driver
	// key is what peers know this node by, next what they are to; zero if nothing.
	key, next tunnel.PublicKey
	// proof and nextProof are that these are this node's, if others want that.
	proof, nextProof []byte
	port             uint16
	// mtu is how large a packet into it may be over an underlay of some MTU.
	mtu func(underlay int, remote netip.Addr) int
	// room is the same, and less than IPv6 wants of a device where only cutting the
	// outer packets makes it so much. left is what this host's links leave of it.
	room func(underlay int, remote netip.Addr) int
	left int
	// name is the device's, as it is asked for.
	name string
	// metric is that of the mesh's route into the device; 0 is the kernel's default.
	metric int
	// probe says what the host lacks for it, if anything.
	probe func() error
	// retired is one that the operator excludes: it is not announced, and goes when
	// nobody is reached by it any more.
	retired bool
	// heir makes what takes its place, by the other driver of its technology; nil if
	// nothing does. leftSince is when nodes were first asked to go over to another
	// technology meanwhile; zero if they were not.
	heir      func() (*carrier, error)
	leftSince time.Time
	// proofs probe peers by this device, whatever the routes say.
	proofs *probing

	// device is as Up left it last; its name is empty while it is down.
	device tunnel.Device
	// unsure, if not nil, finds out which key the device has after a call that left
	// that open, and tells whether it has: Up would give it the one of the files.
	unsure func(context.Context) bool
	// failed says that it could not be brought up in this round.
	failed bool
	// strays are peers of the device that have no prefix.
	strays []tunnel.PublicKey
	// peers are those of the device, by prefix, as this round found them; nil if
	// they are not known.
	peers map[netip.Prefix]tunnel.PeerStatus
	// added is true when this round has added some.
	added bool
	// keys are what they are known by, and formers the keys that they go over from.
	keys    map[netip.Prefix]keyed
	formers map[netip.Prefix]tunnel.PeerStatus
	// down is true when it is known that nothing of it is left.
	down bool
	// unwatch ends the watching; nil if nobody watches.
	unwatch func()
	// lack is what probe said last, and probed when that was.
	lack   error
	probed time.Time
}

// probeAgain is how old what a probe said may be: each makes a namespace, or looks
// at files.
const probeAgain = 5 * time.Second

// lacking says what the host lacks for it, nil if it has all.
func (c *carrier) lacking(now time.Time) error {
	if c.device.Name != "" && c.lack == nil {
		return nil // it is up
	}
	if c.probed.IsZero() || now.Sub(c.probed) >= probeAgain {
		c.lack, c.probed = c.probe(), now
	}
	return c.lack
}

// bringUp makes the device as wanted, and lists its peers.
func (c *carrier) bringUp(ctx context.Context, want tunnel.Device) error {
	c.peers, c.down = nil, false
	if c.unsure != nil && c.unsure(ctx) {
		c.unsure = nil
	}
	device, err := c.driver.Up(ctx, want)
	if errors.Is(err, tunnel.ErrUnsupported) {
		c.lack, c.probed = err, time.Now()
	}
	if err != nil {
		return fmt.Errorf("bring up tunnel device %s: %w", want.Name, err)
	}
	c.device = device
	return c.list(ctx)
}

// list finds the peers of the device that is up.
func (c *carrier) list(ctx context.Context) error {
	have, err := c.driver.Peers(ctx)
	if err != nil {
		return fmt.Errorf("list peers of %s: %w", c.device.Name, err)
	}
	c.take(have)
	return nil
}

// takeDown takes away all that bringUp made.
func (c *carrier) takeDown(ctx context.Context) error {
	if c.down {
		return nil
	}
	c.letGo()
	if err := c.driver.Down(ctx); err != nil {
		return err
	}
	c.device, c.peers, c.down = tunnel.Device{}, nil, true
	return nil
}

// letGo ends what runs beside the rounds. The device stays.
func (c *carrier) letGo() {
	c.proofs.stop()
	if c.unwatch != nil {
		c.unwatch()
		c.unwatch = nil
	}
}

// follow has changed called when the driver notices something, until ctx ends or
// the carrier is taken down.
func (c *carrier) follow(ctx context.Context, changed func()) {
	w, ok := c.driver.(tunnel.Watcher)
	if !ok || c.unwatch != nil {
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	var work sync.WaitGroup
	work.Go(func() {
		for ctx.Err() == nil { // rounds come by themselves, too, but later
			_ = w.Watch(ctx, changed)
			pause(ctx, resync)
		}
	})
	c.unwatch = func() {
		cancel()
		work.Wait()
	}
}
