package wireguard

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"edgenet.dev/edgenet/pkg/tunnel"
)

var _ tunnel.Batcher = (*driver)(nil)

// batch is how many peers one request to the device has: so many take a
// userspace process some tenths of a second.
const batch = 250

// PutAll implements tunnel.Batcher. A peer that was asked for before is left to
// Put, which says what others did to it, and so is one that has a former key.
func (d *driver) PutAll(ctx context.Context, want []tunnel.Peer) error {
	if err := d.putAll(ctx, want); err != nil {
		return fmt.Errorf("put %d peers: %w", len(want), err)
	}
	return nil
}

func (d *driver) putAll(ctx context.Context, want []tunnel.Peer) error {
	if d.name == "" {
		return errNotUp
	}
	have, err := d.recent(ctx)
	if err != nil {
		return err
	}
	var fresh []tunnel.Peer
	for _, p := range want {
		if _, asked := d.asked[p.PublicKey]; asked || p.Former != (tunnel.Former{}) || have.peers[p.PublicKey].configured || validatePeer(p) != nil {
			continue
		}
		p.Endpoint = netip.AddrPortFrom(p.Endpoint.Addr().Unmap(), p.Endpoint.Port())
		if p.Rest {
			p.Keepalive = 0
		}
		fresh = append(fresh, p)
	}
	for some := range slices.Chunk(fresh, batch) {
		changes := make([]wgtypes.PeerConfig, len(some))
		for i, p := range some {
			changes[i], _ = plan(peer{}, p, netip.AddrPort{}, d.now())
		}
		if err := d.configure(ctx, wgtypes.Config{Peers: changes}); err != nil {
			return err
		}
		for i, p := range some {
			have.put(p.PublicKey, changes[i])
			d.wanted[p.PublicKey], d.asked[p.PublicKey] = p.Endpoint, p
		}
	}
	d.log.Debug("peers configured", "device", d.name, "count", len(fresh))
	return nil
}
