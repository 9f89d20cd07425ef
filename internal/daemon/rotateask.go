package daemon

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	api "edgenet.dev/edgenet/api/edgenet/v1"
	"edgenet.dev/edgenet/api/edgenet/v1/edgenetv1connect"
	"edgenet.dev/edgenet/pkg/mesh"
	"edgenet.dev/edgenet/pkg/tunnel"
)

// rotateAtOnce is how many peers are asked at once.
const rotateAtOnce = 16

// answer is what a peer says about a key of this node.
type answer struct {
	known, used, busy bool
	why               string
}

// askAll asks every peer that is alive and has a tunnel by WireGuard. It returns
// those whose answer is not yet what it should be, in words, and whether one of them
// replaces its own key first.
func (r *rotation) askAll(ctx context.Context, key tunnel.PublicKey, current bool) (open []string, busy bool) {
	var mu sync.Mutex
	var tasks sync.WaitGroup
	slots := make(chan struct{}, rotateAtOnce)
	known := r.tunnels.current().keys
	for _, n := range r.tunnels.mesh.Nodes() {
		if _, there := known[n.ID]; !there || n.Local || n.State != mesh.StateAlive {
			continue
		}
		slots <- struct{}{}
		tasks.Go(func() {
			defer func() { <-slots }()
			a, err := r.ask(ctx, n.ID, key, current)
			if err != nil {
				a = answer{why: err.Error()}
			}
			if a.known && (a.used || !current) {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			open, busy = append(open, fmt.Sprintf("%s: %s", n.Name, a.why)), busy || a.busy
		})
	}
	tasks.Wait()
	slices.Sort(open)
	return open, busy
}

// askKey is KnowKey of another node.
func (d *Daemon) askKey(ctx context.Context, node mesh.NodeID, key tunnel.PublicKey, current bool) (answer, error) {
	res, err := askPeer(ctx, d, node, &api.KnowKeyRequest{PublicKey: key[:], Current: current},
		func(c edgenetv1connect.PeerServiceClient) func(context.Context, *api.KnowKeyRequest) (*api.KnowKeyResponse, error) {
			return c.KnowKey
		})
	if err != nil {
		return answer{}, err
	}
	return answer{known: res.GetKnown(), used: res.GetUsed(), busy: res.GetBusy(), why: res.GetWhy()}, nil
}

// KnowKey tells another node whether this one knows and uses its key.
func (d *Daemon) KnowKey(ctx context.Context, req *api.KnowKeyRequest) (*api.KnowKeyResponse, error) {
	caller, ok := mesh.PeerFromContext(ctx)
	if !ok {
		return nil, precondition("ask about a tunnel key: only nodes have one")
	}
	if len(req.GetPublicKey()) != len(tunnel.PublicKey{}) {
		return nil, invalid("ask about a tunnel key: it has %d bytes", len(req.GetPublicKey()))
	}
	now := time.Now()
	a := d.tunnels.knowsKey(caller.ID, tunnel.PublicKey(req.GetPublicKey()))
	a = d.rotation.letGo(caller.ID, a, req.GetCurrent(), now)
	if (!a.known || !a.used) && d.rotation.hurries(caller.ID, now) {
		poke(d.tunnels.sized) // the sooner it is known
	}
	return &api.KnowKeyResponse{Known: a.known, Used: a.used, Busy: a.busy, Why: a.why}, nil
}

// knowsKey tells whether a node's key is that of its peer, and packets to it go by
// it.
func (t *tunnels) knowsKey(node mesh.NodeID, key tunnel.PublicKey) answer {
	state := t.current()
	k, there := state.keys[node]
	switch {
	case !state.ready():
		return answer{why: "its own tunnels are not up"}
	case !there:
		// It would begin with the key that is announced then.
		return answer{known: true, used: true}
	case k.newest != key:
		return answer{why: "it has not set up the key"}
	case k.sends != key:
		return answer{known: true, why: "it has not heard of the key through the tunnel"}
	}
	return answer{known: true, used: true}
}

// asker is a node that asks about its key: since when, when last, and when last a
// round followed from it.
type asker struct{ began, last, served time.Time }

// hurries tells whether a node's question has a round come soon. One that asks again
// and again, as none does that has its key replaced, or more often than those, has to
// wait for the rounds that come anyway.
func (r *rotation) hurries(node mesh.NodeID, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	a, known := r.askers[node]
	if !known {
		maps.DeleteFunc(r.askers, func(_ mesh.NodeID, a asker) bool { return now.Sub(a.last) > rotateTurns })
	}
	if !known || now.Sub(a.last) > rotateTurns {
		a = asker{began: now}
	}
	a.last = now
	hurries := now.Sub(a.began) < rotateTurns && now.Sub(a.served) >= rotateAsk/2
	if hurries {
		a.served = now
	}
	r.askers[node] = a
	return hurries
}

// letGo lets another node replace its key before this one does, if this one is not
// at it: two that change at once would wait for one another. Of two that ask at
// once the one with the lower id goes first.
func (r *rotation) letGo(other mesh.NodeID, a answer, current bool, now time.Time) answer {
	r.mu.Lock()
	defer r.mu.Unlock()
	if current {
		if a.used {
			delete(r.promised, other)
		}
		return a
	}
	if r.turn == changing || r.turn == asking && r.self < other {
		delete(r.promised, other)
		return answer{busy: true, why: "it replaces its own key first"}
	}
	if a.known {
		r.promised[other] = now
	}
	return a
}

// takeTurn begins the change if no other node was let go first: those that were
// have changed, or have not asked for a while.
//
// Since others may ask for ever, that holds for a while after this one began.
func (r *rotation) takeTurn(began time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	for other, asked := range r.promised {
		if now.Sub(asked) < rotateWait && now.Sub(began) < rotateTurns {
			r.words = "another node replaces its key first"
			return false
		}
		delete(r.promised, other)
	}
	r.turn = changing
	return true
}
