package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"sync"
	"time"

	"edgenet.dev/edgenet/pkg/tunnel"
	"edgenet.dev/edgenet/pkg/tunnel/ipsec"
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
	host *lab.Host
	key  tunnel.PublicKey
	// want is the device that was asked for, device what there is.
	want, device tunnel.Device
	// prefix is everything behind this end.
	prefix netip.Prefix
	driver tunnel.Driver
	peer   tunnel.Peer
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

// bareRound is how often drivers look after their device, as edgenetd has them do.
const bareRound = 2 * time.Second

// newBareTunnel makes two hosts and the tunnel between them, which is taken down
// before the lab is. An empty driver is the one of WireGuard's that edgenetd
// would choose.
func newBareTunnel(w *world, name, driver string) (*bareTunnel, error) {
	b := &bareTunnel{}
	for i, prefix := range barePrefixes {
		end, err := newBareEnd(w, fmt.Sprintf("%s-%d", name, i+1), prefix, driver)
		if err != nil {
			return nil, err
		}
		b.ends[i] = end
	}
	for i, end := range b.ends {
		other := b.ends[1-i]
		end.peer = tunnel.Peer{
			PublicKey: other.key, Endpoint: netip.AddrPortFrom(other.host.Underlay, barePort), Prefix: other.prefix,
		}
		if err := within(end.host.Namespace(), func() error { return end.round(w.ctx) }); err != nil {
			return nil, err
		}
		end.keep(w)
	}
	return b, nil
}

func newBareEnd(w *world, name string, prefix netip.Prefix, driver string) (*bareEnd, error) {
	host := w.lab.Host(name)
	end := &bareEnd{host: host, prefix: prefix}
	// Unique on the machine: sockets are named after it.
	device := fmt.Sprintf("en%c%x%c", name[0], os.Getpid(), name[len(name)-1])
	if err := end.open(driver, device); err != nil {
		return nil, err
	}
	w.t.Cleanup(func() {
		if err := w.takeDown(host, end.driver); err != nil {
			w.t.Errorf("take down tunnel of %s: %v", name, err)
		}
	})
	return end, within(host.Namespace(), func() error { return end.up(w.ctx, device) })
}

// open makes the driver.
func (e *bareEnd) open(driver, device string) error {
	log := slog.New(slog.DiscardHandler)
	switch driver {
	case ipsec.NameKernel, ipsec.NameUserspace:
		_, seed, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return fmt.Errorf("make key: %w", err)
		}
		key, err := ipsec.NewKey(seed)
		if err != nil {
			return err
		}
		kind := ipsec.KindUserspace
		if driver == ipsec.NameKernel {
			kind = ipsec.KindKernel
		}
		e.key = key.Public()
		e.driver, err = ipsec.New(ipsec.Config{Logger: log, Kind: kind, Key: key, RunDir: e.host.RunDir(), Device: device})
		return err
	default:
		key, err := wireguard.GenerateKey()
		if err != nil {
			return err
		}
		kind := wireguard.KindAuto
		if driver == wireguard.NameKernel {
			kind = wireguard.KindKernel
		}
		e.key = key.Public()
		e.driver, err = wireguard.New(wireguard.Config{
			Logger: log, Key: key, Kind: kind, RunDir: e.host.RunDir(), Executable: lab.Program("edgenetd"),
		})
		return err
	}
}

// takeDown removes what a driver made on a host, though the run may have been
// interrupted.
func (w *world) takeDown(host *lab.Host, driver tunnel.Driver) error {
	return within(host.Namespace(), func() error { return driver.Down(context.WithoutCancel(w.ctx)) })
}

// up is called in the host's namespace.
func (e *bareEnd) up(ctx context.Context, device string) error {
	// Its containers' packets are routed; edgenet's datapath redirects them.
	if err := os.WriteFile("/proc/sys/net/ipv6/conf/all/forwarding", []byte("1"), 0o644); err != nil {
		return fmt.Errorf("turn on forwarding: %w", err)
	}
	underlayMTU, err := tunnel.UnderlayMTU(e.host.Underlay)
	if err != nil {
		return err
	}
	mtu := tunnel.MTU
	if name := e.driver.Name(); name == ipsec.NameKernel || name == ipsec.NameUserspace {
		mtu = tunnel.ESPMTU
	}
	e.want = tunnel.Device{
		Name: device, ListenPort: barePort, MTU: mtu(underlayMTU, e.host.Underlay), Address: e.prefix.Addr().Next(), Mesh: bareMesh,
	}
	e.device, err = e.driver.Up(ctx, e.want)
	return err
}

// round is what edgenetd does with a driver all the time.
func (e *bareEnd) round(ctx context.Context) error {
	if _, err := e.driver.Up(ctx, e.want); err != nil {
		return err
	}
	if _, err := e.driver.Peers(ctx); err != nil {
		return err
	}
	return e.driver.Put(ctx, e.peer)
}

// keep makes rounds until the lab is taken down: a driver finds out by them how
// much its process takes.
func (e *bareEnd) keep(w *world) {
	ctx, cancel := context.WithCancel(w.ctx)
	var work sync.WaitGroup
	work.Go(func() {
		tick := time.NewTicker(bareRound)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if err := within(e.host.Namespace(), func() error { return e.round(ctx) }); err != nil && ctx.Err() == nil {
				w.t.Errorf("look after the tunnel of %s: %v", e.host, err)
				return
			}
		}
	})
	w.t.Cleanup(func() {
		cancel()
		work.Wait()
	})
}

// both are the ends as what runs through the tunnel sees them.
func (b *bareTunnel) both() [2]tunnelEnd {
	return [2]tunnelEnd{{b.ends[0].host, b.ends[0].device}, {b.ends[1].host, b.ends[1].device}}
}

// way is from the first end's host itself to the second's.
func (b *bareTunnel) way() way {
	from, to := b.ends[0], b.ends[1]
	return way{name: "endpoints", from: from.host.Namespace(), to: to.host.Namespace(), addr: to.device.Address}
}
