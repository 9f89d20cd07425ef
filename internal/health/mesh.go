package health

import (
	"time"

	api "edgenet.dev/edgenet/api/edgenet/v1"
)

// Mesh is what findings are made from.
type Mesh struct {
	Now time.Time
	// Self is the id of the node that looks.
	Self string
	// Nodes are those that have not left, as that node sees them.
	Nodes []Node
	// Reports are what nodes say, by id; that of Self is among them.
	Reports map[string]*Report
	// Silent are those that were asked in vain, and why.
	Silent map[string]string
	// Endpoints are those of the whole mesh that are not ready.
	Endpoints []*api.Endpoint
	// Crowded are the nodes whose room for records is nearly full.
	Crowded []Crowded
	// Tests are the policy tests that are broken, in words.
	Tests []string

	// nodes are Nodes by id.
	nodes map[string]*Node
}

// Index is called when Nodes are there, and before anything else is.
func (m *Mesh) Index() {
	m.nodes = make(map[string]*Node, len(m.Nodes))
	for i := range m.Nodes {
		m.nodes[m.Nodes[i].ID] = &m.Nodes[i]
	}
}

// Knows tells whether there is a node of that id.
func (m *Mesh) Knows(id string) bool { return m.nodes[id] != nil }

// Node is a node as its records, and the one that looks, have it.
type Node struct {
	ID, Name, Version string
	// State is alive, suspect or dead, Since since when it is not alive; zero if that
	// is not known.
	State string
	Since time.Time
	// Begins and Expires are the ends of its certificate's life.
	Begins, Expires time.Time
}

// Report is how a node says that it sees the mesh.
type Report struct {
	// Ahead is how far its clock is before that of the node that looks, give or take
	// Within.
	Ahead, Within time.Duration
	// Views are the nodes that it does not see alive.
	Views map[string]View
	// Tunnels are those with which something is wrong.
	Tunnels []Tunnel
	// Problems are what is wrong with itself, in words.
	Problems []string
	Refusals []Refusal
}

// View is how a node sees another.
type View struct {
	State string
	For   time.Duration
}

// Tunnel is one with which something is wrong, as one end has it.
type Tunnel struct {
	To, State, Words string
	For              time.Duration
}

// Refusal is what a node did not believe, in the last hour among other times.
type Refusal struct {
	// Of is who is to blame; empty if that is not known.
	Of, Reason string
	Count      uint64
	Ago        time.Duration
}

// Crowded is a node that has used much of the room for its records.
type Crowded struct {
	ID string
	// Percent of the room, and how many records.
	Percent, Records int
}

// The states of a node.
const (
	alive   = "alive"
	suspect = "suspect"
	dead    = "dead"
)

// The severities of a finding, the worst first.
const (
	Error   = "error"
	Warning = "warning"
	Note    = "note"
)

// Healthy tells whether no finding is an error.
func Healthy(findings []*api.Finding) bool {
	for _, f := range findings {
		if f.GetSeverity() == Error {
			return false
		}
	}
	return true
}
