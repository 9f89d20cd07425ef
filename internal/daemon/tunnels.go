package daemon

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"edgenet.dev/edgenet/internal/config"
	"edgenet.dev/edgenet/pkg/mesh"
	"edgenet.dev/edgenet/pkg/tunnel"
	"edgenet.dev/edgenet/pkg/tunnel/hold"
)

const (
	// resync is how often everything is compared with the kernel though nobody
	// asked: what was changed behind the daemon's back is mended within it.
	resync = 2 * time.Second
	// keepalive keeps NAT bindings open; WireGuard's own recommendation.
	keepalive = 25 * time.Second
	// calm is the least time between two rounds that drivers, probes or peers asked
	// for: whatever these do, most of the time is left.
	calm = 50 * time.Millisecond
)

// tunnels owns the tunnel devices and peers of this host.
type tunnels struct {
	mesh  *mesh.Mesh
	links []config.Underlay
	// carriers are what this node encrypts with, the preferred one first. They are
	// changed under round and mu, and then by another list.
	carriers []*carrier
	// excluded are the drivers that the operator has this node not use.
	excluded []string
	probes   *probing
	// snapshot is what the records say.
	snapshot func() *snapshot
	// lastUse is when a tenant's packet last came from, or went to, a node.
	lastUse func(netip.Prefix) time.Time
	// idle is how long nothing has to be carried before a tunnel rests; 0 is never.
	idle time.Duration
	// openHold is Kernel's, held is poked when packets wait in hold.
	openHold func(hold.Config) (Hold, error)
	held     chan struct{}
	// ensureRoutes and listRoutes are Kernel's.
	ensureRoutes func(netip.Prefix, map[netip.Prefix]string) ([]netip.Prefix, error)
	listRoutes   func(netip.Prefix) (map[netip.Prefix]string, error)
	// underlayMTU is Kernel's.
	underlayMTU func(netip.Addr) (int, error)
	// adopted is closed when the datapath that was there has been opened, if it can be.
	adopted <-chan struct{}
	log     *slog.Logger
	trouble complaint
	dirty   chan struct{}
	// sized is poked when the MTU to a peer is another, or a driver has noticed
	// something.
	sized chan struct{}
	// changed is poked when what others derive from the tunnels has changed.
	changed func()

	// round serializes reconciling with taking down; the driver is only called
	// under it.
	round sync.Mutex
	// gone is true when it is known that nothing of a mesh is left in the kernel.
	gone bool
	// nodes are those that the last round was for, policy the version of the
	// policy that it followed.
	nodes  []mesh.Node
	policy mesh.Version
	// needed are the nodes that the last round found to be needed, lately those that
	// were.
	needed map[mesh.NodeID]bool
	lately lately
	// hold keeps packets whose tunnel is not there yet; nil if the host cannot, as
	// holding says. givenUp are those that earlier ones have lost.
	hold    Hold
	holding complaint
	givenUp uint64
	// rests say which tunnels rest.
	rests map[mesh.NodeID]rest
	// ways say how each node is reached, and what it is moved to.
	ways map[mesh.NodeID]way
	// watchers are told what changes.
	watchers tunnelWatchers
	// rotating is true while this node's key is replaced: no tunnel rests then.
	rotating bool
	// proofs are those of the peers' keys.
	proofs proofs
	// leaving are former keys of peers that wait to be taken away.
	leaving map[tunnel.PublicKey]leaving
	// goingSince is when some peer began to go over to another key, zero if none does;
	// again pokes meanwhile.
	goingSince time.Time
	again      *time.Timer
	// led are the nodes that have a route of their own, and the devices that these
	// were set to lead into.
	led map[netip.Prefix]tunnel.Device
	// life is the context of run.
	life context.Context //nolint:containedctx // rounds start what outlives them

	mu    sync.RWMutex
	state tunnelState
	// news is closed when state is replaced; nil if nobody waits for that.
	news chan struct{}
}

// run reconciles until ctx ends; what it made stays in force.
func (t *tunnels) run(ctx context.Context) error {
	t.life = ctx
	defer t.letGo()
	ticker := time.NewTicker(resync)
	defer ticker.Stop()
	uses := time.NewTicker(useTick)
	defer uses.Stop()
	select {
	case <-t.adopted:
	case <-ctx.Done():
		return nil
	}
	for {
		t.trouble.note(t.reconcile(ctx))
		if !t.awaitNews(ctx, time.Now(), ticker.C, uses.C) {
			return nil
		}
	}
}

// letGo ends what runs beside the rounds. Tunnels stay.
func (t *tunnels) letGo() {
	t.round.Lock()
	defer t.round.Unlock()
	t.probes.stop()
	for _, c := range t.carriers {
		c.letGo()
	}
}

// awaitNews waits until a round may be of use: most changes of records are no
// tunnel's business. ended is when the last one did. It returns false when ctx has
// ended.
func (t *tunnels) awaitNews(ctx context.Context, ended time.Time, tick, uses <-chan time.Time) bool {
	for {
		select {
		case <-ctx.Done():
			return false
		case <-tick:
			return true
		case <-t.sized:
			return pause(ctx, max(gather, calm-time.Since(ended)))
		case <-t.held:
			t.wake(context.WithoutCancel(ctx))
		case <-uses:
			if t.isUsed() {
				return true
			}
		case <-t.dirty:
			if !slices.EqualFunc(t.nodes, t.mesh.Nodes(), sameNode) || t.policy != t.policyVersion() || t.current().problem != nil || !t.current().ready() || t.needsMore() {
				return true
			}
		}
	}
}

// sameNode compares what the tunnel to a node follows from.
func sameNode(a, b mesh.Node) bool {
	return a.ID == b.ID && a.Prefix == b.Prefix && a.State.Gone() == b.State.Gone() &&
		slices.Equal(a.Links, b.Links) && bytes.Equal(a.Announcement, b.Announcement)
}

// reconcile makes device and peers equal to the mesh's nodes.
func (t *tunnels) reconcile(ctx context.Context) error {
	t.round.Lock()
	defer t.round.Unlock()
	if _, in := t.mesh.MeshID(); !in {
		// A daemon that was killed while it left has not come to this yet.
		return t.remove(context.WithoutCancel(ctx))
	}
	t.gone = false
	// A round is not stopped halfway: its calls are bounded, and half a round
	// would be acted upon.
	next, err := t.converge(context.WithoutCancel(ctx))
	next.problem = err
	if !next.ready() {
		// What was there is still in force as far as anyone knows, unless it was
		// taken away.
		problem := next.problem
		if next = t.state; errors.Is(err, errNoWay) {
			next = tunnelState{round: t.state.round}
		}
		next.problem, next.stale, next.stats = problem, true, t.probes.stats()
	}
	now := time.Now()
	next.round, next.seen = t.state.round+1, t.seen(next, now)
	before := t.replace(next)
	if t.tell(now, before.seen, next) || !slices.Equal(before.devices, next.devices) || before.hold != next.hold || (before.problem == nil) != (err == nil) || !maps.EqualFunc(before.peers, next.peers, samePeer) {
		t.changed()
	}
	return err
}

// converge makes one round: the device that is always up, the choice, the devices
// that it needs, the peers, and what leads to them.
func (t *tunnels) converge(ctx context.Context) (tunnelState, error) {
	now := time.Now()
	unreplaced := t.succeed(now)
	home, failed := t.bringUpHome(ctx, now)
	if home == nil {
		return tunnelState{}, errors.Join(unreplaced, failed, t.closeDown(ctx, failed))
	}
	mtu, err := t.tenantMTU(now)
	if err != nil {
		return tunnelState{}, err
	}
	if err := t.announce(now, nil); err != nil {
		return tunnelState{}, err
	}
	t.nodes, t.policy = t.mesh.Nodes(), t.policyVersion()
	choices, err := t.choose(t.nodes)
	if err != nil {
		return tunnelState{}, err
	}
	routes, err := t.adoptable()
	if err != nil {
		return tunnelState{}, err
	}
	problems := []error{unreplaced, failed, t.bringUpRetired(ctx)}
	withhold(choices, t.need(now, routes))
	problems = append(problems, t.bringUpNeeded(ctx, home, choices, routes))
	want, problem := t.wantPeers(t.nodes, choices)
	state := tunnelState{device: home.device, driver: home.driver.Name(), mtu: mtu, choices: choices}
	for _, c := range t.carriers {
		if c.device.Name != "" {
			state.devices = append(state.devices, c.device)
		}
	}
	t.ensureHold()
	state.hold = t.holdDevice()
	t.settleRests(now, want, choices)
	problems = append(problems, problem, t.dropFormers(ctx, now, choices), t.put(ctx, want, choices), t.identify(ctx), t.move(now, want, choices, routes), t.drop(ctx))
	state.keys = t.keysOf()
	state.peers = t.reached(want, state.keys)
	t.lookAgain(now)
	state.givenUp = t.lost()
	problems = append(problems, t.renew(ctx, choices, t.probes.stats()), t.release(ctx, now, state.peers), t.lead(), t.prove(), t.measure(&state, now))
	return state, errors.Join(problems...)
}

// down takes the tunnels away.
func (t *tunnels) down(ctx context.Context) error {
	t.round.Lock()
	defer t.round.Unlock()
	return t.remove(ctx)
}

// remove takes away all that rounds made. round is held.
func (t *tunnels) remove(ctx context.Context) error {
	if t.gone {
		return nil
	}
	err := t.takeAllDown(ctx)
	t.gone = err == nil
	next := tunnelState{problem: err, round: t.state.round + 1}
	before := t.replace(next)
	t.tell(time.Now(), before.seen, next)
	t.changed()
	return err
}

// poke asks for a round soon. It never blocks.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // one is already due
	}
}
