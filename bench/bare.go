package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"

	"edgenet.dev/edgenet/pkg/tunnel"
	"edgenet.dev/edgenet/pkg/tunnel/wireguard"
	"edgenet.dev/edgenet/test/netns/lab"
)

// bareTunnel is a pair of tunnel devices without a datapath, made by the very
// driver, and by the very program, that edgenetd uses.
type bareTunnel struct {
	ends [2]*bareEnd
}

// bareEnd is one host of the pair.
type bareEnd struct {
	host   *lab.Host
	key    wireguard.PrivateKey
	device tunnel.Device
	// prefix is everything behind this end.
	prefix netip.Prefix
	driver tunnel.Driver
}

// bareMesh covers both ends; edgenet's own meshes are in fd00::/8.
var bareMesh = netip.MustParsePrefix("fc00::/24")

// barePrefixes are the two ends'.
var barePrefixes = [2]netip.Prefix{
	netip.MustParsePrefix("fc00:0:0:1::/64"),
	netip.MustParsePrefix("fc00:0:0:2::/64"),
}

// barePort is edgenet's default, so that nothing differs.
const barePort = 51820

// newBareTunnel makes two hosts and the tunnel between them, which is taken down
// before the lab is.
func newBareTunnel(w *world) (*bareTunnel, error) {
	b := &bareTunnel{}
	for i, prefix := range barePrefixes {
		end, err := newBareEnd(w, fmt.Sprintf("bare-%d", i+1), prefix)
		if err != nil {
			return nil, err
		}
		b.ends[i] = end
	}
	for i, end := range b.ends {
		other := b.ends[1-i]
		peer := tunnel.Peer{
			PublicKey: other.key.Public(),
			Endpoint:  netip.AddrPortFrom(other.host.Underlay, barePort),
			Prefix:    other.prefix,
		}
		err := within(end.host.Namespace(), func() error { return end.driver.Put(w.ctx, peer) })
		if err != nil {
			return nil, err
		}
	}
	return b, nil
}

func newBareEnd(w *world, name string, prefix netip.Prefix) (*bareEnd, error) {
	key, err := wireguard.GenerateKey()
	if err != nil {
		return nil, err
	}
	host := w.lab.Host(name)
	driver, err := wireguard.New(wireguard.Config{
		Logger: slog.New(slog.DiscardHandler), Key: key,
		RunDir: host.RunDir(), Executable: lab.Program("edgenetd"),
	})
	if err != nil {
		return nil, err
	}
	end := &bareEnd{host: host, key: key, prefix: prefix, driver: driver}
	w.t.Cleanup(func() {
		// Though the run may have been interrupted.
		down := func() error { return driver.Down(context.WithoutCancel(w.ctx)) }
		if err := within(host.Namespace(), down); err != nil {
			w.t.Errorf("take down tunnel of %s: %v", name, err)
		}
	})
	return end, within(host.Namespace(), func() error { return end.up(w.ctx) })
}

// up is called in the host's namespace.
func (e *bareEnd) up(ctx context.Context) error {
	// Its containers' packets are routed; edgenet's datapath redirects them.
	if err := os.WriteFile("/proc/sys/net/ipv6/conf/all/forwarding", []byte("1"), 0o644); err != nil {
		return fmt.Errorf("turn on forwarding: %w", err)
	}
	underlayMTU, err := tunnel.UnderlayMTU(e.host.Underlay)
	if err != nil {
		return err
	}
	e.device = tunnel.Device{
		// Unique on the machine: sockets are named after it.
		Name:       fmt.Sprintf("enb%x%s", os.Getpid(), e.host.Name[len(e.host.Name)-1:]),
		ListenPort: barePort,
		MTU:        tunnel.MTU(underlayMTU, e.host.Underlay),
		Address:    e.prefix.Addr().Next(),
		Mesh:       bareMesh,
	}
	_, err = e.driver.Up(ctx, e.device)
	return err
}

// way is from the first end's host itself to the second's.
func (b *bareTunnel) way() way {
	from, to := b.ends[0], b.ends[1]
	return way{name: "endpoints", from: from.host.Namespace(), to: to.host.Namespace(), addr: to.device.Address}
}
