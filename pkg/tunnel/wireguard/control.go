package wireguard

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"edgenet.dev/edgenet/pkg/tunnel"
	"edgenet.dev/edgenet/pkg/tunnel/internal/device"
)

// callTimeout bounds one request to the device. A thousand peers are read in
// some milliseconds.
const callTimeout = 5 * time.Second

// errBusy says that an earlier request has not been answered yet.
var errBusy = errors.New("the device has not answered an earlier request")

// ensureCrypto sets the private key and the listen port where they differ.
func (d *driver) ensureCrypto(ctx context.Context, want tunnel.Device, mended *device.Mended) error {
	have, err := d.read(ctx)
	if err != nil {
		return err
	}
	if have.privateKey != d.cfg.Key.key {
		key := d.cfg.Key.key
		if err := d.configure(ctx, wgtypes.Config{PrivateKey: &key}); err != nil {
			return fmt.Errorf("set private key: %w", err)
		}
		have.privateKey = key
		mended.Note("its private key was another")
	}
	if port := int(want.ListenPort); have.listenPort != port {
		if err := d.configure(ctx, wgtypes.Config{ListenPort: &port}); err != nil {
			return fmt.Errorf("listen on UDP port %d: %w", port, err)
		}
		mended.Note("it listened on UDP port %d", have.listenPort)
		have.listenPort = port
	}
	return nil
}

// read takes a new snapshot.
func (d *driver) read(ctx context.Context) (*snapshot, error) {
	d.seen = nil
	var dev *wgtypes.Device
	name := d.name // a call may outlast this one
	err := d.call(ctx, func(c *wgctrl.Client) (err error) {
		dev, err = c.Device(name)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read device: %w", err)
	}
	d.seen = newSnapshot(dev, d.now())
	return d.seen, nil
}

// recent returns a snapshot that is young enough to decide by.
func (d *driver) recent(ctx context.Context) (*snapshot, error) {
	if d.seen != nil && d.seen.fresh(d.now()) {
		return d.seen, nil
	}
	return d.read(ctx)
}

// configure changes the device. After an error nothing is known of it.
func (d *driver) configure(ctx context.Context, cfg wgtypes.Config) error {
	name := d.name // a call may outlast this one
	err := d.call(ctx, func(c *wgctrl.Client) error { return c.ConfigureDevice(name, cfg) })
	if err != nil {
		d.seen = nil
	}
	return err
}

// call runs f with a client, but waits for it no longer than callTimeout or
// ctx: wgctrl has no deadlines, and a userspace process that is stopped would
// stop its caller too. The client is made here, so that it is of the caller's
// network namespace, and for one call, so that drivers need no closing.
func (d *driver) call(ctx context.Context, f func(*wgctrl.Client) error) error {
	if d.hung != nil {
		select {
		case <-d.hung:
			d.hung = nil
		default:
			d.silence.Unanswered(d.now())
			return errBusy
		}
	}
	client, err := wgctrl.New()
	if err != nil {
		return fmt.Errorf("open wireguard control: %w", err)
	}
	asked := d.now()
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	result := make(chan error, 1)
	returned := make(chan struct{})
	go func() {
		defer close(returned)
		result <- errors.Join(f(client), client.Close())
	}()
	select {
	case err := <-result:
		<-returned
		d.silence.Answered()
		return err
	case <-ctx.Done():
		d.hung = returned
		d.silence.Unanswered(asked)
		return ctx.Err()
	}
}
