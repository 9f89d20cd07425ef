package ipsec

import (
	"context"
	"fmt"
	"slices"
	"time"

	"edgenet.dev/edgenet/pkg/tunnel"
)

const (
	// renewAfter is how long a peer is silent before the node with the lower prefix
	// makes other SAs; the other one gives it patience to do so.
	renewAfter = 5 * time.Second
	// renewAgain keeps attempts apart that succeed, and after which the peer is as
	// silent as before: then it is not for its SAs.
	renewAgain = 20 * time.Second
	// doubledAfter is how long an IKE SA has two children before the node with the lower
	// prefix takes them for too many, the other one after twice as long: what charon ends
	// by itself of two it does at once, or a second later if a packet is lost.
	doubledAfter = 2 * time.Second
)

var _ tunnel.Renewer = (*driver)(nil)

// Renew implements tunnel.Renewer. Where both ends replace the same SA at the same
// moment (RFC 7296, section 2.8.1), strongSwan before 6.0 may end with two children at
// one end and one at the other, and the first then sends by that which the other one
// does not have, until its keys are old. Nothing in the protocol notices.
func (d *driver) Renew(ctx context.Context, key tunnel.PublicKey, since time.Time) error {
	if d.device.Name == "" {
		return fmt.Errorf("renew SAs: %w", errNotUp)
	}
	s, err := d.recent(ctx)
	if err != nil {
		return fmt.Errorf("renew SAs: %w", err)
	}
	c, known := s.conns[key]
	if !known || !d.turn(key, c).renews(since, s.sas[key]) {
		return nil
	}
	d.log.Warn("peer does not answer by its SAs; others are made", "device", d.device.Name, "prefix", c.prefix)
	d.supersede(key, s.sas[key])
	if err := d.converse(ctx, s, key); err != nil {
		return fmt.Errorf("renew SAs with %s: %w", c.prefix, err)
	}
	return nil
}

// supersede has a peer's IKE SAs be replaced by another that is made from nothing.
func (d *driver) supersede(key tunnel.PublicKey, sas []ikeSA) {
	old := make(map[uint32]bool)
	for _, sa := range sas {
		old[sa.id] = true
	}
	d.renewed[key] = d.now()
	d.moved[key] = old
	delete(d.tried, key)
}

// renews tells whether it is time to make other SAs with a peer that is silent since
// then.
func (t turn) renews(since time.Time, sas []ikeSA) bool {
	wait := renewAfter
	if !t.lower {
		wait += patience
	}
	return t.maySupersede(sas) && t.now.Sub(since) >= wait
}

// isDoubled tells whether an IKE SA has several children that are there to stay, which
// no end has asked for. The other end may have one of them alone.
func (t turn) isDoubled(sas []ikeSA) bool {
	age := doubledAfter
	if !t.lower {
		age *= 2
	}
	return t.maySupersede(sas) && slices.ContainsFunc(sas, func(sa ikeSA) bool {
		count := 0
		for _, c := range sa.children {
			if c.state == "INSTALLED" && t.now.Sub(c.installed) >= age {
				count++
			}
		}
		return sa.lasts() && count > 1
	})
}

// maySupersede tells whether what there is is neither being replaced nor was just now.
func (t turn) maySupersede(sas []ikeSA) bool {
	return t.can && len(t.moved) == 0 && t.now.Sub(t.renewed) >= renewAgain &&
		len(sas) > 0 && !slices.ContainsFunc(sas, ikeSA.connecting)
}
