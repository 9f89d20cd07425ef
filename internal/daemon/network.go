package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"edgenet.dev/edgenet/internal/records"
	"edgenet.dev/edgenet/pkg/isolation"
	"edgenet.dev/edgenet/pkg/mesh"
	"edgenet.dev/edgenet/pkg/tunnel"
)

// maxProblem is how much of an error a record carries, in bytes.
const maxProblem = 500

// gather is the least time between two rounds that changes asked for: the first
// change is in force at once, those that follow it closely together.
const gather = 10 * time.Millisecond

// pause waits, and tells whether it could do so before ctx ended.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// network owns the endpoints and the datapath of this host.
type network struct {
	mesh    *mesh.Mesh
	tunnels *tunnels
	log     *slog.Logger
	dirty   chan struct{}
	heard   *heard
	// passed is called when time alone has changed something for all.
	passed func()
	// missed is the last such moment that was over before it was waited for.
	missed time.Time
	// departures are the detaches that wait for mu.
	departures departures
	half       half
	// carries is true while the datapath is open and leads where tunnels do.
	carries atomic.Bool
	// opened is closed when run has tried to open the datapath.
	opened chan struct{}
	// openDatapath is Kernel's.
	openDatapath func(context.Context, isolation.Config) (Datapath, error)
	trouble      complaint
	// maxFlows and flowTimeouts are the configuration's.
	maxFlows     int
	flowTimeouts map[isolation.FlowState]time.Duration

	// mu serializes rounds: the loop's, and those of attach and detach, which
	// answer only when the kernel is as asked.
	mu       sync.Mutex
	reader   reader
	derived  derived
	applied  *applied // nil if the last round did not go well
	datapath Datapath
	// uses is the datapath that was opened last; it tells of uses when it is closed,
	// too.
	uses     atomic.Pointer[Datapath]
	tallies  tallies
	counting complaint
	// problems are the endpoints that the last round could not make right.
	problems map[isolation.Key]error
	// vpcProblems are the VPCs, by VNI, whose rules it could not work out.
	vpcProblems map[uint32]error
	// general is what went wrong in the loop's last round, endpoints aside.
	general error
}

// scope says how much of the kernel a round looks at.
type scope int

const (
	// everything: what others did behind the daemon's back is mended.
	everything scope = iota
	// news: only what follows from records that have changed since the last
	// round; its cost does not grow with what is there.
	news
)

// run reconciles until ctx ends; what it made stays in force.
func (n *network) run(ctx context.Context) error {
	ticker := time.NewTicker(resync)
	defer ticker.Stop()
	due := time.NewTimer(math.MaxInt64)
	defer due.Stop()
	next := everything
	n.adopt(ctx)
	for {
		n.trouble.note(n.reconcile(ctx, next))
		ended := time.Now()
		due.Reset(n.nextMoment())
		select {
		case <-ctx.Done():
			return n.close()
		case <-n.dirty:
			// A burst of changes is few rounds, and an attach in it does not wait
			// for many.
			if !pause(ctx, gather-time.Since(ended)) {
				return n.close()
			}
			next = news
		case <-due.C:
			n.passed()
			next = news
		case <-ticker.C:
			next = everything
		}
	}
}

// nextMoment is how long nothing changes but by records. The time is looked at again
// with each round, since it can be corrected.
func (n *network) nextMoment() time.Duration {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.reader.last == nil || n.reader.last.until.IsZero() {
		return math.MaxInt64
	}
	until := n.reader.last.until
	left := until.Sub(n.mesh.Time())
	switch {
	case left > 0:
		return left + time.Millisecond
	case until.Equal(n.missed): // rounds cannot be made now
		return resync
	default:
		n.missed = until
		return 0
	}
}

// adopt opens the datapath of a member before its tunnels are looked at: a device
// that tunnels make brings tenants' packets to nobody until the datapath is on it,
// and opening may take seconds on a busy machine. What goes wrong is met again, and
// told, by the rounds.
func (n *network) adopt(ctx context.Context) {
	defer close(n.opened)
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, in := n.mesh.MeshID(); !in {
		return
	}
	if err := n.open(ctx); err != nil {
		n.log.Debug("datapath is opened later", "err", err)
	}
}

// close lets go of the datapath, which stays in force.
func (n *network) close() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.datapath == nil {
		return nil
	}
	n.half.open(nil)
	n.carries.Store(false)
	err := n.datapath.Close()
	n.datapath, n.applied = nil, nil
	return err
}

func (n *network) reconcile(ctx context.Context, look scope) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	s, err := n.apply(ctx, nil, look)
	for _, vni := range slices.Sorted(maps.Keys(n.vpcProblems)) {
		err = errors.Join(err, n.vpcProblems[vni])
	}
	err = errors.Join(err, n.report(ctx, s))
	n.general = err
	for _, node := range n.reader.unfounded(time.Now()) {
		n.mesh.CountRefused(node, mesh.RefusedNoGrant)
	}
	return err
}

// apply makes the datapath equal to s, or to the records if that is nil. It
// returns what it was made from, nil while there is nothing to make. What is
// wrong with single endpoints and VPCs is left in n.
func (n *network) apply(ctx context.Context, s *snapshot, look scope) (*snapshot, error) {
	n.vpcProblems = nil
	if _, in := n.mesh.MeshID(); !in {
		n.problems = nil
		return nil, nil
	}
	t := n.tunnels.current()
	if !t.ready() {
		return nil, nil
	}
	if err := n.open(ctx); err != nil {
		return nil, err
	}
	if s == nil {
		s = n.reader.read()
	}
	next := applied{parts: n.derived.update(s, t.mtu), devices: t.devices, reaches: n.waiting(s, t)}
	if look == news && next.same(n.applied) {
		return s, nil
	}
	n.applied = nil
	state, problems := next.parts.assemble(s, next.names(), next.reaches)
	n.vpcProblems = problems
	n.counting.note(n.tallies.follow(context.WithoutCancel(ctx), s, n.datapath))
	// A round is not stopped halfway: an endpoint that was not got round to
	// would count as one that does not work.
	round := n.datapath.Apply
	if look == news {
		round = n.datapath.Change
	}
	err := round(context.WithoutCancel(ctx), state)
	var failed *isolation.ApplyError
	if err == nil || errors.As(err, &failed) {
		n.carries.Store(true)
	}
	if failed != nil {
		n.problems = failed.Endpoints
		return s, failed.Other
	}
	n.problems = nil
	if len(problems) == 0 {
		n.applied = &next
	}
	return s, err
}

// applied is what a round that went well was made from.
type applied struct {
	parts   derived
	devices []tunnel.Device
	reaches map[mesh.NodeID]reach
}

// names are the tunnel devices'.
func (a *applied) names() []string {
	var out []string
	for _, d := range a.devices {
		out = append(out, d.Name)
	}
	return out
}

// same tells whether there is nothing new. Parts that are the same are at the
// same place.
func (a *applied) same(before *applied) bool {
	return before != nil && slices.Equal(a.devices, before.devices) && maps.Equal(a.parts, before.parts) && maps.Equal(a.reaches, before.reaches)
}

func (n *network) open(ctx context.Context) error {
	if n.datapath != nil {
		return nil
	}
	begun := time.Now()
	d, err := n.openDatapath(ctx, isolation.Config{
		Logger:     n.log,
		MeshPrefix: n.mesh.MeshPrefix(),
		NodePrefix: n.mesh.Self().Prefix,

		MaxFlows:     n.maxFlows,
		FlowTimeouts: n.flowTimeouts,
	})
	if err != nil {
		return fmt.Errorf("open datapath: %w", err)
	}
	if err := n.hear(d); err != nil {
		return fmt.Errorf("open datapath: %w", err)
	}
	n.log.Debug("datapath is open", "took", time.Since(begun).Round(time.Millisecond))
	n.half.open(d)
	n.datapath = d
	n.uses.Store(&d)
	return nil
}

// lastUse is when a tenant's packet last came from a node or went there. It waits
// for no round.
func (n *network) lastUse(node netip.Prefix) time.Time {
	d := n.uses.Load()
	if d == nil {
		return time.Time{}
	}
	return (*d).LastUse(node)
}

// report writes into this node's own endpoint records what became of them:
// superseded for good, or not working and why. s is nil if there was nothing to
// make.
func (n *network) report(ctx context.Context, s *snapshot) error {
	if s == nil || s.isEvicted() { // What an evicted node says nobody hears.
		return nil
	}
	var problems []error
	for e := range s.local() {
		why := n.why(s, e)
		if e.record.GetProblem() == why && e.record.GetSuperseded() == e.lost {
			continue
		}
		next, ok := proto.Clone(e.record).(*records.Endpoint)
		if !ok {
			continue
		}
		next.Problem, next.Superseded = why, e.lost
		switch {
		case e.lost && !e.record.GetSuperseded():
			n.log.Warn("endpoint is superseded and cut off: a later attach took its name or address",
				"endpoint", e.name, "vni", e.vni, "ip", e.record.GetIp(), "why", s.whoTook(e))
		case why != "":
			n.log.Warn("endpoint does not work", "endpoint", e.name, "vni", e.vni, "err", why)
		default:
			n.log.Info("endpoint works again", "endpoint", e.name, "vni", e.vni)
		}
		problems = append(problems, n.put(ctx, e.key(), next))
	}
	return errors.Join(append(problems, n.forget(ctx, s))...)
}

// why says what keeps an endpoint of this host from working, "" if nothing does.
func (n *network) why(s *snapshot, e *endpoint) string {
	switch err := n.problems[isolation.Key{VNI: e.vni, Name: e.name}]; {
	case s.byVNI[e.vni] == nil:
		return fmt.Sprintf("its VPC with VNI %d was deleted; detach it", e.vni)
	case e.barred != nil:
		return clip(e.barred.Error())
	case n.vpcProblems[e.vni] != nil:
		return clip(n.vpcProblems[e.vni].Error())
	case err != nil:
		return clip(err.Error())
	}
	return ""
}

// clip keeps a message within the bounds of a record.
func clip(s string) string { return strings.ToValidUTF8(s[:min(len(s), maxProblem)], "") }

func (n *network) put(ctx context.Context, key string, e *records.Endpoint) error {
	payload, err := proto.MarshalOptions{Deterministic: true}.Marshal(e)
	if err != nil {
		return fmt.Errorf("encode endpoint %s: %w", key, err)
	}
	_, err = n.mesh.Put(ctx, mesh.KindEndpoint, key, payload)
	return err
}

// running is the datapath that is open, nil if none is. It may be closed while it
// is used: its methods say so then.
func (n *network) running() Datapath {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.datapath
}

// problem is what the last round could not make right, endpoints aside.
func (n *network) problem() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.general
}

// drops are the packets that belong to no endpoint, by reason.
func (n *network) drops() (map[string]uint64, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.datapath == nil {
		return nil, nil
	}
	return n.datapath.GlobalDrops()
}

// status is what the kernel knows of this host's endpoints.
func (n *network) status(ctx context.Context) (map[isolation.Key]isolation.Status, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.datapath == nil {
		return nil, nil
	}
	return n.datapath.Status(ctx)
}

// leave takes the datapath and all devices of edgenet's away, then calls
// forget; no round comes between the two. If it fails, the next round makes
// right again what the records still ask for.
func (n *network) leave(ctx context.Context, forget func(context.Context) error) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	defer poke(n.dirty)
	if err := n.remove(ctx); err != nil {
		return fmt.Errorf("remove datapath: %w", err)
	}
	return forget(ctx)
}

// remove takes away what is in the kernel. mu is held.
func (n *network) remove(ctx context.Context) error {
	if err := n.open(ctx); err != nil {
		// A host that never could have a datapath, or has one of another
		// version, must be able to leave too.
		n.log.Warn("remove a datapath that cannot be opened", "err", err)
		return isolation.RemoveAll(ctx, n.log)
	}
	if err := n.datapath.Remove(ctx); err != nil {
		return err
	}
	n.half.open(nil)
	n.carries.Store(false)
	err := n.datapath.Close()
	n.datapath, n.applied = nil, nil
	return err
}
