package wireguard

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"edgenet.dev/edgenet/pkg/tunnel"
	"edgenet.dev/edgenet/pkg/tunnel/internal/device"
)

// sessionAge is WireGuard's Reject-After-Time: a session without a handshake
// for so long carries nothing (whitepaper, section 6.2), so the address that it
// was learned with is worth nothing either.
const sessionAge = 180 * time.Second

// cipher is the only one that WireGuard has.
const cipher = "chacha20poly1305"

// maxKeepalive is what the protocol's 16 bits of seconds hold.
const maxKeepalive = 65535 * time.Second

var errNotUp = errors.New("the device was not brought up")

// Peers implements tunnel.Driver.
func (d *driver) Peers(ctx context.Context) (map[tunnel.PublicKey]tunnel.PeerStatus, error) {
	if d.name == "" {
		return nil, fmt.Errorf("list peers: %w", errNotUp)
	}
	s, err := d.read(ctx)
	if err != nil {
		return nil, fmt.Errorf("list peers: %w", err)
	}
	out := make(map[tunnel.PublicKey]tunnel.PeerStatus, len(s.peers))
	for key, p := range s.peers {
		out[key] = p.status(key, s.at)
	}
	return out, nil
}

// Put implements tunnel.Driver. An endpoint that differs from the one that this
// driver was asked for last is set at once: the caller has chosen another path.
// An endpoint that only differs from the device's was learned by the device, and
// is left while the last handshake is younger than three minutes. A keepalive is
// rounded up to whole seconds. A prefix that another peer has is taken from it.
func (d *driver) Put(ctx context.Context, want tunnel.Peer) error {
	if err := d.put(ctx, want); err != nil {
		return fmt.Errorf("put peer at %s: %w", want.Endpoint, err)
	}
	return nil
}

func (d *driver) put(ctx context.Context, want tunnel.Peer) error {
	if d.name == "" {
		return errNotUp
	}
	if err := validatePeer(want); err != nil {
		return err
	}
	want.Endpoint = netip.AddrPortFrom(want.Endpoint.Addr().Unmap(), want.Endpoint.Port())
	if want.Rest {
		want.Keepalive = 0
	}
	have, err := d.recent(ctx)
	if err != nil {
		return err
	}
	before := have.peers[want.PublicKey]
	if changes := d.plans(have, want); len(changes) > 0 {
		if err := d.configure(ctx, wgtypes.Config{Peers: changes}); err != nil {
			return err
		}
		for _, c := range changes {
			have.put(tunnel.PublicKey(c.PublicKey), c)
			if found := tampered(before, c); found != "" && c.PublicKey == wgtypes.Key(want.PublicKey) && d.asked[want.PublicKey] == want {
				d.log.Warn("tunnel peer was changed by others and is put right", "device", d.name, "prefix", want.Prefix, "found", found)
			}
		}
		d.log.Debug("peer configured", "device", d.name, "prefix", want.Prefix, "endpoint", want.Endpoint)
	}
	d.wanted[want.PublicKey], d.asked[want.PublicKey] = want.Endpoint, want
	if former := want.Former.PublicKey; former != (tunnel.PublicKey{}) {
		d.wanted[former] = want.Endpoint
		delete(d.asked, former)
	}
	return nil
}

// tampered says what others did to a peer that was as it is wanted, from what it
// takes to put it right; empty for an address that is tried anew, which is nobody's
// doing.
func tampered(have peer, change wgtypes.PeerConfig) string {
	switch {
	case !have.configured:
		return "it was removed"
	case change.ReplaceAllowedIPs:
		return fmt.Sprintf("its allowed IPs were %v", have.allowed)
	case change.PersistentKeepaliveInterval != nil:
		return fmt.Sprintf("its keepalive was %s", have.keepalive)
	case change.Endpoint != nil && !have.endpoint.IsValid():
		return "it had no endpoint"
	}
	return ""
}

// plans are the changes that make a peer as wanted, in their order: what a former
// key keeps is its own before the new one gets the rest.
func (d *driver) plans(have *snapshot, want tunnel.Peer) []wgtypes.PeerConfig {
	var changes []wgtypes.PeerConfig
	if f := want.Former; f.PublicKey != (tunnel.PublicKey{}) {
		if c, differs := planFormer(have.peers[f.PublicKey], want, d.wanted[f.PublicKey], d.now()); differs {
			changes = append(changes, c)
		}
	}
	if c, differs := plan(have.peers[want.PublicKey], want, d.wanted[want.PublicKey], d.now()); differs {
		changes = append(changes, c)
	}
	return changes
}

// planFormer is plan for the key that a peer goes over from. What it keeps is
// added to what it has, so that there is no moment without: the rest goes when
// the new key gets it.
func planFormer(have peer, want tunnel.Peer, last netip.AddrPort, now time.Time) (wgtypes.PeerConfig, bool) {
	f := want.Former
	keeps := []netip.Prefix{f.Half}
	if f.Address.IsValid() && !f.Half.Contains(f.Address) {
		keeps = append(keeps, netip.PrefixFrom(f.Address, f.Address.BitLen()))
	}
	same := tunnel.Peer{PublicKey: f.PublicKey, Endpoint: want.Endpoint, Prefix: want.Prefix, Keepalive: f.Keepalive}
	c, differs := plan(have, same, last, now)
	if c.ReplaceAllowedIPs { // which it would be for not having all of the prefix
		c.ReplaceAllowedIPs, c.AllowedIPs = false, nil
		differs = !have.configured || c.PersistentKeepaliveInterval != nil || c.Endpoint != nil
	}
	for _, k := range keeps {
		if !slices.Contains(have.allowed, k) {
			c.AllowedIPs = append(c.AllowedIPs, *device.IPNet(k))
			differs = true
		}
	}
	return c, differs
}

// plan returns what has to change for have to be as wanted, and whether
// anything has. Last is the endpoint that was wanted before.
func plan(have peer, want tunnel.Peer, last netip.AddrPort, now time.Time) (wgtypes.PeerConfig, bool) {
	c := wgtypes.PeerConfig{PublicKey: wgtypes.Key(want.PublicKey), UpdateOnly: have.configured}
	differs := !have.configured
	if !slices.Equal(have.allowed, []netip.Prefix{want.Prefix}) {
		c.ReplaceAllowedIPs = true
		c.AllowedIPs = []net.IPNet{*device.IPNet(want.Prefix)}
		differs = true
	}
	if keepalive := wholeSeconds(want.Keepalive); have.keepalive != keepalive {
		c.PersistentKeepaliveInterval = &keepalive
		differs = true
	}
	if movesEndpoint(have, want.Endpoint, last, now) {
		c.Endpoint = net.UDPAddrFromAddrPort(want.Endpoint)
		differs = true
	}
	return c, differs
}

func movesEndpoint(have peer, want, last netip.AddrPort, now time.Time) bool {
	switch {
	case !want.IsValid() || have.endpoint == want:
		return false
	case !have.endpoint.IsValid():
		return true
	case last.IsValid() && last != want:
		return true
	}
	return !have.live(now)
}

// Delete implements tunnel.Driver.
func (d *driver) Delete(ctx context.Context, key tunnel.PublicKey) error {
	if d.name == "" {
		return fmt.Errorf("delete peer: %w", errNotUp)
	}
	delete(d.wanted, key)
	delete(d.asked, key)
	have, err := d.recent(ctx)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ECONNREFUSED) {
		return nil // no device, or no process: no peers
	}
	if err != nil {
		return fmt.Errorf("delete peer: %w", err)
	}
	if !have.peers[key].configured {
		return nil
	}
	change := wgtypes.PeerConfig{PublicKey: wgtypes.Key(key), Remove: true, UpdateOnly: true}
	if err := d.configure(ctx, wgtypes.Config{Peers: []wgtypes.PeerConfig{change}}); err != nil {
		return fmt.Errorf("delete peer: %w", err)
	}
	have.put(key, change)
	d.log.Debug("peer deleted", "device", d.name)
	return nil
}

func validatePeer(want tunnel.Peer) error {
	switch {
	case want.PublicKey == tunnel.PublicKey{}:
		return errors.New("no public key")
	case !want.Prefix.IsValid() || want.Prefix != want.Prefix.Masked():
		return fmt.Errorf("prefix %s is not a network", want.Prefix)
	case want.Keepalive < 0 || want.Keepalive > maxKeepalive:
		return fmt.Errorf("keepalive %s is not between 0 and %s", want.Keepalive, maxKeepalive)
	}
	return validateFormer(want)
}

func validateFormer(want tunnel.Peer) error {
	f := want.Former
	switch {
	case f == tunnel.Former{}:
		return nil
	case f.PublicKey == tunnel.PublicKey{} || f.PublicKey == want.PublicKey:
		return errors.New("former public key is none, or the same")
	case !f.Half.IsValid() || f.Half != f.Half.Masked() || f.Half.Bits() <= want.Prefix.Bits() || !want.Prefix.Contains(f.Half.Addr()):
		return fmt.Errorf("prefix %s of the former key is not within %s", f.Half, want.Prefix)
	case f.Address.IsValid() && !want.Prefix.Contains(f.Address):
		return fmt.Errorf("address %s of the former key is not within %s", f.Address, want.Prefix)
	case f.Keepalive < 0 || f.Keepalive > maxKeepalive:
		return fmt.Errorf("keepalive %s is not between 0 and %s", f.Keepalive, maxKeepalive)
	}
	return nil
}

func wholeSeconds(d time.Duration) time.Duration {
	return (d + time.Second - 1).Truncate(time.Second)
}
