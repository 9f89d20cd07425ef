package daemon

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/types/known/timestamppb"

	api "edgenet.dev/edgenet/api/edgenet/v1"
	"edgenet.dev/edgenet/api/edgenet/v1/edgenetv1connect"
	"edgenet.dev/edgenet/internal/health"
	"edgenet.dev/edgenet/pkg/mesh"
)

const (
	// healthAsked is how many nodes are asked at most unless more are wanted: each
	// costs a connection.
	healthAsked = 500
	// healthDead is how many of them may be dead ones, which may answer nevertheless
	// but as a rule take askTimeout.
	healthDead = 64
	// healthTime bounds the whole.
	healthTime = 10 * time.Second
	// crowdedFrom is the share of a node's room for records from which on that is told.
	crowdedFrom = 0.8
)

// GetHealth tells what is wrong in the mesh, by what this node knows and what others
// say.
func (d *Daemon) GetHealth(ctx context.Context, req *api.GetHealthRequest) (*api.GetHealthResponse, error) {
	if _, in := d.mesh.MeshID(); !in {
		return nil, precondition("this node is in no mesh; run init or join first")
	}
	nodes := slices.DeleteFunc(d.mesh.Nodes(), func(n mesh.Node) bool { return n.State.Gone() && !n.Local })
	m := d.healthOf(nodes)
	own := d.ReportHealth()
	asked := d.askHealth(ctx, m, d.toAsk(nodes, own, int(req.GetAsk())))
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.Reports[m.Self] = health.Take(own, time.Now(), 0, m.Knows)
	m.Reports[m.Self].Ahead = 0
	out := &api.GetHealthResponse{
		Findings: health.Judge(m), Node: d.mesh.Self().Name, NodesTotal: uint32(len(nodes)),
		Asked: uint32(asked), Answered: uint32(len(m.Reports) - 1), Time: timestamppb.New(m.Now),
	}
	out.Healthy = health.Healthy(out.GetFindings())
	for _, n := range nodes {
		if n.State == mesh.StateAlive {
			out.NodesAlive++
		}
	}
	return out, nil
}

// healthOf is what this node knows by itself.
func (d *Daemon) healthOf(nodes []mesh.Node) *health.Mesh {
	m := &health.Mesh{
		// Certificates are judged by the time of all.
		Now: d.mesh.Clock().Add(-d.mesh.ClockSkew()), Self: string(d.mesh.Self().ID),
		Reports: map[string]*health.Report{}, Silent: map[string]string{},
	}
	for _, n := range nodes {
		m.Nodes = append(m.Nodes, health.Node{
			ID: string(n.ID), Name: n.Name, Version: n.Version, State: string(n.State), Since: n.Since,
			Begins: n.CertificateBegins, Expires: n.CertificateExpires,
		})
	}
	m.Index()
	s := d.snapshot()
	for e := range s.endpoints() {
		if a := s.apiEndpoint(e); a.GetState() != endpointReady {
			m.Endpoints = append(m.Endpoints, a)
		}
	}
	for _, u := range d.mesh.Crowded(crowdedFrom) {
		m.Crowded = append(m.Crowded, health.Crowded{ID: string(u.Node), Percent: int(u.Share() * 100), Records: u.Records})
	}
	var tests api.GetStatusResponse
	d.noteTests(&tests)
	m.Tests = tests.GetProblems()
	return m
}

// toAsk are the nodes to ask: those first about which something is wrong here, the others
// drawn.
func (d *Daemon) toAsk(nodes []mesh.Node, own *api.ReportHealthResponse, most int) []mesh.NodeID {
	if most == 0 {
		most = healthAsked
	}
	wrong := map[mesh.NodeID]bool{}
	for _, t := range own.GetTunnels() {
		wrong[mesh.NodeID(t.GetId())] = true
	}
	var first, dead, others []mesh.NodeID
	for _, n := range nodes {
		switch {
		case n.Local:
		case n.State == mesh.StateDead:
			dead = append(dead, n.ID)
		case n.State == mesh.StateSuspect || wrong[n.ID]:
			first = append(first, n.ID)
		default:
			others = append(others, n.ID)
		}
	}
	for _, list := range [][]mesh.NodeID{first, dead, others} {
		rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	}
	return firstOf(slices.Concat(first, firstOf(dead, healthDead), others), most)
}

// askHealth asks nodes how they see the mesh, and returns how many.
func (d *Daemon) askHealth(ctx context.Context, m *health.Mesh, ids []mesh.NodeID) int {
	ctx, cancel := context.WithTimeout(ctx, healthTime)
	defer cancel()
	var mu sync.Mutex
	asked := 0
	var all errgroup.Group
	all.SetLimit(askedAtOnce)
	for _, id := range ids {
		if ctx.Err() != nil {
			break
		}
		all.Go(func() error {
			r, err := d.askReport(ctx, m, id)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				asked, m.Reports[string(id)] = asked+1, r
			case ctx.Err() == nil:
				asked, m.Silent[string(id)] = asked+1, health.Words(err.Error())
			} // Else it was not asked to the end.
			return nil
		})
	}
	_ = all.Wait() // None has an error.
	return asked
}

func (d *Daemon) askReport(ctx context.Context, m *health.Mesh, id mesh.NodeID) (*health.Report, error) {
	// The connection takes longer than the answer, which says what time it is.
	begun, clock := time.Now(), d.mesh.Clock()
	answer, err := askPeer(ctx, d, id, &api.ReportHealthRequest{},
		func(c edgenetv1connect.PeerServiceClient) func(context.Context, *api.ReportHealthRequest) (*api.ReportHealthResponse, error) {
			return c.ReportHealth
		})
	if err != nil {
		return nil, err
	}
	return health.Take(answer, clock, time.Since(begun), m.Knows), nil
}
