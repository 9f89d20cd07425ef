package daemon

import (
	"context"
	"net/netip"

	"edgenet.dev/edgenet/pkg/isolation"
	"edgenet.dev/edgenet/pkg/tunnel"
	"edgenet.dev/edgenet/pkg/tunnel/wireguard"
)

// Kernel is what a daemon acts upon. Its zero value is this host's; tests give
// another.
type Kernel struct {
	// Tunnels makes the driver of the tunnels; nil is WireGuard.
	Tunnels func(wireguard.Config) (tunnel.Driver, error)
	// Datapath opens the datapath; nil is isolation.Open.
	Datapath func(context.Context, isolation.Config) (Datapath, error)
	// UnderlayMTU tells the MTU of the device with an address; nil is
	// tunnel.UnderlayMTU.
	UnderlayMTU func(netip.Addr) (int, error)
}

// Datapath is isolation.Datapath, whose words on its methods hold.
type Datapath interface {
	Apply(ctx context.Context, want isolation.State) error
	Change(ctx context.Context, want isolation.State) error
	Status(ctx context.Context) (map[isolation.Key]isolation.Status, error)
	EndpointStatus(key isolation.Key) (isolation.Status, bool, error)
	GlobalDrops() (map[string]uint64, error)
	Remove(ctx context.Context) error
	Close() error
}

func (k Kernel) complete() Kernel {
	if k.Tunnels == nil {
		k.Tunnels = wireguard.New
	}
	if k.Datapath == nil {
		k.Datapath = openUpkept
	}
	if k.UnderlayMTU == nil {
		k.UnderlayMTU = tunnel.UnderlayMTU
	}
	return k
}
