package daemon

import (
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"slices"
	"strings"
	"time"

	"edgenet.dev/edgenet/internal/records"
	"edgenet.dev/edgenet/pkg/mesh"
)

// holder names an endpoint within its VPC.
type holder struct {
	node mesh.NodeID
	name string
}

// grant is an authority's word that a node may attach an endpoint.
type grant struct {
	holder

	vni    uint32
	record *records.Grant
	addrs  []netip.Addr
	routed []netip.Prefix
	// expires is zero for one that never does.
	expires time.Time
}

func (g *grant) key() string { return records.EndpointKey(g.node, g.vni, g.name) }

// expired tells whether a grant is worth nothing any more.
func (g *grant) expired(at time.Time) bool { return !g.expires.IsZero() && !at.Before(g.expires) }

func decodeGrant(rec mesh.Record) (*grant, error) {
	node, vni, name, err := records.SplitEndpointKey(rec.Key)
	if err != nil {
		return nil, err
	}
	record, err := records.DecodeGrant(rec)
	if err != nil {
		return nil, err
	}
	g := &grant{holder: holder{node, name}, vni: vni, record: record, expires: record.Expires()}
	if g.addrs, err = record.Addresses(); err != nil {
		return nil, err
	}
	g.routed, err = record.Routed()
	return g, err
}

// vpcGrants are the grants of a VPC of which some count, as of a moment. They are
// never changed. Of a VPC whose endpoints need none there are no vpcGrants, a nil.
type vpcGrants struct {
	at time.Time
	by map[holder]*grant
}

// noGrants are those of a VPC whose endpoints need such, and have none.
var noGrants = &vpcGrants{}

// ungrantedError says what a claim lacks that it needs.
type ungrantedError struct{ lacks string }

func (e *ungrantedError) Error() string {
	return "is not granted: " + e.lacks + "; this mesh requires grants, which an authority gives"
}

// refuse says why an endpoint may not claim what it does, nil if it may. One that was
// detached claims nothing but its rank, for which it needs the grant as before.
func (v *vpcGrants) refuse(e *endpoint) error {
	if v == nil {
		return nil
	}
	switch g := v.by[holder{e.node, e.name}]; {
	case g == nil:
		return &ungrantedError{"its node has no grant for it"}
	case g.expired(v.at):
		return &ungrantedError{"its grant has expired at " + g.expires.UTC().Format(time.RFC3339)}
	default:
		return g.refuse(e)
	}
}

func (g *grant) refuse(e *endpoint) error {
	for _, addr := range e.addrs {
		if !slices.Contains(g.addrs, addr) {
			return &ungrantedError{fmt.Sprintf("its grant has not the address %s", addr)}
		}
	}
	for _, p := range e.routed {
		if !slices.Contains(g.routed, p) {
			return &ungrantedError{fmt.Sprintf("its grant has not the prefix %s", p)}
		}
	}
	for _, name := range e.groups() {
		if name != records.DefaultGroup && !slices.Contains(g.record.GetGroups(), name) {
			return &ungrantedError{fmt.Sprintf("its grant has not the group %s", name)}
		}
	}
	return nil
}

// askFor is the command that gives an endpoint the grant that it lacks.
func (s *snapshot) askFor(e *endpoint, vpcName string) string {
	words := []string{"edgenetctl grant create", e.name, "--vpc", vpcName, "--node", s.nodes[e.node].Name}
	for _, addr := range e.addrs {
		words = append(words, "--ip", addr.String())
	}
	for _, p := range e.routed {
		words = append(words, "--prefix", p.String())
	}
	for _, name := range e.record.GetGroups() {
		words = append(words, "--group", name)
	}
	return strings.Join(words, " ")
}

// regrant adds to what has changed of a VPC the endpoints whose grants have. With too
// many of them, all are looked at: the VPC is not settled any more then.
func (v *vpc) regrant(t turnover, holders []holder) turnover {
	if len(holders)+len(t.gone)+len(t.born) > maxTurnover || v.contested {
		v.holdings = nil
		return t
	}
	for _, h := range holders {
		e := &endpoint{node: h.node, vni: v.vni(), name: h.name}
		at, there := place(v.all, e)
		if there && !slices.ContainsFunc(slices.Concat(t.gone, t.born), e.same) {
			t.gone, t.born = append(t.gone, v.all[at]), append(t.born, v.all[at])
		}
	}
	return t
}

// isUngranted tells whether an endpoint is in force nowhere for want of a grant.
func isUngranted(e *endpoint) bool {
	var lacks *ungrantedError
	return errors.As(e.barred, &lacks)
}

// ungrantedClaims are the endpoints that are in force nowhere for want of a grant.
func (s *snapshot) ungrantedClaims() iter.Seq[*endpoint] {
	return func(yield func(*endpoint) bool) {
		for e := range s.endpoints() {
			if isUngranted(e) && !yield(e) {
				return
			}
		}
	}
}

// ungrantedInWords says which other nodes claim endpoints without the grants that these
// need, each with how many and one of them.
func (s *snapshot) ungrantedInWords() []string {
	type claims struct {
		n     int
		first *endpoint
	}
	of := map[mesh.NodeID]claims{}
	for e := range s.ungrantedClaims() {
		if e.node == s.self.ID {
			continue
		}
		c := of[e.node]
		if c.n++; c.n == 1 {
			c.first = e
		}
		of[e.node] = c
	}
	words := make([]string, 0, len(of))
	for id, c := range of {
		words = append(words, fmt.Sprintf("node %s claims without a grant what is in force nowhere: endpoint %s of vpc %s, of %d",
			s.nodes[id].Name, c.first.name, s.byVNI[c.first.vni].name, c.n))
	}
	slices.Sort(words)
	return words
}
