package ipsec

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/strongswan/govici/vici"

	"edgenet.dev/edgenet/pkg/tunnel"
)

// maxKeepalive is the longest that is of use: NATs forget sooner.
const maxKeepalive = 24 * time.Hour

var errNotUp = errors.New("the device was not brought up")

// Peers implements tunnel.Driver. It removes what charon has that no Put asked
// for.
func (d *driver) Peers(ctx context.Context) (map[tunnel.PublicKey]tunnel.PeerStatus, error) {
	if d.device.Name == "" {
		return nil, fmt.Errorf("list peers: %w", errNotUp)
	}
	s, err := d.read(ctx)
	if err != nil {
		return nil, fmt.Errorf("list peers: %w", err)
	}
	if err := d.removeStrays(ctx, s); err != nil {
		return nil, fmt.Errorf("list peers: %w", err)
	}
	if d.cfg.Kind == KindKernel {
		if err := d.compareKernel(ctx, s); err != nil {
			return nil, fmt.Errorf("list peers: %w", err)
		}
	}
	out := make(map[tunnel.PublicKey]tunnel.PeerStatus, len(s.conns))
	for key, c := range s.conns {
		out[key] = d.status(key, c, s.sas[key])
	}
	for key, sas := range s.sas { // whose configuration is gone: to be put again or deleted
		if _, known := s.conns[key]; !known {
			out[key] = d.status(key, conn{}, sas)
		}
	}
	return out, nil
}

// status returns a peer in the interface's terms. The endpoint is where packets
// go to, or are to go to after a change.
func (d *driver) status(key tunnel.PublicKey, c conn, sas []ikeSA) tunnel.PeerStatus {
	st := tunnel.PeerStatus{Peer: tunnel.Peer{
		PublicKey: key, Endpoint: c.endpoint, Prefix: c.prefix, Keepalive: c.keepalive,
	}}
	if d.cfg.Kind == KindKernel {
		st.ReqID = c.child.reqID
	}
	// What was begun just now gets its child yet, and so does what was woken: the peer
	// may have ended the child that was there then.
	begun := d.slumbers[key].IsZero() && (d.now().Sub(d.tried[key]) < retryAfter || d.now().Sub(d.woken[key]) < retryAfter)
	st.Dormant = isDormant(sas) && !begun
	for _, sa := range sas {
		st.BehindNAT = st.BehindNAT || sa.behindNAT
		child := sa.newest()
		if child == nil || !sa.lasts() {
			continue
		}
		st.Live = true
		if !child.installed.Before(st.LastHandshake) {
			st.LastHandshake, st.Cipher, st.Authenticated = child.installed, child.cipher, sa.established
		}
		if sa.remote.IsValid() && !d.moved[key][sa.id] {
			st.Endpoint = sa.remote
		}
	}
	if st.Live {
		d.refused.forget(key)
	} else {
		st.Refusal = d.refused.since(key, d.alone[key], d.now())
	}
	sum := d.traffic.sum(key, sas)
	st.RxBytes, st.TxBytes, st.Replayed, st.Forged = sum.rx, sum.tx, sum.replayed, sum.forged
	return st
}

// Put implements tunnel.Driver. It does not wait for the SAs: the node with the
// lower prefix begins the conversation, and so does the other one once after its
// charon was started, or when the first did not for some seconds. When the
// endpoint changes, another IKE SA is made there, and the old one goes when the
// new one carries packets. A keepalive is charon's dead peer detection, rounded up
// to whole seconds. A peer that has the same prefix is removed.
func (d *driver) Put(ctx context.Context, want tunnel.Peer) error {
	if err := d.put(ctx, want); err != nil {
		return fmt.Errorf("put peer at %s: %w", want.Endpoint, err)
	}
	return nil
}

func (d *driver) put(ctx context.Context, want tunnel.Peer) error {
	if d.device.Name == "" {
		return errNotUp
	}
	if err := d.validatePeer(want); err != nil {
		return err
	}
	want.Endpoint = netip.AddrPortFrom(want.Endpoint.Addr().Unmap(), want.Endpoint.Port())
	s, err := d.recent(ctx)
	if err != nil {
		return err
	}
	for key, c := range s.conns {
		if key != want.PublicKey && c.prefix.Overlaps(want.Prefix) {
			if err := d.remove(ctx, s, key); err != nil {
				return fmt.Errorf("take the prefix from another peer: %w", err)
			}
		}
	}
	if err := d.load(ctx, s, want); err != nil {
		return err
	}
	d.asked[want.PublicKey] = want
	if want.Rest {
		delete(d.alone, want.PublicKey)
		delete(d.served, want.PublicKey)
		return nil
	}
	return d.converse(ctx, s, want.PublicKey)
}

// load tells charon of a peer if it does not know it so.
func (d *driver) load(ctx context.Context, s *snapshot, want tunnel.Peer) error {
	have, known := s.conns[want.PublicKey]
	reqID := have.child.reqID
	for _, sa := range s.sas[want.PublicKey] {
		if c := sa.newest(); c != nil && !known { // only the configuration is gone
			reqID = c.reqID
		}
	}
	if reqID == 0 {
		ids, err := d.requestIDs(s)
		if err != nil {
			return err
		}
		reqID = ids.next(want.Prefix)
	}
	c, err := d.local().config(want, reqID)
	if err != nil {
		return err
	}
	name, _ := c.child()
	child, _ := parseChildName(name)
	if known && have.child == child {
		return nil
	}
	m, err := vici.MarshalMessage(map[string]ikeConfig{connName(want.PublicKey): c})
	if err != nil {
		return fmt.Errorf("encode configuration: %w", err)
	}
	if err := d.request(ctx, "load-conn", m); err != nil {
		d.seen = nil
		return err
	}
	if known && have.endpoint != want.Endpoint {
		now, err := d.read(ctx)
		if err != nil {
			return err
		}
		*s = *now
		d.seen = s
		d.move(s, want)
	}
	if d.asked[want.PublicKey] == want { // a new charon has been asked for nothing yet
		found := "its configuration was removed"
		if known {
			found = "its configuration was another"
		}
		d.log.Warn("tunnel peer was changed by others and is put right", "device", d.device.Name, "prefix", want.Prefix, "found", found)
	}
	s.conns[want.PublicKey] = conn{child: child, endpoint: want.Endpoint, prefix: want.Prefix, keepalive: wholeSeconds(want.Keepalive)}
	d.log.Debug("peer configured", "device", d.device.Name, "prefix", want.Prefix, "endpoint", want.Endpoint)
	return nil
}

func (d *driver) validatePeer(want tunnel.Peer) error {
	switch {
	case want.PublicKey == tunnel.PublicKey{}:
		return errors.New("no public key")
	case want.PublicKey == d.cfg.Key.Public():
		return errors.New("its public key is this node's own")
	case !want.Prefix.IsValid() || !want.Prefix.Addr().Is6() || want.Prefix != want.Prefix.Masked():
		return fmt.Errorf("prefix %s is not an IPv6 network", want.Prefix)
	case !d.device.Mesh.Contains(want.Prefix.Addr()) || want.Prefix.Bits() <= d.device.Mesh.Bits():
		return fmt.Errorf("prefix %s is not a part of mesh %s", want.Prefix, d.device.Mesh)
	case want.Prefix.Contains(d.device.Address):
		return fmt.Errorf("prefix %s is this node's own", want.Prefix)
	case want.Endpoint.IsValid() && want.Endpoint.Port() == 0:
		return errors.New("its endpoint has no port")
	case want.Keepalive < 0 || want.Keepalive > maxKeepalive:
		return fmt.Errorf("keepalive %s is not between 0 and %s", want.Keepalive, maxKeepalive)
	}
	return nil
}
