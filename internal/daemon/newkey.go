package daemon

import (
	"context"
	"errors"
	"fmt"
	"time"

	"edgenet.dev/edgenet/pkg/tunnel"
	"edgenet.dev/edgenet/pkg/tunnel/wireguard"
)

// keySetter is a driver whose device has a key that can be replaced.
type keySetter interface {
	// SetKey calls then as soon as the device has the key.
	SetKey(ctx context.Context, key wireguard.PrivateKey, then func()) error
	// Key is that of the device that is there; zero if there is none.
	Key(ctx context.Context) (tunnel.PublicKey, error)
	// Greet has peers meet it, though there is nothing to send.
	Greet(ctx context.Context) error
}

// change makes the next key the current one: first on the device, which is what
// the next daemon goes by, and at once in the datapath, then in the files. Between
// the first two packets are lost with the kernel's driver, for they go by the new key
// and say the old one.
// While the files have the old one others are told of both.
func (r *rotation) change(ctx context.Context) (gap time.Duration, err error) {
	ctx = context.WithoutCancel(ctx)
	t := r.tunnels
	t.round.Lock()
	defer t.round.Unlock()
	c := r.wireguard()
	if c == nil {
		return 0, errNoWireGuard
	}
	key := r.keys.Next()
	d, ok := c.driver.(keySetter)
	if !ok {
		r.useHalf(key.Public().Upper())
		return 0, r.settle(c)
	}
	began := time.Now()
	err = d.SetKey(ctx, key, func() {
		r.useHalf(key.Public().Upper())
		gap = time.Since(began)
	})
	if err != nil { // it is tried again; till then the datapath follows the device
		c.unsure = func(ctx context.Context) bool {
			return r.keepNext(ctx, c, func(tunnel.PublicKey) { r.useHalf(key.Public().Upper()) })
		}
		return 0, fmt.Errorf("change tunnel key: %w", err)
	}
	c.unsure = nil
	if c.driver.Name() == tunnel.WireGuardUserspace {
		gap = 0 // its process has packets say what they go by, whatever the datapath says
	}
	return gap, errors.Join(d.Greet(ctx), r.settle(c))
}

// adopt finds out whether a daemon before this one has given the device the next key
// and did not come to note it. The device keeps it then, and this daemon ends what
// was begun: another key would have all sessions begin anew, and packets not say
// what they go by until the datapath is open.
func (r *rotation) adopt(ctx context.Context, c *carrier) {
	r.keepNext(ctx, c, func(has tunnel.PublicKey) { r.device = has })
}

// keepNext has the device keep the next key if it has that, and calls then with it.
// It tells whether it is known which one the device has.
func (r *rotation) keepNext(ctx context.Context, c *carrier, then func(has tunnel.PublicKey)) bool {
	d, ok := c.driver.(keySetter)
	if !ok || r.keys.Next().IsZero() {
		return true
	}
	has, err := d.Key(ctx)
	if err == nil && has == r.keys.NextPublic() {
		err = d.SetKey(ctx, r.keys.Next(), func() { then(has) })
	}
	if err != nil { // Up sets the one that the files have
		r.log.Warn("find out which key the tunnel device has", "device", c.name, "err", err)
	}
	return err == nil
}

// prove makes the proofs that a carrier's keys are this node's: a node is not
// believed to have a key, since any could announce another's.
func (r *rotation) prove(c *carrier) (err error) {
	if c.proof == nil {
		c.proof, err = r.keys.Current().Prove(string(r.self))
	}
	if err == nil && c.next != (tunnel.PublicKey{}) && c.nextProof == nil {
		c.nextProof, err = r.keys.Next().Prove(string(r.self))
	}
	return err
}

// settle notes that the device has the next key, and has it announced.
func (r *rotation) settle(c *carrier) error {
	noted, late := r.commit()
	if !noted {
		return late
	}
	// What goes wrong once the files have the new key, with the date of it or the
	// directory, changes nothing.
	c.key, c.proof, c.next, c.nextProof = r.keys.Current().Public(), c.nextProof, tunnel.PublicKey{}, nil
	return errors.Join(late, r.tunnels.announce(time.Now(), nil))
}

// commit tells besides whether the next key is the current one in the files.
func (r *rotation) commit() (done bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.words = "peers are to use the new key"
	before := r.keys.Current().Public()
	err = r.keys.Commit()
	return r.keys.Current().Public() != before, err
}
