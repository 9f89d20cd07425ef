package daemon

import (
	"context"
	"iter"
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
	if k.Datapath == nil {
		k.Datapath = openUpkept
	}
	if k.UnderlayMTU == nil {
		k.UnderlayMTU = tunnel.UnderlayMTU
	}
	return k
}
