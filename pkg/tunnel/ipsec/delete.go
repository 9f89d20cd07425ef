package ipsec

import (
	"context"
	"fmt"

	"github.com/strongswan/govici/vici"

	"edgenet.dev/edgenet/pkg/tunnel"
)

// Delete implements tunnel.Driver.
func (d *driver) Delete(ctx context.Context, key tunnel.PublicKey) error {
	if d.device.Name == "" {
		return fmt.Errorf("delete peer: %w", errNotUp)
	}
	s, err := d.recent(ctx)
	if isGone(err) {
		return nil // no charon: no peers
	}
	if err == nil {
		err = d.remove(ctx, s, key)
	}
	if err != nil {
		return fmt.Errorf("delete peer: %w", err)
	}
	return nil
}

func (d *driver) remove(ctx context.Context, s *snapshot, key tunnel.PublicKey) error {
	c, known := s.conns[key]
	d.forget(key)
	if known || len(s.sas[key]) > 0 {
		if err := d.removeNamed(ctx, connName(key), known); err != nil {
			return err
		}
		d.log.Debug("peer deleted", "device", d.device.Name, "prefix", c.prefix)
	}
	delete(s.conns, key)
	delete(s.sas, key)
	return nil
}

// forget drops what is remembered of a peer.
func (d *driver) forget(key tunnel.PublicKey) {
	delete(d.moved, key)
	delete(d.renewed, key)
	delete(d.asked, key)
	delete(d.served, key)
	delete(d.alone, key)
	delete(d.tried, key)
	delete(d.slumbers, key)
	delete(d.woken, key)
	delete(d.traffic, key)
	d.refused.forget(key)
}

// removeNamed makes charon forget a peer, and ends its SAs without waiting long
// for the peer's consent.
func (d *driver) removeNamed(ctx context.Context, name string, loaded bool) error {
	if loaded { // first, so that the peer cannot begin anew
		m, err := vici.MarshalMessage(map[string]string{"name": name})
		if err != nil {
			return fmt.Errorf("encode request: %w", err)
		}
		if err := d.request(ctx, "unload-conn", m); err != nil {
			d.seen = nil
			return err
		}
	}
	return d.terminate(ctx, map[string]string{"ike": name, "force": "yes", "timeout": terminateTimeout})
}

func (d *driver) removeStrays(ctx context.Context, s *snapshot) error {
	for _, name := range s.strays {
		d.log.Warn("what nobody asked for is removed from charon", "name", name)
		if err := d.removeNamed(ctx, name, s.loaded[name]); err != nil {
			return err
		}
	}
	s.strays = nil
	return nil
}
