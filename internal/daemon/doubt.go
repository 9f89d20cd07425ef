package daemon

import (
	"time"

	"google.golang.org/protobuf/proto"

	api "edgenet.dev/edgenet/api/edgenet/v1"
	"edgenet.dev/edgenet/pkg/mesh"
	"edgenet.dev/edgenet/pkg/tunnel/probe"
)

// A daemon that has just started has heard of nobody: to it all nodes are dead. That
// is news only once it could know better.
const (
	// aloneDoubt is how long it may take to find the first other node, companyDoubt how
	// long it takes then to learn of all others, and to hear of a node whose record has
	// just come that it is alive.
	aloneDoubt   = 10 * time.Second
	companyDoubt = 3 * time.Second
	// doubtTick is how often what is in doubt is looked at.
	doubtTick = 250 * time.Millisecond
)

// doubts say of which nodes it is not clear yet how they are.
type doubts struct {
	seen map[string]*sight
	// company is since when another node was known to be alive; zero before.
	company time.Time
}

func newDoubts() doubts { return doubts{seen: map[string]*sight{}} }

// sight is what was seen of a node since the daemon has started.
type sight struct {
	first time.Time
	// alive is true if it was not dead once; tunnelled if its tunnel was as tunnels
	// are when they work.
	alive, tunnelled bool
	// logged is true if the log had it at first.
	logged bool
	round  time.Time
}

// begin takes in how nodes are, and forgets those that are not there.
func (d *doubts) begin(at time.Time, nodes []*api.Node) {
	for _, n := range nodes {
		s := d.seen[n.GetId()]
		gone := mesh.State(n.GetState()).Gone()
		if s == nil || gone { // who comes back from there is a new one
			s = &sight{first: at}
			d.seen[n.GetId()] = s
		}
		s.round = at
		s.alive = s.alive || n.GetState() != string(mesh.StateDead) && !gone
		if !n.GetLocal() && n.GetState() == string(mesh.StateAlive) && d.company.IsZero() {
			d.company = at
		}
		s.tunnelled = s.tunnelled || tunnelWorks(n.GetTunnel())
	}
	for id, s := range d.seen {
		if s.round != at {
			delete(d.seen, id)
		}
	}
}

// tunnelWorks tells whether a tunnel is as one is that was found in good order.
func tunnelWorks(t *api.Tunnel) bool {
	switch t.GetState() {
	case tunnelUp:
		return t.GetPathMtuBasis() != probe.Assumed.String()
	case tunnelResting, tunnelUnneeded:
		return true
	default:
		return false
	}
}

// mayBe tells whether it may not be clear how a node is, logged being whether the log
// has it.
func (d *doubts) mayBe(at time.Time, n *api.Node, logged bool) bool {
	s := d.seen[n.GetId()]
	if s.first.Equal(at) {
		s.logged = logged
	}
	return d.deathInDoubt(at, n, s) || tunnelInDoubt(at, n, s)
}

func (d *doubts) deathInDoubt(at time.Time, n *api.Node, s *sight) bool {
	if s.alive || n.GetState() != string(mesh.StateDead) {
		return false
	}
	until := s.first.Add(companyDoubt)
	if s.logged {
		until = s.first.Add(aloneDoubt)
		if !d.company.IsZero() {
			known := d.company
			if known.Before(s.first) {
				known = s.first
			}
			until = earlier(until, known.Add(companyDoubt))
		}
	}
	return at.Before(until)
}

func tunnelInDoubt(at time.Time, n *api.Node, s *sight) bool {
	return s.logged && !s.tunnelled && n.GetTunnel() != nil && at.Before(s.first.Add(aloneDoubt))
}

// settle returns a node, what is in doubt of it as the log has it, nil being nothing.
// One in doubt that the log does not know is not to be told: the node is nil then.
func (d *doubts) settle(at time.Time, n, logged *api.Node) (node *api.Node, held bool) {
	s := d.seen[n.GetId()]
	death, tunnel := d.deathInDoubt(at, n, s), tunnelInDoubt(at, n, s) && logged.GetTunnel() != nil
	if death && logged == nil {
		return nil, true
	}
	if !death && !tunnel {
		return n, false
	}
	node = proto.CloneOf(n)
	if death {
		node.State = logged.GetState()
	}
	if tunnel {
		node.Tunnel = logged.GetTunnel()
	}
	return node, true
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
