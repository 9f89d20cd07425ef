package daemon

import (
	"cmp"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	api "edgenet.dev/edgenet/api/edgenet/v1"
	"edgenet.dev/edgenet/internal/health"
	"edgenet.dev/edgenet/pkg/mesh"
)

const (
	// reportLife is how long a report is good for: whoever asks more often gets the
	// same, and costs nothing.
	reportLife = time.Second
	// refusalLife is how long ago a refusal may be to be reported.
	refusalLife = time.Hour
)

// reports keeps the report that was made last.
type reports struct {
	mu   sync.Mutex
	last *api.ReportHealthResponse
	made time.Time
}

// ReportHealth tells how this node sees the mesh.
func (d *Daemon) ReportHealth() *api.ReportHealthResponse {
	d.reports.mu.Lock()
	defer d.reports.mu.Unlock()
	if d.reports.last == nil || time.Since(d.reports.made) > reportLife {
		d.reports.last, d.reports.made = d.makeReport(), time.Now()
	}
	last := d.reports.last
	return &api.ReportHealthResponse{
		Clock: timestamppb.New(d.mesh.Clock()), Nodes: last.GetNodes(), NodesTotal: last.GetNodesTotal(),
		Tunnels: last.GetTunnels(), TunnelsTotal: last.GetTunnelsTotal(),
		Problems: last.GetProblems(), Refusals: last.GetRefusals(),
	}
}

func (d *Daemon) makeReport() *api.ReportHealthResponse {
	out := &api.ReportHealthResponse{Refusals: d.refused()}
	t, nodes := d.tunnels.current(), d.mesh.Nodes()
	for _, n := range nodes {
		if n.Local || n.State.Gone() {
			continue
		}
		if n.State != mesh.StateAlive {
			out.Nodes = append(out.Nodes, &api.SeenNode{Id: string(n.ID), State: string(n.State), ForMs: elapsed(n.Since)})
		}
		if seen, ok := t.seen[n.ID]; ok && n.State != mesh.StateDead {
			out.Tunnels = append(out.Tunnels, troubled(n.ID, seen)...)
		}
	}
	// What is so for longest comes first.
	slices.SortStableFunc(out.GetNodes(), func(a, b *api.SeenNode) int { return cmp.Compare(b.GetForMs(), a.GetForMs()) })
	slices.SortStableFunc(out.GetTunnels(), func(a, b *api.SeenTunnel) int { return cmp.Compare(b.GetForMs(), a.GetForMs()) })
	out.NodesTotal, out.TunnelsTotal = uint32(len(out.GetNodes())), uint32(len(out.GetTunnels()))
	out.Nodes, out.Tunnels = firstOf(out.GetNodes(), health.MaxNodes), firstOf(out.GetTunnels(), health.MaxTunnels)
	note := func(err error) {
		if err != nil {
			out.Problems = append(out.Problems, health.Words(err.Error()))
		}
	}
	note(d.mesh.GossipKeyProblem())
	note(ofAll(t.problem))
	note(d.events.Problem())
	note(d.network.problem())
	_, err := d.network.drops()
	note(err)
	return out
}

// troubled is the tunnel to a node, if something is wrong with it.
func troubled(id mesh.NodeID, seen seenTunnel) []*api.SeenTunnel {
	if seen.state == tunnelUnneeded || len(seen.problems) == 0 && seen.state != tunnelDown {
		return nil
	}
	since, words := seen.since, []string{}
	for _, p := range seen.problems {
		words = append(words, p.words)
		if p.since.Before(since) {
			since = p.since
		}
	}
	if len(words) == 0 {
		words = []string{seen.why}
	}
	return []*api.SeenTunnel{{Id: string(id), State: seen.state, Message: health.Words(strings.Join(words, "; ")), ForMs: elapsed(since)}}
}

// refused is what this node has refused lately, the last first.
func (d *Daemon) refused() []*api.SeenRefusal {
	var out []*api.SeenRefusal
	for _, r := range d.mesh.Refused() {
		if time.Since(r.Last) <= refusalLife {
			out = append(out, &api.SeenRefusal{Id: string(r.Node), Reason: r.Reason, Count: r.Count, LastMs: elapsed(r.Last)})
		}
	}
	slices.SortStableFunc(out, func(a, b *api.SeenRefusal) int { return cmp.Compare(a.GetLastMs(), b.GetLastMs()) })
	return firstOf(out, health.MaxRefusals)
}

// ofAll leaves out what is about single nodes: their tunnels say that.
func ofAll(err error) error {
	var about nodeError
	switch e := err.(type) { //nolint:errorlint // the whole tree is walked
	case nil:
		return nil
	case interface{ Unwrap() []error }:
		var left []error
		for _, one := range e.Unwrap() {
			left = append(left, ofAll(one))
		}
		return errors.Join(left...)
	default:
		if errors.As(err, &about) {
			return nil
		}
		return err
	}
}

func firstOf[T any](list []T, most int) []T { return list[:min(len(list), most)] }

// elapsed is how long ago something was, in milliseconds; 0 if that is not known.
func elapsed(since time.Time) uint64 {
	if since.IsZero() {
		return 0
	}
	return uint64(max(0, time.Since(since).Milliseconds()))
}
