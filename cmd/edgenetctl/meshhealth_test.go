package main

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	edgenetv1 "edgenet.dev/edgenet/api/edgenet/v1"
)

func (f *fake) GetHealth(_ context.Context, r *edgenetv1.GetHealthRequest) (*edgenetv1.GetHealthResponse, error) {
	return f.health, f.ask(r)
}

// The exit code tells whether something is wrong, the words what.
func TestMeshHealth(t *testing.T) {
	f := mesh()
	got := tool(t.Context(), f.serve(t), "", "mesh", "health")
	if got != (result{stdout: "nothing is wrong\n3 of 3 nodes are alive for cloud-1; 2 others were asked, 2 answered\n"}) {
		t.Errorf("of a mesh that is well: %+v", got)
	}
	f.health.Findings = []*edgenetv1.Finding{
		{
			Severity: "warning", Kind: "split-view", Message: "edge-1 alone sees edge-2\x1b as dead", Advice: "look at its links",
			Nodes: []string{"edge-2"}, SaidBy: []string{"edge-1"},
		}, {Severity: "note", Kind: "suspect-node", Message: "edge-2 is silent"},
	}
	got = tool(t.Context(), f.serve(t), "", "mesh", "health", "--ask", "7")
	want := `warning: edge-1 alone sees edge-2? as dead, by the word of edge-1
  look at its links
note: edge-2 is silent
1 warning, 1 note
3 of 3 nodes are alive for cloud-1; 2 others were asked, 2 answered
`
	if got != (result{stdout: want}) || f.requests[len(f.requests)-1] != `GetHealth {"ask":7}` {
		t.Errorf("without errors: %+v, asked %s; want\n%s", got, f.requests, want)
	}
	f.health.Healthy, f.health.Answered = false, 1
	f.health.Findings = []*edgenetv1.Finding{
		{Severity: "error", Kind: "dead-node", Message: "edge-2 is dead", Since: ago(5 * time.Minute), Nodes: []string{"edge-2"}},
		{Severity: "error", Kind: "problem", Message: "edge-1 says of itself: disk full"},
	}
	got = tool(t.Context(), f.serve(t), "", "mesh", "health")
	want = `error: edge-2 is dead (since 5m ago)
error: edge-1 says of itself: disk full
2 errors
3 of 3 nodes are alive for cloud-1; 2 others were asked, 1 answered
`
	if got != (result{stdout: want, stderr: "edgenetctl: the mesh is not well: 2 errors\n", code: exitError}) {
		t.Errorf("with errors: %+v; want\n%s", got, want)
	}
	var read struct {
		Healthy  bool
		Findings []struct {
			Severity, Kind, Message string
			Nodes, SaidBy           []string
		}
	}
	got = tool(t.Context(), f.serve(t), "", "mesh", "health", "-o", "json")
	if err := json.Unmarshal([]byte(got.stdout), &read); err != nil || read.Healthy || len(read.Findings) != 2 || read.Findings[0].Nodes[0] != "edge-2" || got.code != exitError {
		t.Errorf("for programs: %+v, %v", got, err)
	}
}
