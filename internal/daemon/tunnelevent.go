package daemon

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	api "edgenet.dev/edgenet/api/edgenet/v1"
	"edgenet.dev/edgenet/pkg/mesh"
)

// The types of what is told of tunnels.
const (
	tunnelPresent      = "present"
	tunnelSynced       = "synced"
	tunnelRekeyed      = "rekeyed"
	tunnelMoved        = "moved"
	tunnelEndpoint     = "endpoint"
	tunnelMTU          = "mtu"
	tunnelOtherwise    = "state"
	tunnelProblemBegan = "problem"
	tunnelProblemOver  = "problem-over"
	tunnelAdded        = "added"
	tunnelRemoved      = "removed"
)

// exactly is RFC 3339 with milliseconds: keys may be replaced twice in a second.
const exactly = "2006-01-02T15:04:05.000Z07:00"

// tunnelEvent is a change of the tunnel to a node.
type tunnelEvent struct {
	at           time.Time
	kind         string
	node         string
	id           mesh.NodeID
	was, is, why string
}

func (e tunnelEvent) api() *api.TunnelEvent {
	return &api.TunnelEvent{
		Time: timestamppb.New(e.at), Type: e.kind, Node: e.node, NodeId: string(e.id), Was: e.was, Is: e.is, Why: e.why,
	}
}

// tunnelEvents are what has changed from one round to another, by the names of
// the nodes.
func tunnelEvents(at time.Time, before, after map[mesh.NodeID]seenTunnel) []tunnelEvent {
	var out []tunnelEvent
	for id, now := range after {
		was, there := before[id]
		if !there {
			out = append(out, tunnelEvent{at: at, kind: tunnelAdded, node: now.name, id: id, is: now.state, why: now.why})
			continue
		}
		for _, e := range now.changes(was) {
			e.at, e.node, e.id = at, now.name, id
			out = append(out, e)
		}
	}
	for id, was := range before {
		if _, there := after[id]; !there {
			out = append(out, tunnelEvent{at: at, kind: tunnelRemoved, node: was.name, id: id, was: was.state})
		}
	}
	slices.SortStableFunc(out, func(a, b tunnelEvent) int { return cmp.Or(cmp.Compare(a.node, b.node), cmp.Compare(a.id, b.id)) })
	return out
}

// changes are what is told of one tunnel: first what it is made of, then what is
// wrong with it, and then how it is.
func (s seenTunnel) changes(was seenTunnel) []tunnelEvent {
	var out []tunnelEvent
	note := func(kind, from, to, why string) {
		out = append(out, tunnelEvent{kind: kind, was: from, is: to, why: why})
	}
	if s.driver != "" && was.driver != "" {
		if s.driver != was.driver {
			note(tunnelMoved, was.driver, s.driver, s.why)
		} else if s.endpoint != was.endpoint {
			note(tunnelEndpoint, addressText(was.endpoint), addressText(s.endpoint), "")
		}
	}
	if from, to := was.size.String(), s.size.String(); from != to && s.size.mtu > 0 && was.size.mtu > 0 {
		note(tunnelMTU, from, to, "")
	}
	if s.rekeys != was.rekeys {
		note(tunnelRekeyed, was.keys.UTC().Format(exactly), s.keys.UTC().Format(exactly), "")
	}
	for _, p := range s.problems {
		if !slices.ContainsFunc(was.problems, func(o tunnelProblem) bool { return o.kind == p.kind && o.words == p.words }) {
			note(tunnelProblemBegan, "", p.kind, p.words)
		}
	}
	for _, p := range was.problems {
		if !slices.ContainsFunc(s.problems, func(o tunnelProblem) bool { return o.kind == p.kind }) {
			note(tunnelProblemOver, p.kind, "", p.words)
		}
	}
	switch {
	case s.state == was.state:
	case s.state == tunnelUp:
		note(tunnelUp, was.state, s.state, s.why)
	case was.state == tunnelUp && (s.state == tunnelDown || s.state == tunnelConnecting):
		note(tunnelDown, was.state, s.state, s.wrong())
	case s.state == tunnelDown:
		note(tunnelOtherwise, was.state, s.state, s.wrong())
	default:
		note(tunnelOtherwise, was.state, s.state, s.why)
	}
	return out
}

// wrong says why a tunnel is not up.
func (s seenTunnel) wrong() string {
	var words []string
	for _, p := range s.problems {
		words = append(words, p.words)
	}
	switch {
	case len(words) > 0:
		return strings.Join(words, "; ")
	case s.driver != "":
		return "it has no keys"
	}
	return s.why
}

func addressText(a netip.AddrPort) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// String is in the words of tunnel list.
func (p pathSize) String() string { return fmt.Sprintf("%d B, %s", p.mtu, p.basis) }

// seen is how the tunnel to each node is, by what a round has found.
func (t *tunnels) seen(state tunnelState, now time.Time) map[mesh.NodeID]seenTunnel {
	faults := faultsOf(state.problem)
	out := make(map[mesh.NodeID]seenTunnel, len(t.nodes))
	var broken error
	if state.stale {
		broken = state.problem
	}
	for _, n := range t.nodes {
		if !hasTunnel(n) {
			continue
		}
		f := facts{node: n, stats: state.stats[n.Addr], broken: broken, faults: faults[n.ID]}
		f.choice, f.looked = state.choices[n.ID]
		if p, there := state.peers[n.ID]; there {
			f.peer, f.refused = &p, p.Refusal
		}
		if c := t.carrier(t.ways[n.ID].to); c != nil && c.peers[n.Prefix].Refusal != "" {
			f.refused = c.peers[n.Prefix].Refusal
		}
		out[n.ID] = look(now, f, t.state.seen[n.ID])
	}
	return out
}

// tell lets watchers and the log know what has changed. It says whether some
// tunnel is in another state, or has other problems.
func (t *tunnels) tell(now time.Time, before map[mesh.NodeID]seenTunnel, next tunnelState) (otherwise bool) {
	events := tunnelEvents(now, before, next.seen)
	for _, e := range events {
		switch e.kind {
		case tunnelUp:
			t.log.Info("tunnel is up", "node", e.node, "why", e.why)
		case tunnelDown:
			t.log.Warn("tunnel is down", "node", e.node, "why", e.why)
		case tunnelOtherwise, tunnelProblemBegan, tunnelProblemOver:
		default:
			continue
		}
		otherwise = true
	}
	t.watchers.tell(next.round, events)
	return otherwise
}

// sortedNodes are the nodes of a state by name.
func sortedNodes(seen map[mesh.NodeID]seenTunnel) []mesh.NodeID {
	return slices.SortedFunc(maps.Keys(seen), func(a, b mesh.NodeID) int {
		return cmp.Or(cmp.Compare(seen[a].name, seen[b].name), cmp.Compare(a, b))
	})
}
