package daemon

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net"
	"net/netip"
	"time"

	"edgenet.dev/edgenet/pkg/isolation"
	"edgenet.dev/edgenet/pkg/tunnel"
	"edgenet.dev/edgenet/pkg/tunnel/hold"
	"edgenet.dev/edgenet/pkg/tunnel/ipsec"
	"edgenet.dev/edgenet/pkg/tunnel/probe"
	"edgenet.dev/edgenet/pkg/tunnel/route"
	"edgenet.dev/edgenet/pkg/tunnel/wireguard"
)

// Kernel is what a daemon acts upon. Its zero value is this host's; tests give
// another.
type Kernel struct {
	// Tunnels makes the driver of the tunnels; nil is WireGuard.
	Tunnels func(wireguard.Config) (tunnel.Driver, error)
	// IPsec makes the driver of IPsec tunnels; nil is charon's.
	IPsec func(ipsec.Config) (tunnel.Driver, error)
	// Probe says what the host lacks for a driver, by its name; nil is the
	// packages' own.
	Probe func(driver string) error
	// Found tells by which driver a device was made that is there, empty if none
	// is; nil is the packages' own.
	Found func(ctx context.Context, t tunnel.Technology, runDir, device string) (driver string, err error)
	// ListRoutes and EnsureRoutes are of routes to single nodes; nil is package
	// route.
	ListRoutes   func(mesh netip.Prefix) (map[netip.Prefix]string, error)
	EnsureRoutes func(mesh netip.Prefix, want map[netip.Prefix]string) (set []netip.Prefix, err error)
	// Via opens the sockets of probes that go by one device; nil is probe.Via.
	Via func(device string) func(source netip.Addr) (net.PacketConn, error)
	// Hold keeps packets whose tunnel is not there yet; nil is package hold.
	Hold func(hold.Config) (Hold, error)
	// Datapath opens the datapath; nil is isolation.Open.
	Datapath func(context.Context, isolation.Config) (Datapath, error)
	// UnderlayMTU tells the MTU of the device with an address; nil is
	// tunnel.UnderlayMTU.
	UnderlayMTU func(netip.Addr) (int, error)
}

// Datapath is isolation.Datapath, whose words on its methods hold.
type Datapath interface {
	UseHalf(upper bool)
	Apply(ctx context.Context, want isolation.State) error
	Change(ctx context.Context, want isolation.State) error
	LastUse(node netip.Prefix) time.Time
	AwaitGone(ctx context.Context, key isolation.Key) error
	Status(ctx context.Context) (map[isolation.Key]isolation.Status, error)
	EndpointStatus(key isolation.Key) (isolation.Status, bool, error)
	GlobalDrops() (map[string]uint64, error)
	Remove(ctx context.Context) error
	Close() error

	Observation
}

// Observation is the part of isolation.Datapath that only looks.
type Observation interface {
	Flows(ctx context.Context, filter isolation.FlowFilter) iter.Seq2[isolation.Flow, error]
	FlushFlows(ctx context.Context, filter isolation.FlowFilter) (int, error)
	Watch(ctx context.Context, kinds ...isolation.EventKind) (*isolation.Watch, error)
	Trace(ctx context.Context, p isolation.Probe) (isolation.Trace, error)
	RuleOf(number uint32) (isolation.Rule, bool)
	RuleHits(ctx context.Context, vni uint32) (map[isolation.Rule]isolation.Hits, error)
}

func (k Kernel) complete() Kernel {
	if k.Tunnels == nil {
		k.Tunnels = wireguard.New
	}
	if k.IPsec == nil {
		k.IPsec = ipsec.New
	}
	if k.Probe == nil {
		k.Probe = probeDriver
	}
	if k.Found == nil {
		k.Found = findDriver
	}
	if k.ListRoutes == nil {
		k.ListRoutes, k.EnsureRoutes = route.List, route.Ensure
	}
	if k.Via == nil {
		k.Via = probe.Via
	}
	if k.Hold == nil {
		k.Hold = func(cfg hold.Config) (Hold, error) {
			h, err := hold.Open(cfg)
			if err != nil {
				return nil, err
			}
			return h, nil
		}
	}
	if k.Datapath == nil {
		k.Datapath = openUpkept
	}
	if k.UnderlayMTU == nil {
		k.UnderlayMTU = tunnel.UnderlayMTU
	}
	return k
}

func probeDriver(name string) error {
	switch name {
	case tunnel.WireGuardKernel:
		return wireguard.Probe(wireguard.KindKernel)
	case tunnel.WireGuardUserspace:
		return wireguard.Probe(wireguard.KindUserspace)
	case tunnel.IPsecUserspace:
		return ipsec.Probe(ipsec.KindUserspace)
	}
	// The kernel itself compares packets with their peers too late: the datapath has
	// to be told whose they are.
	if err := isolation.ProbeStates(); errors.Is(err, isolation.ErrUnsupported) {
		return fmt.Errorf("%w: %w", tunnel.ErrUnsupported, err)
	} else if err != nil {
		return err
	}
	return ipsec.Probe(ipsec.KindKernel)
}

func findDriver(ctx context.Context, t tunnel.Technology, runDir, device string) (string, error) {
	if t == tunnel.IPsec {
		kind, err := ipsec.Find(ctx, runDir, device)
		if err != nil || kind == 0 {
			return "", err
		}
		return kind.String(), nil
	}
	switch kind, err := wireguard.Find(device); kind {
	case wireguard.KindKernel:
		return wireguard.NameKernel, err
	case wireguard.KindUserspace:
		return wireguard.NameUserspace, err
	default:
		return "", err
	}
}
