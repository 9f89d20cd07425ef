package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"edgenet.dev/edgenet/pkg/mesh"
	"edgenet.dev/edgenet/pkg/tunnel"
	"edgenet.dev/edgenet/pkg/tunnel/wireguard"
)

const (
	// rotateAsk is the time between two rounds of asking peers, and rotateWait how
	// long those are waited for that do not say what they should.
	rotateAsk  = 250 * time.Millisecond
	rotateWait = 30 * time.Second
	// rotateTurns bounds how long others' rotations are waited for.
	rotateTurns = 2 * time.Minute
	// rotateDue is the time between two looks at the key's age.
	rotateDue = time.Second
)

// rotation replaces this node's WireGuard key: it announces the next one, waits
// until its peers know it, changes, and waits until they use it. What goes on is
// in files, so that the next daemon ends what this one began.
type rotation struct {
	tunnels *tunnels
	keys    *wireguard.Keys
	// lifetime is how old a key gets at most; 0 means any age.
	lifetime time.Duration
	// ask is KnowKey of another node.
	ask func(ctx context.Context, node mesh.NodeID, key tunnel.PublicKey, current bool) (answer, error)
	// useHalf has this host's packets marked as those of a key.
	useHalf func(upper bool)
	// device is the key that the device had when this daemon began.
	device tunnel.PublicKey
	// carries tells whether this host's datapath is open, and leads to peers.
	carries func() bool
	self    mesh.NodeID
	log     *slog.Logger
	// due is poked when a rotation is asked for.
	due chan struct{}

	mu    sync.Mutex
	asked bool
	// running is closed when the rotation that goes on ends; nil if none does.
	running chan struct{}
	// words say what goes on.
	words string
	// turn is where this node is, promised which nodes it lets go first, and when
	// they asked last.
	turn     turn
	promised map[mesh.NodeID]time.Time
	// askers are the nodes that have asked about their keys of late.
	askers map[mesh.NodeID]asker
	last   rotated
}

// rotated is what came of a rotation.
type rotated struct {
	// silent are the nodes that did not say what they should, and why.
	silent []string
	// gap is how long the device had the new key and packets the old half.
	gap time.Duration
	err error
}

// turn is where a node is that replaces its key.
type turn int

const (
	// idle: it does not.
	idle turn = iota
	// asking: it waits for peers to know the next key. Another node may go first.
	asking
	// changing: it changes, and until its peers have followed nobody else does.
	changing
)

// errNoWireGuard ends a rotation of a node that has ceased to use WireGuard.
var errNoWireGuard = errors.New("this node does not use WireGuard any more")

// run replaces the key when that is asked for, when it is old, and when a daemon
// before this one began to.
func (r *rotation) run(ctx context.Context) error {
	ticker := time.NewTicker(rotateDue)
	defer ticker.Stop()
	for {
		if r.isDue(time.Now()) {
			r.rotate(ctx)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-r.due:
		case <-ticker.C:
		}
	}
}

// expires is when the key is replaced by itself, zero if never. Up to a tenth of
// its life is taken off, as its bytes say, so that a mesh that was made in a moment
// does not replace all of its keys in one.
func (r *rotation) expires() time.Time {
	if r.lifetime == 0 {
		return time.Time{}
	}
	key := r.keys.Current().Public()
	return r.keys.Since().Add(r.lifetime - r.lifetime/10*time.Duration(key[1])/256)
}

func (r *rotation) isDue(now time.Time) bool {
	if _, in := r.tunnels.mesh.MeshID(); !in || !r.tunnels.current().ready() || r.wireguard() == nil || !r.carries() {
		return false // packets could not be marked
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	at := r.expires()
	return r.asked || !r.keys.Next().IsZero() || !at.IsZero() && now.After(at)
}

// wireguard is the carrier whose key this is; nil if this node does not use it, or
// is to leave it.
func (r *rotation) wireguard() *carrier {
	if c := r.tunnels.carrier(tunnel.WireGuard); c != nil && !c.retired {
		return c
	}
	return nil
}

// request asks for a rotation, and returns what is closed when it has ended. One
// that goes on already is meant, if there is.
func (r *rotation) request() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.running == nil {
		r.running, r.asked, r.words = make(chan struct{}), true, "it is about to begin"
		poke(r.due)
	}
	return r.running
}

func (r *rotation) rotate(ctx context.Context) {
	r.mu.Lock()
	if r.running == nil {
		r.running = make(chan struct{})
	}
	r.mu.Unlock()
	out := r.replace(ctx)
	r.end()
	if out.err != nil && ctx.Err() == nil {
		r.log.Warn("tunnel key is not replaced", "err", out.err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.running)
	r.running, r.asked, r.words, r.turn, r.last = nil, false, "", idle, out
}

// replace is a rotation from its beginning, or from where another daemon left it.
func (r *rotation) replace(ctx context.Context) rotated {
	round, err := r.prepare()
	if err != nil {
		return rotated{err: err}
	}
	var out rotated
	next := r.keys.Next().Public()
	r.say(asking, "peers are told of the next key")
	if err := r.awaitAwake(ctx, round); err != nil {
		return rotated{err: err}
	}
	began := time.Now()
	for {
		silent, err := r.await(ctx, next, false)
		if err != nil {
			return rotated{err: err}
		}
		if len(silent) > 0 {
			r.log.Warn("nodes do not know the next tunnel key; they are cut off until they do", "nodes", silent)
		}
		if r.takeTurn(began) {
			out.silent = silent
			break
		}
		if !pause(ctx, rotateAsk) {
			return rotated{err: ctx.Err()}
		}
	}
	gap, err := r.change(ctx)
	if err != nil {
		return rotated{err: err}
	}
	out.gap = gap
	silent, err := r.await(ctx, next, true)
	if err != nil {
		return rotated{err: err}
	}
	if len(silent) > 0 {
		r.log.Warn("nodes do not use the new tunnel key yet", "nodes", silent)
	}
	out.silent = slices.Compact(slices.Sorted(slices.Values(append(out.silent, silent...))))
	r.log.Info("tunnel key is replaced", "gap", gap, "silent", len(out.silent))
	return out
}

// end lets tunnels rest again.
func (r *rotation) end() {
	r.tunnels.round.Lock()
	defer r.tunnels.round.Unlock()
	r.tunnels.rotating = false
}

func (r *rotation) say(t turn, words string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.turn, r.words = t, words
}

// prepare makes the next key and has it announced. It returns which round was the
// last in which tunnels could rest.
func (r *rotation) prepare() (round uint64, err error) {
	t := r.tunnels
	t.round.Lock()
	defer t.round.Unlock()
	c := r.wireguard()
	if c == nil {
		return 0, errNoWireGuard
	}
	if err = r.prepareKeys(); err != nil {
		return 0, err
	}
	c.next = r.keys.Next().Public()
	if err = r.prove(c); err != nil {
		return 0, err
	}
	t.rotating = true
	poke(t.sized)
	return t.state.round, t.announce(time.Now(), nil)
}

// awaitAwake waits until a round has gone well since one, and so has woken the
// tunnels that rested: only peers with a keepalive are greeted by the new key. Peers
// may all know that already, from a daemon that was killed, and hold nobody up.
func (r *rotation) awaitAwake(ctx context.Context, since uint64) error {
	ctx, cancel := context.WithTimeout(ctx, rotateWait)
	defer cancel()
	err := r.tunnels.awaitState(ctx, func(s tunnelState) bool { return s.round > since && !s.stale })
	if err != nil {
		return fmt.Errorf("wait for tunnels to be awake: %w", err)
	}
	return nil
}

func (r *rotation) prepareKeys() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.keys.Prepare(time.Now())
}

// await asks peers until all of them know a key or, if it is current, use it. It
// returns those that did not in time.
func (r *rotation) await(ctx context.Context, key tunnel.PublicKey, current bool) (silent []string, err error) {
	began := time.Now()
	deadline := began.Add(rotateWait)
	for {
		open, busy := r.askAll(ctx, key, current)
		if len(open) == 0 {
			return nil, nil
		}
		now := time.Now()
		if busy && now.Sub(began) < rotateTurns {
			deadline = now.Add(rotateWait) // it is its turn first
		}
		if now.After(deadline) {
			return open, nil
		}
		if !pause(ctx, rotateAsk) {
			return nil, ctx.Err()
		}
		if _, in := r.tunnels.mesh.MeshID(); !in {
			return nil, errors.New("this node has left its mesh")
		}
	}
}
