package wireguard

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/vishvananda/netlink"
	"golang.zx2c4.com/wireguard/wgctrl"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"edgenet.dev/edgenet/pkg/tunnel"
	"edgenet.dev/edgenet/pkg/tunnel/internal/device"
)

// Greet begins a handshake with each peer that has a keepalive, so that it meets the
// key that the device has now: WireGuard sends one when it is switched on.
func (d *driver) Greet(ctx context.Context) error {
	have, err := d.recent(ctx)
	if err != nil {
		return fmt.Errorf("greet peers: %w", err)
	}
	var off time.Duration
	var changes []wgtypes.PeerConfig
	for key, p := range have.peers {
		if on := p.keepalive; on > 0 {
			changes = append(changes,
				wgtypes.PeerConfig{PublicKey: wgtypes.Key(key), UpdateOnly: true, PersistentKeepaliveInterval: &off},
				wgtypes.PeerConfig{PublicKey: wgtypes.Key(key), UpdateOnly: true, PersistentKeepaliveInterval: &on})
		}
	}
	if err := d.configure(ctx, wgtypes.Config{Peers: changes}); err != nil {
		return fmt.Errorf("greet peers: %w", err)
	}
	return nil
}

// SetKey gives the device another private key, now if it is up, and whenever it is
// made again. Sessions that there are still receive; what is sent waits for new
// ones. Then is called as soon as the device has it, before anything else is done,
// and not if there is an error. After one the device may have the key all the same,
// or get it yet: Key tells once the device answers.
func (d *driver) SetKey(ctx context.Context, key PrivateKey, then func()) error {
	if key.IsZero() {
		return errors.New("set private key: no key")
	}
	link, err := d.find()
	if err != nil {
		return fmt.Errorf("set private key: %w", err)
	}
	if link == nil {
		d.cfg.Key = key
		then()
		return nil // Up sets it
	}
	change := newOutcome()
	name := d.name
	err = d.call(ctx, func(c *wgctrl.Client) error {
		err := c.ConfigureDevice(name, wgtypes.Config{PrivateKey: &key.key})
		if err == nil {
			change.done(then)
		}
		return err
	})
	if err != nil && change.giveUp() {
		d.seen = nil
		return fmt.Errorf("set private key: %w", err)
	}
	d.cfg.Key = key
	if d.seen != nil {
		d.seen.privateKey = key.key
	}
	return nil
}

// outcome is that of a call that may go on after it was given up: whoever is first
// decides.
type outcome struct {
	decided atomic.Bool
	told    chan struct{} // closed when then has returned
}

func newOutcome() *outcome { return &outcome{told: make(chan struct{})} }

// done is called when the call has done its work. It calls then, unless the call was
// given up.
func (o *outcome) done(then func()) {
	if o.decided.CompareAndSwap(false, true) {
		defer close(o.told)
		then()
	}
}

// giveUp tells whether the call is given up. If not it was done, and then has
// returned.
func (o *outcome) giveUp() bool {
	if o.decided.CompareAndSwap(false, true) {
		return true
	}
	<-o.told
	return false
}

// Key is what peers know the device by that is there, perhaps from an earlier
// process; zero if there is none.
func (d *driver) Key(ctx context.Context) (tunnel.PublicKey, error) {
	link, err := d.find()
	if err != nil || link == nil {
		return tunnel.PublicKey{}, err
	}
	have, err := d.read(ctx)
	if err != nil || have.privateKey == (wgtypes.Key{}) {
		return tunnel.PublicKey{}, err
	}
	return tunnel.PublicKey(have.privateKey.PublicKey()), nil
}

// find returns the device's link; nil if there is none.
func (d *driver) find() (netlink.Link, error) {
	if d.name == "" {
		return nil, nil
	}
	return device.Find(d.name)
}
