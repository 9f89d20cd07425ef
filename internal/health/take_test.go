package health

import (
	"math"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	api "edgenet.dev/edgenet/api/edgenet/v1"
)

func TestAReportIsTaken(t *testing.T) {
	m := world(4)
	got := Take(&api.ReportHealthResponse{
		Clock: timestamppb.New(now.Add(time.Minute + time.Second)),
		Nodes: []*api.SeenNode{{Id: "b", State: "dead", ForMs: 5000}, {Id: "c", State: "suspect"}, {Id: "d", State: "left"}, {Id: "x", State: "dead"}},
		Tunnels: []*api.SeenTunnel{
			{Id: "b", State: "down", Message: "a\nb", ForMs: math.MaxUint64}, {Id: "x", State: "down"},
		},
		Problems: []string{strings.Repeat("ä", MaxWords)},
		Refusals: []*api.SeenRefusal{{Id: "x", Reason: "malformed"}, {Reason: "malformed", Count: 3, LastMs: 1000}},
	}, now, 2*time.Second, m.Knows)
	if got.Ahead != time.Minute || got.Within != time.Second {
		t.Errorf("the clock is %s ahead, give or take %s", got.Ahead, got.Within)
	}
	if len(got.Views) != 2 || got.Views["b"] != (View{State: dead, For: 5 * time.Second}) {
		t.Errorf("views %v", got.Views)
	}
	if len(got.Tunnels) != 1 || got.Tunnels[0].Words != "a b" || got.Tunnels[0].For != longest {
		t.Errorf("tunnels %v", got.Tunnels)
	}
	if p := got.Problems[0]; len(p) > MaxWords+len("…") || !strings.HasPrefix(p, "ää") || !strings.HasSuffix(p, "ä…") {
		t.Errorf("problem %q", p)
	}
	if len(got.Refusals) != 1 || got.Refusals[0].Count != 3 || got.Refusals[0].Ago != time.Second {
		t.Errorf("refusals %v", got.Refusals)
	}
}

func TestOfAReportSoMuchIsTaken(t *testing.T) {
	m, r := world(2), &api.ReportHealthResponse{}
	for range 2 * MaxNodes {
		r.Nodes = append(r.Nodes, &api.SeenNode{Id: "b", State: dead})
		r.Tunnels = append(r.Tunnels, &api.SeenTunnel{Id: "b", State: "down"})
		r.Problems = append(r.Problems, "x")
		r.Refusals = append(r.Refusals, &api.SeenRefusal{Reason: "malformed"})
	}
	got := Take(r, now, 0, m.Knows)
	if len(got.Tunnels) != MaxTunnels || len(got.Problems) != MaxProblems || len(got.Refusals) != MaxRefusals {
		t.Errorf("%d tunnels, %d problems, %d refusals", len(got.Tunnels), len(got.Problems), len(got.Refusals))
	}
}

// Whatever a node answers, what comes of it is bounded, can be shown, and takes nothing
// away from what others say.
func FuzzReport(f *testing.F) {
	add := func(r *api.ReportHealthResponse) {
		b, err := proto.Marshal(r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	add(&api.ReportHealthResponse{})
	add(&api.ReportHealthResponse{
		Clock: timestamppb.New(now), Nodes: []*api.SeenNode{{Id: "a", State: dead, ForMs: 1 << 60}, {Id: "d", State: suspect}}, NodesTotal: 1 << 31,
		Tunnels:  []*api.SeenTunnel{{Id: "a", State: "down", Message: "\x1b[2J"}, {Id: "b", State: "up"}},
		Problems: []string{"disk full\n"}, Refusals: []*api.SeenRefusal{{Id: "b", Reason: "malformed", Count: math.MaxUint64}},
	})
	f.Fuzz(func(t *testing.T, b []byte) {
		var r api.ReportHealthResponse
		if proto.Unmarshal(b, &r) != nil {
			return
		}
		m := world(5).sees("abc", "d", dead).silent("d").refuses("a", "b", "malformed", 1, 0)
		m.Reports["e"] = Take(&r, now, time.Second, m.Knows)
		told, dying := Judge(m), false
		if len(told) > maxFindings {
			t.Errorf("%d findings", len(told))
		}
		for _, f := range told {
			if f.GetMessage() != Words(f.GetMessage()) && len(f.GetMessage()) <= MaxWords {
				t.Errorf("%q cannot be shown", f.GetMessage())
			}
			dying = dying || f.GetSeverity() == Error && f.GetKind() == "dead-node" && f.GetNodes()[0] == "d-1"
		}
		if !dying || Healthy(told) {
			t.Errorf("what three nodes say is gone: %v", told)
		}
	})
}
