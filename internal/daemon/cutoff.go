package daemon

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"edgenet.dev/edgenet/pkg/mesh"
	"edgenet.dev/edgenet/pkg/tunnel"
)

// cut are pairs of nodes that a change of the policy takes the tunnel from.
type cut struct {
	pairs int
	// example names one of them, why says why.
	example string
	why     error
}

func (c cut) count() string {
	if c.pairs == 1 {
		return "1 pair of nodes"
	}
	return fmt.Sprintf("%d pairs of nodes", c.pairs)
}

// alike are nodes between which no policy in question makes a difference.
type alike struct {
	end   tunnel.End
	names []string
}

// cutOff finds them. Nodes that are alike are looked at once: a mesh has
// thousands of nodes, and few kinds of them.
func cutOff(nodes []mesh.Node, now, next tunnel.Policy) cut {
	var out cut
	kinds := kindsOf(nodes, now, next)
	for i, a := range kinds {
		for _, b := range kinds[i:] {
			pairs, first, second := len(a.names)*len(b.names), a.end, b.end
			if a == b {
				pairs = len(a.names) * (len(a.names) - 1) / 2
				second.Node = a.names[len(a.names)-1]
			}
			if pairs == 0 {
				continue
			}
			if _, err := tunnel.Choose(first, second, now); err != nil {
				continue
			}
			_, err := tunnel.Choose(first, second, next)
			if err == nil {
				continue
			}
			if out.pairs == 0 {
				out.example, out.why = first.Node+" and "+second.Node, err
			}
			out.pairs += pairs
		}
	}
	return out
}

// kindsOf sorts the nodes that can have tunnels.
func kindsOf(nodes []mesh.Node, policies ...tunnel.Policy) []*alike {
	named := map[string]bool{}
	for _, p := range policies {
		for _, r := range p.Rules() {
			if a, b, ok := r.Between.Nodes(); ok {
				named[a], named[b] = true, true
			}
		}
	}
	kinds := map[string]*alike{}
	for _, n := range nodes {
		e, _, err := endOf(n)
		if n.State.Gone() || err != nil {
			continue
		}
		key := strings.Join(e.Roles, ",") + "/" + strings.Join(e.Drivers, ",")
		if named[n.Name] {
			key += "/" + n.Name
		}
		if kinds[key] == nil {
			kinds[key] = &alike{end: e}
		}
		kinds[key].names = append(kinds[key].names, n.Name)
	}
	out := make([]*alike, 0, len(kinds))
	for _, key := range slices.Sorted(maps.Keys(kinds)) {
		out = append(out, kinds[key])
	}
	return out
}
