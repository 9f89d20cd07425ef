package daemon

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	api "edgenet.dev/edgenet/api/edgenet/v1"
	"edgenet.dev/edgenet/pkg/mesh"
)

// tunnelBacklog is how many events wait for somebody who watches.
const tunnelBacklog = 256

// tunnelWatchers are those who watch tunnels. The zero value is ready.
type tunnelWatchers struct {
	mu  sync.Mutex
	all map[*tunnelWatch]struct{}
}

// tunnelWatch is one of them.
type tunnelWatch struct {
	events chan toldEvent
	// mu is for leftOut, which counts the events that found no room.
	mu      sync.Mutex
	leftOut uint64
}

// toldEvent is one that a round has found.
type toldEvent struct {
	round uint64
	tunnelEvent
}

// tell hands events to all who watch, and waits for nobody.
func (w *tunnelWatchers) tell(round uint64, events []tunnelEvent) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for one := range w.all {
		for _, e := range events {
			select {
			case one.events <- toldEvent{round, e}:
			default:
				one.mu.Lock()
				one.leftOut++
				one.mu.Unlock()
			}
		}
	}
}

func (w *tunnelWatchers) add() (one *tunnelWatch, remove func()) {
	one = &tunnelWatch{events: make(chan toldEvent, tunnelBacklog)}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.all == nil {
		w.all = map[*tunnelWatch]struct{}{}
	}
	w.all[one] = struct{}{}
	return one, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.all, one)
	}
}

// missed is how many events were left out, once all before them were taken.
func (w *tunnelWatch) missed() uint64 {
	if len(w.events) > 0 {
		return 0
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	n := w.leftOut
	w.leftOut = 0
	return n
}

// WatchTunnels sends how each tunnel is, then every change, until ctx ends or send
// fails. Who reads too slowly is told how much was left out, and then how each
// tunnel is by now.
func (d *Daemon) WatchTunnels(ctx context.Context, req *api.WatchTunnelsRequest, send func(*api.WatchTunnelsResponse) error) error {
	wanted, err := d.watchedNodes(req.GetNodes())
	if err != nil {
		return fmt.Errorf("watch tunnels: %w", err)
	}
	watch, remove := d.tunnels.watchers.add()
	defer remove()
	round, err := d.sendTunnels(wanted, send)
	if err != nil {
		return err
	}
	for {
		select {
		case e := <-watch.events:
			if e.round > round && wanted(e.id) {
				if err := send(&api.WatchTunnelsResponse{Event: e.api()}); err != nil {
					return err
				}
			}
		case <-ctx.Done():
			return nil
		}
		if n := watch.missed(); n > 0 {
			if err := send(&api.WatchTunnelsResponse{LeftOut: n}); err != nil {
				return err
			}
			if round, err = d.sendTunnels(wanted, send); err != nil {
				return err
			}
		}
	}
}

// watchedNodes tells which nodes are meant; none is all.
func (d *Daemon) watchedNodes(names []string) (func(mesh.NodeID) bool, error) {
	var ids []mesh.NodeID
	for _, name := range names {
		n, ok := d.mesh.Node(name)
		if !ok {
			return nil, notFound("node %q: not found", name)
		}
		ids = append(ids, n.ID)
	}
	return func(id mesh.NodeID) bool { return len(ids) == 0 || slices.Contains(ids, id) }, nil
}

// sendTunnels sends how each tunnel is, and returns the round that has found so.
func (d *Daemon) sendTunnels(wanted func(mesh.NodeID) bool, send func(*api.WatchTunnelsResponse) error) (round uint64, err error) {
	t, stats := d.tunnels.current(), d.tunnels.probes.stats()
	now := timestamppb.New(time.Now())
	for _, id := range sortedNodes(t.seen) {
		if !wanted(id) {
			continue
		}
		n, ok := d.mesh.Node(string(id))
		if !ok {
			continue // it is forgotten, which the next round tells
		}
		p := apiPeerTunnel(n, t, stats)
		err := send(&api.WatchTunnelsResponse{Event: &api.TunnelEvent{
			Time: now, Type: tunnelPresent, Node: p.GetNode(), NodeId: p.GetNodeId(), Is: p.GetTunnel().GetState(), Why: p.GetWhy(), Tunnel: p,
		}})
		if err != nil {
			return 0, err
		}
	}
	return t.round, send(&api.WatchTunnelsResponse{Event: &api.TunnelEvent{Time: now, Type: tunnelSynced}})
}
