package daemontest

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"edgenet.dev/edgenet/internal/daemon"
	"edgenet.dev/edgenet/pkg/isolation"
	"edgenet.dev/edgenet/pkg/policy"
	"edgenet.dev/edgenet/pkg/tunnel"
	"edgenet.dev/edgenet/pkg/tunnel/hold"
	"edgenet.dev/edgenet/pkg/tunnel/ipsec"
	"edgenet.dev/edgenet/pkg/tunnel/tunneltest"
	"edgenet.dev/edgenet/pkg/tunnel/wireguard"
)

// Kernel is a host's kernel. It outlives the daemons that act upon it.
type Kernel struct {
	// Network is what the tunnels of several hosts share.
	Network *tunneltest.Network

	mu sync.Mutex
	// state is what was applied last, applied how often something was.
	state   isolation.State
	applied int
	// broken are the endpoints that cannot be made, and why.
	broken map[isolation.Key]error
	// mtu is why the tunnel device cannot be made.
	mtu error
	// datapath is why the datapath cannot be opened; opening is called before it is.
	datapath error
	opening  func()
	// ipsec is true if the host has IPsec, bare if it lacks WireGuard.
	ipsec, bare bool
	// modules is true if it can do in the kernel what it does in userspace, proves if
	// datapaths answer by its tunnels.
	modules, proves bool
	// devices are the drivers' that were opened last, by technology, and made the
	// names of those that made them.
	devices map[tunnel.Technology]*tunneltest.Memory
	made    map[tunnel.Technology]string
	// routes are those to single nodes.
	routes  map[netip.Prefix]string
	downs   int
	removed bool
	during  func(isolation.State)
	// leaving is called before a device is said to be gone.
	leaving func(isolation.Key) error
	// trace answers traces, hits and counters are what was counted.
	trace    func(isolation.Probe) isolation.Trace
	hits     map[isolation.Rule]isolation.Hits
	counters map[isolation.Key]isolation.Counters
	// announced takes what Announce tells.
	announced func(isolation.Key, netip.Addr)
}

// Daemon is the kernel as a daemon takes it.
func (k *Kernel) Daemon() daemon.Kernel {
	return daemon.Kernel{
		Tunnels: func(cfg wireguard.Config) (tunnel.Driver, error) {
			return k.open(tunnel.WireGuard, cfg.Key.Public(), k.driverOf(cfg.Kind)), nil
		},
		IPsec: func(cfg ipsec.Config) (tunnel.Driver, error) {
			return k.open(tunnel.IPsec, cfg.Key.Public(), cfg.Kind.String()), nil
		},
		Probe:        k.probe,
		Found:        k.found,
		Via:          k.via,
		ListRoutes:   k.listRoutes,
		Hold:         func(hold.Config) (daemon.Hold, error) { return nil, tunnel.ErrUnsupported },
		EnsureRoutes: k.ensureRoutes,
		Datapath: func(context.Context, isolation.Config) (daemon.Datapath, error) {
			k.mu.Lock()
			opening := k.opening
			k.mu.Unlock()
			if opening != nil {
				opening()
			}
			k.mu.Lock()
			defer k.mu.Unlock()
			return datapath{k}, k.datapath
		},
		UnderlayMTU: func(netip.Addr) (int, error) {
			k.mu.Lock()
			defer k.mu.Unlock()
			return 1500, k.mtu
		},
	}
}

// Endpoints are those that are in force, and not cut off.
func (k *Kernel) Endpoints() []isolation.Key {
	k.mu.Lock()
	defer k.mu.Unlock()
	var out []isolation.Key
	for key := range k.state.Keys() {
		if e, _ := k.state.Endpoint(key); !e.Superseded && k.broken[key] == nil {
			out = append(out, key)
		}
	}
	return out
}

// Endpoint is an endpoint as it was applied last.
func (k *Kernel) Endpoint(key isolation.Key) isolation.Endpoint {
	k.mu.Lock()
	defer k.mu.Unlock()
	e, _ := k.state.Endpoint(key)
	return e
}

// Route is where a prefix of a VPC leads to.
func (k *Kernel) Route(vni uint32, prefix netip.Prefix) isolation.Location {
	k.mu.Lock()
	defer k.mu.Unlock()
	if v := k.state.VPCs[vni]; v != nil {
		return v.Routes[prefix]
	}
	return isolation.Location{}
}

// Rules are the rules of the groups that verdicts come from, sorted.
func (k *Kernel) Rules() []policy.RuleRef {
	k.mu.Lock()
	defer k.mu.Unlock()
	found := map[policy.RuleRef]bool{}
	for _, v := range k.state.VPCs {
		for _, table := range v.Policies {
			for _, intervals := range table.Verdicts {
				for _, i := range intervals {
					found[table.Rules[i.Rule]] = true
				}
			}
		}
	}
	delete(found, policy.RuleRef{}) // The default.
	return slices.SortedFunc(maps.Keys(found), func(a, b policy.RuleRef) int {
		return cmp.Or(cmp.Compare(a.Group, b.Group), cmp.Compare(a.ID, b.ID))
	})
}

// Applied tells how often a state was applied.
func (k *Kernel) Applied() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.applied
}

// Downs tells how often the tunnels were taken down, and whether the datapath
// was.
func (k *Kernel) Downs() (tunnels int, datapath bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.downs, k.removed
}

// Announce has an endpoint announce an address.
func (k *Kernel) Announce(of isolation.Key, addr netip.Addr) {
	k.mu.Lock()
	announced := k.announced
	k.mu.Unlock()
	announced(of, addr)
}

// Break makes an endpoint impossible; nil mends it.
func (k *Kernel) Break(key isolation.Key, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.broken == nil {
		k.broken = map[isolation.Key]error{}
	}
	if err == nil {
		delete(k.broken, key)
		return
	}
	k.broken[key] = err
}

// BreakTunnels makes the tunnel device impossible; nil mends it.
func (k *Kernel) BreakTunnels(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.mtu = err
}

// Opening has do called whenever the datapath is about to be opened.
func (k *Kernel) Opening(do func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.opening = do
}

// BreakDatapath makes it impossible to open the datapath; nil mends it.
func (k *Kernel) BreakDatapath(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.datapath = err
}

// Reaches is the tunnel device by which a node is reached, or none.
func (k *Kernel) Reaches(node netip.Prefix) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.state.Nodes[node].Device
}

// During has f called in the midst of every Apply.
func (k *Kernel) During(f func(isolation.State)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.during = f
}

// Leaving has f called for each device before it is said to be gone, unless it
// returns an error.
func (k *Kernel) Leaving(f func(isolation.Key) error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.leaving = f
}

// TraceWith has f answer traces.
func (k *Kernel) TraceWith(f func(isolation.Probe) isolation.Trace) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.trace = f
}

// Count sets what rules and endpoints have counted.
func (k *Kernel) Count(hits map[isolation.Rule]isolation.Hits, counters map[isolation.Key]isolation.Counters) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.hits, k.counters = hits, counters
}

type datapath struct{ kernel *Kernel }

// UseHalf marks packets, of which there are none here.
func (d datapath) UseHalf(bool) {}

// Change has no reason to be another here: nobody else touches this kernel.
func (d datapath) Change(ctx context.Context, want isolation.State) error { return d.Apply(ctx, want) }

func (d datapath) Apply(_ context.Context, want isolation.State) error {
	k := d.kernel
	k.mu.Lock()
	k.state, k.removed = want, false
	k.applied++
	failed := &isolation.ApplyError{Endpoints: map[isolation.Key]error{}}
	for key, err := range k.broken {
		if _, ok := want.Endpoint(key); ok {
			failed.Endpoints[key] = err
		}
	}
	during := k.during
	k.mu.Unlock()
	if during != nil {
		during(want)
	}
	if len(failed.Endpoints) > 0 {
		return failed
	}
	return nil
}

// LastUse tells of none: there are no packets here.
func (datapath) LastUse(netip.Prefix) time.Time { return time.Time{} }

func (d datapath) AwaitGone(_ context.Context, key isolation.Key) error {
	d.kernel.mu.Lock()
	leaving := d.kernel.leaving
	d.kernel.mu.Unlock()
	if leaving == nil {
		return nil
	}
	return leaving(key)
}

// GlobalDrops tells of none: there are no packets here.
func (datapath) GlobalDrops() (map[string]uint64, error) { return map[string]uint64{}, nil }

func (d datapath) Status(context.Context) (map[isolation.Key]isolation.Status, error) {
	d.kernel.mu.Lock()
	defer d.kernel.mu.Unlock()
	out := map[isolation.Key]isolation.Status{}
	for key := range d.kernel.state.Keys() {
		out[key] = isolation.Status{Device: "env" + key.Name, Counters: d.kernel.counters[key]}
	}
	return out, nil
}

// Announcements is daemon's interface for a datapath that hears them.
func (d datapath) Announcements(f func(isolation.Key, netip.Addr)) error {
	d.kernel.mu.Lock()
	defer d.kernel.mu.Unlock()
	d.kernel.announced = f
	return nil
}

// EndpointStatus is Status of one.
func (d datapath) EndpointStatus(key isolation.Key) (isolation.Status, bool, error) {
	all, err := d.Status(context.Background())
	one, ok := all[key]
	return one, ok, err
}

func (d datapath) Remove(context.Context) error {
	d.kernel.mu.Lock()
	defer d.kernel.mu.Unlock()
	d.kernel.state, d.kernel.removed = isolation.State{}, true
	return nil
}

func (d datapath) Close() error { return nil }

// errNoPackets is what there is to say of flows and packets: there are none here.
var errNoPackets = errors.New("a kernel in memory has no packets")

// Flows is an empty sequence.
func (datapath) Flows(context.Context, isolation.FlowFilter) iter.Seq2[isolation.Flow, error] {
	return func(func(isolation.Flow, error) bool) {}
}

func (datapath) FlushFlows(context.Context, isolation.FlowFilter) (int, error) { return 0, nil }

func (datapath) Watch(context.Context, ...isolation.EventKind) (*isolation.Watch, error) {
	return nil, errNoPackets
}

// Trace is what the kernel was told to answer with TraceWith.
func (d datapath) Trace(_ context.Context, p isolation.Probe) (isolation.Trace, error) {
	d.kernel.mu.Lock()
	defer d.kernel.mu.Unlock()
	if d.kernel.trace == nil {
		return isolation.Trace{}, errNoPackets
	}
	return d.kernel.trace(p), nil
}

// RuleOf knows no numbers.
func (datapath) RuleOf(uint32) (isolation.Rule, bool) { return isolation.Rule{}, false }

// RuleHits are what the kernel was told to answer with Count.
func (d datapath) RuleHits(context.Context, uint32) (map[isolation.Rule]isolation.Hits, error) {
	d.kernel.mu.Lock()
	defer d.kernel.mu.Unlock()
	return maps.Clone(d.kernel.hits), nil
}
