package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"edgenet.dev/edgenet/test/netns/lab"
)

// way is one way of a packet: from a network namespace to an address in another.
type way struct {
	name     string
	from, to string
	addr     netip.Addr
}

// ways are those that are compared. The hosts of overlay have edgenet; those of
// the others have not: they share a second pair of the same tunnel, but for vxlan.
// All are on one underlay.
type ways struct {
	// overlay is from container to container by way of edgenet.
	overlay way
	// tunnel is from container to container, routed through the bare tunnel:
	// with the same hops as overlay, but no datapath.
	tunnel way
	// endpoints is from the bare tunnel's own end to its other one, without
	// containers.
	endpoints way
	// vxlan is from container to container, bridged into a VXLAN that runs through
	// wireguard-go as it comes, and sameVXLAN into one through the bare tunnel.
	vxlan, sameVXLAN way
}

// ways makes them all at the first call, and waits until each leads somewhere.
func (w *world) ways() (*ways, error) {
	if w.all != nil {
		return w.all, nil
	}
	bare, err := newBareTunnel(w, "bare", "")
	if err != nil {
		return nil, fmt.Errorf("make bare tunnel: %w", err)
	}
	all := &ways{overlay: w.overlay(), endpoints: bare.way()}
	if all.tunnel, err = bare.plain(w); err != nil {
		return nil, fmt.Errorf("route containers through bare tunnel: %w", err)
	}
	if all.sameVXLAN, err = vxlan(w, "vxlan-same", bare.both()); err != nil {
		return nil, fmt.Errorf("make VXLAN through bare tunnel: %w", err)
	}
	stock, err := newStockTunnel(w)
	if err != nil {
		return nil, fmt.Errorf("make tunnel by wireguard-go: %w", err)
	}
	if all.vxlan, err = vxlan(w, "vxlan", stock); err != nil {
		return nil, fmt.Errorf("make VXLAN through wireguard-go: %w", err)
	}
	for _, each := range []way{all.overlay, all.tunnel, all.endpoints, all.vxlan, all.sameVXLAN} {
		if err := each.await(w.ctx); err != nil {
			return nil, err
		}
	}
	w.all = all
	return all, nil
}

// overlay attaches a container on either host of the mesh.
func (w *world) overlay() way {
	hosts := w.mesh()
	from, _ := w.attach(hosts[0], "from", group)
	to, address := w.attach(hosts[1], "to", group)
	return between("overlay", from, to, address)
}

func between(name string, from, to *lab.Container, addr netip.Addr) way {
	return way{name: name, from: from.Netns(), to: to.Netns(), addr: addr}
}

// patience is how long a way may take to come up, with handshakes and a busy
// machine.
const patience = 20 * time.Second

// await waits until one ping is answered.
func (y way) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		_, err := output(ctx, y.from, "ping", "-n", "-c", "1", "-W", "1", y.addr.String())
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("await way %s: %w", y.name, errors.Join(ctx.Err(), err))
		}
	}
}
