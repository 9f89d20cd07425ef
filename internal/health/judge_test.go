package health

import (
	"fmt"
	"strings"
	"testing"
	"time"

	api "edgenet.dev/edgenet/api/edgenet/v1"
)

var now = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

// world is a mesh of nodes that all see one another, and have answered: a, which looks,
// b, c and so on.
func world(size int) *Mesh {
	m := &Mesh{Now: now, Self: "a", Reports: map[string]*Report{}, Silent: map[string]string{}}
	for i := range size {
		id := string(rune('a' + i))
		m.Nodes = append(m.Nodes, Node{
			ID: id, Name: id + "-1", Version: "v1", State: alive, Begins: now.Add(-time.Hour), Expires: now.Add(365 * 24 * time.Hour),
		})
		m.Reports[id] = &Report{Views: map[string]View{}}
	}
	m.Index()
	return m
}

// sees has nodes see others so, for a minute.
func (m *Mesh) sees(by, of, state string) *Mesh {
	for _, a := range strings.Split(by, "") {
		for _, b := range strings.Split(of, "") {
			m.Reports[a].Views[b] = View{State: state, For: time.Minute}
			if a == m.Self {
				m.nodes[b].State, m.nodes[b].Since = state, now.Add(-time.Minute)
			}
		}
	}
	return m
}

// silence has nodes not answer.
func (m *Mesh) silent(ids string) *Mesh {
	for _, id := range strings.Split(ids, "") {
		delete(m.Reports, id)
		m.Silent[id] = "it did not answer within 3s"
	}
	return m
}

func (m *Mesh) tunnel(from, to, state, words string) *Mesh {
	r := m.Reports[from]
	r.Tunnels = append(r.Tunnels, Tunnel{To: to, State: state, Words: words, For: time.Minute})
	return m
}

func (m *Mesh) ahead(id string, by time.Duration) *Mesh {
	m.Reports[id].Ahead = by
	return m
}

func (m *Mesh) expires(id string, in time.Duration) *Mesh {
	m.nodes[id].Begins, m.nodes[id].Expires = now.Add(in-365*24*time.Hour), now.Add(in)
	return m
}

func (m *Mesh) runs(id, version string) *Mesh {
	m.nodes[id].Version = version
	return m
}

func (m *Mesh) refuses(by, of, reason string, count uint64, ago time.Duration) *Mesh {
	m.Reports[by].Refusals = append(m.Reports[by].Refusals, Refusal{Of: of, Reason: reason, Count: count, Ago: ago})
	return m
}

func (m *Mesh) with(change func(*Mesh)) *Mesh {
	change(m)
	return m
}

// told is a finding as the tests write it.
func told(f *api.Finding) string {
	out := f.GetSeverity() + " " + f.GetKind() + ": " + f.GetMessage()
	if by := f.GetSaidBy(); len(by) > 0 {
		out += " [" + strings.Join(by, " ") + "]"
	}
	return out
}

func TestWhatIsWrongIsSaidInWords(t *testing.T) {
	tests := []struct {
		name string
		mesh *Mesh
		want []string
	}{
		{"nothing is wrong", world(4), nil},
		{"a mesh of one", world(1), nil},
		{"a dead node", world(4).sees("abc", "d", dead).silent("d"), []string{
			"error dead-node: d-1 is dead for all 3 nodes that say how they see it",
		}},
		{"a dead node of two", world(2).sees("a", "b", dead).silent("b"), []string{
			"error dead-node: b-1 is dead, as this node sees it",
		}},
		{"one alone says that a dead node lives", world(5).sees("abc", "e", dead).silent("e"), []string{
			"error dead-node: e-1 is dead for all 3 nodes that say how they see it; d-1 alone says otherwise",
		}},
		{"many dead nodes are one finding", world(12).sees("abcdefgh", "ijkl", dead).silent("ijkl"), []string{
			"error dead-node: i-1, j-1, k-1 and l-1 are dead for all 8 nodes that say how they see it",
		}},
		{"most nodes are dead", world(5).sees("ab", "cde", dead).silent("cde"), []string{
			"error dead-node: c-1 is dead for all 2 nodes that say how they see it",
			"error dead-node: d-1 is dead for all 2 nodes that say how they see it",
			"error dead-node: e-1 is dead for all 2 nodes that say how they see it",
			"error split-view: only 2 of 5 nodes are there for this node: it may be this part of the mesh that is cut off",
		}},
		{"a node is silent", world(4).sees("bc", "d", suspect), []string{
			"note suspect-node: d-1 is silent, as b-1 and c-1 see it [b-1 c-1]",
		}},
		{"a liar says that others are dead", world(5).sees("e", "bcd", dead), []string{
			"warning split-view: e-1 alone sees b-1, c-1 and d-1 as dead, and they answer; this node does not [e-1]",
		}},
		{"only this node sees one as dead", world(4).sees("a", "d", dead), []string{
			"error split-view: this node sees d-1 as dead, and it answers; b-1 and c-1 do not",
		}},
		{"some see one as dead", world(5).sees("bc", "e", dead), []string{
			"error split-view: b-1 and c-1 see e-1 as dead, and it answers; this node and d-1 do not [b-1 c-1]",
		}},
		{"two halves that reach one another elsewhere", world(4).sees("ab", "cd", dead).sees("cd", "ab", dead), []string{
			"error split-view: the mesh is split: this node and b-1 on one side and c-1 and d-1 on the other see one another as dead",
		}},
		{"a liar hides no split", world(5).sees("ab", "cd", dead).sees("cd", "ab", dead), []string{
			"error split-view: the mesh is split: this node and b-1 on one side and c-1 and d-1 on the other see one another as dead",
		}},
		{"views that are on their way", world(4).sees("b", "d", dead).with(func(m *Mesh) {
			m.Reports["b"].Views["d"] = View{State: dead, For: time.Second}
		}), []string{"note split-view: b-1 alone sees d-1 as dead, and it answers; this node and c-1 do not [b-1]"}},
		{"two do not reach one another", world(3).tunnel("b", "c", "down", "no answer").tunnel("c", "b", "connecting", "no keys"), []string{
			"error unreachable-pair: b-1 and c-1 do not reach one another in their tunnel: b-1 says: no answer; c-1 says: no keys [b-1 c-1]",
		}},
		{"one of two says so", world(3).tunnel("b", "c", "down", "no answer"), []string{
			"warning unreachable-pair: b-1 and c-1 do not reach one another in their tunnel: b-1 says: no answer; c-1 says nothing of it [b-1]",
		}},
		{"the other was not asked", world(3).tunnel("a", "c", "down", "no answer").with(func(m *Mesh) { delete(m.Reports, "c") }), []string{
			"error unreachable-pair: a-1 and c-1 do not reach one another in their tunnel: a-1 says: no answer",
		}},
		{"a tunnel to a dead node", world(4).sees("abc", "d", dead).silent("d").tunnel("b", "d", "down", "no answer"), []string{
			"error dead-node: d-1 is dead for all 3 nodes that say how they see it",
		}},
		{"one that many do not reach", world(7).tunnel("b", "g", "down", "no answer").tunnel("c", "g", "down", "").tunnel("d", "g", "down", "").
			tunnel("g", "e", "down", "").tunnel("b", "c", "down", "x").tunnel("c", "b", "down", "y"), []string{
			"error unreachable-pair: g-1 and 4 others do not reach one another in their tunnels (b-1, c-1, d-1 and e-1): b-1 says: no answer [b-1 c-1 d-1 g-1]",
			"error unreachable-pair: b-1 and c-1 do not reach one another in their tunnel: b-1 says: x; c-1 says: y [b-1 c-1]",
		}},
		{"a liar reaches nobody", world(6).tunnel("f", "a", "down", "x").tunnel("f", "b", "down", "x").tunnel("f", "c", "down", "x").tunnel("f", "d", "down", "x"), []string{
			"warning unreachable-pair: f-1 and 4 others do not reach one another in their tunnels (this node, b-1, c-1 and d-1): f-1 says: x; it is f-1 alone that says so [f-1]",
		}},
		{"a tunnel that works, but", world(3).tunnel("b", "c", "up", "too narrow"), []string{
			"warning tunnel: the tunnel between b-1 and c-1 works, but: b-1 says: too narrow [b-1]",
		}},
		{"alive, but no answer", world(3).silent("c"), []string{
			"warning unasked-node: c-1 is alive, but this node could not ask it how it sees the mesh: it did not answer within 3s",
		}},
		{"a clock ahead", world(4).ahead("c", time.Hour), []string{"warning clock: the clock of c-1 is 60 min ahead of the others' [c-1]"}},
		{"this node's clock behind", world(3).ahead("b", 26*time.Hour).ahead("c", 26*time.Hour), []string{
			"warning clock: the clock of a-1 is 26 h behind the others'",
		}},
		{"two clocks", world(2).ahead("b", -5*time.Second), []string{"warning clock: the clocks of a-1 and b-1 are 5.0 s apart"}},
		{"a slow answer is no wrong clock", world(3).ahead("b", 4*time.Second).with(func(m *Mesh) { m.Reports["b"].Within = 1500 * time.Millisecond }), nil},
		{"certificates", world(3).expires("b", 20*24*time.Hour).expires("c", -3*time.Hour), []string{
			"error certificate: the certificate of c-1 expired 3 h ago: nothing new of it is believed",
			"warning certificate: the certificate of b-1 expires in 20 days",
		}},
		{"a short certificate that is young", world(2).expires("b", 6*24*time.Hour).with(func(m *Mesh) { m.nodes["b"].Begins = now.Add(-24 * time.Hour) }), nil},
		{"versions", world(4).runs("c", "v2").runs("d", "v\x1b3"), []string{
			"warning version: nodes run different versions of edgenetd: v1 on 2 nodes, v 3 on d-1 and v2 on c-1",
		}},
		{"refused messages", world(4).refuses("b", "d", "bad-signature", 7, time.Minute).refuses("c", "d", "bad-signature", 5, 2*time.Minute).
			refuses("b", "", "malformed", 3, 5*time.Second), []string{
			"warning refused-messages: b-1 has refused 3 messages of unknown origin as malformed, the last one 5.0 s ago: it is no message, or not in the one form that messages have [b-1]",
			"warning refused-messages: b-1 and c-1 have refused 12 messages of d-1 as bad-signature, the last one 60 s ago: it is not signed by whom it is said to be from [b-1 c-1]",
		}},
		{"refusals that tell nothing", world(3).refuses("b", "c", "bad-signature", 7, 2*time.Hour).refuses("b", "c", "refuted", 2, 0).
			refuses("b", "", "unknown-author", 99, 0).refuses("b", "c", "nonsense", 99, 0).refuses("b", "b", "malformed", 9, 0), nil},
		{"room", world(3).with(func(m *Mesh) { m.Crowded = []Crowded{{"b", 99, 32700}, {"c", 81, 27000}} }), []string{
			"error room: b-1 has used 99 % of the room for its endpoints' records (32700 records): no further ones are believed",
			"warning room: c-1 has used 81 % of the room for its endpoints' records (27000 records)",
		}},
		{"endpoints", world(2).with(func(m *Mesh) {
			m.Endpoints = []*api.Endpoint{
				{Name: "web", Vpc: "blue", Node: "b-1", NodeId: "b", State: "superseded", Message: "db took it"},
				{Name: "db", Vpc: "blue", Node: "a-1", NodeId: "a", State: "failed", Message: "no device"},
			}
		}), []string{
			"error endpoint: endpoint db of vpc blue on a-1 is failed: no device",
			"warning endpoint: endpoint web of vpc blue on b-1 is superseded: db took it",
		}},
		{"problems and tests", world(2).with(func(m *Mesh) {
			m.Reports["b"].Problems, m.Tests = []string{"the disk is full"}, []string{"test x is broken"}
		}), []string{"error problem: b-1 says of itself: the disk is full [b-1]", "warning policy-test: test x is broken"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			findings := Judge(tt.mesh)
			for _, f := range findings {
				got = append(got, told(f))
				if f.GetAdvice() == "" {
					t.Errorf("%s: no advice", told(f))
				}
			}
			if strings.Join(got, "\n") != strings.Join(tt.want, "\n") {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
			}
			if want := !strings.Contains(strings.Join(tt.want, "\n"), "error "); Healthy(findings) != want {
				t.Errorf("healthy is %v", !want)
			}
		})
	}
}

func TestSinceWhenIsSaid(t *testing.T) {
	for _, m := range []*Mesh{
		world(3).sees("ab", "c", dead).silent("c"),
		world(3).tunnel("b", "c", "down", "x"),
		world(3).sees("b", "c", dead),
	} {
		for _, f := range Judge(m) {
			if got := f.GetSince().AsTime(); !got.Equal(now.Add(-time.Minute)) {
				t.Errorf("%s: since %s, want a minute ago", told(f), got)
			}
		}
	}
}

// However much is wrong, what is told is bounded, and what is left out is said.
func TestFindingsAreBounded(t *testing.T) {
	m := world(1)
	for i := range 1000 {
		m.Endpoints = append(m.Endpoints, &api.Endpoint{Name: fmt.Sprint("e", i), State: "failed"})
		m.Tests = append(m.Tests, fmt.Sprint("test", i))
	}
	got := Judge(m)
	if len(got) != 2*maxOfKind+1 {
		t.Fatalf("%d findings, want %d of each kind and one more", len(got), maxOfKind)
	}
	if last := got[len(got)-1]; told(last) != "error more: 1920 more findings are left out" {
		t.Errorf("the last is %q", told(last))
	}
}
