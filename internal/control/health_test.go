package control

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"connectrpc.com/connect"

	api "edgenet.dev/edgenet/api/edgenet/v1"
	"edgenet.dev/edgenet/api/edgenet/v1/edgenetv1connect"
	"edgenet.dev/edgenet/internal/daemon/daemontest"
)

// health asks a node how the mesh is.
func (n *node) health(t *testing.T) *api.GetHealthResponse {
	t.Helper()
	answer, err := edgenetv1connect.NewHealthServiceClient(n.http, base).GetHealth(t.Context(), &api.GetHealthRequest{})
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

// says tells whether there is a finding of that kind with those words, by whom.
func says(h *api.GetHealthResponse, kind, words string, by ...string) bool {
	for _, f := range h.GetFindings() {
		if f.GetKind() == kind && strings.Contains(f.GetMessage(), words) && fmt.Sprint(f.GetSaidBy()) == fmt.Sprint(by) {
			return true
		}
	}
	return false
}

// Whichever node is asked, it tells how the whole mesh is, by what the others say.
func TestTheMeshTellsHowItIs(t *testing.T) {
	cloud, edge1, edge2 := startNode(t, "cloud-1"), startNode(t, "edge-1"), startNode(t, "edge-2")
	_, err := edgenetv1connect.NewHealthServiceClient(cloud.http, base).GetHealth(t.Context(), &api.GetHealthRequest{})
	if connect.CodeOf(err) != connect.CodeFailedPrecondition {
		t.Errorf("in no mesh: %v", err)
	}
	if _, err := cloud.mesh().Init(t.Context(), &api.InitRequest{}); err != nil {
		t.Fatal(err)
	}
	for _, n := range []*node{edge1, edge2} {
		token, err := cloud.mesh().CreateToken(t.Context(), &api.CreateTokenRequest{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := n.mesh().Join(t.Context(), &api.JoinRequest{Token: token.GetToken()}); err != nil {
			t.Fatal(err)
		}
	}
	daemontest.Await(t, "all is well by all three", func() bool {
		for _, n := range []*node{cloud, edge1, edge2} {
			if h := n.health(t); !h.GetHealthy() || h.GetNodesAlive() != 3 || h.GetAnswered() != 2 || len(h.GetFindings()) > 0 {
				return false
			}
		}
		return true
	})

	// What is wrong with one is told by another, as that one says it.
	edge2.Kernel.BreakDatapath(errors.New("no BPF today"))
	edge2.Stop()
	edge2.Start()
	daemontest.Await(t, "edge-1 tells of edge-2's datapath", func() bool {
		h := edge1.health(t)
		return !h.GetHealthy() && says(h, "problem", "no BPF today", "edge-2")
	})

	edge2.Stop()
	daemontest.Await(t, "edge-2 is dead for both", func() bool {
		h := edge1.health(t)
		return says(h, "dead-node", "edge-2 is dead for all 2 nodes") && h.GetNodesAlive() == 2
	})
	for _, f := range cloud.health(t).GetFindings() {
		if f.GetKind() == "dead-node" && f.GetSince() == nil {
			t.Errorf("since when is not said: %v", f)
		}
	}
}

// The question is other nodes', and not the control socket's.
func TestReportsAreForOtherNodes(t *testing.T) {
	cloud := startNode(t, "cloud-1")
	here := edgenetv1connect.NewPeerServiceClient(cloud.http, base)
	if _, err := here.ReportHealth(t.Context(), &api.ReportHealthRequest{}); connect.CodeOf(err) != connect.CodeUnimplemented {
		t.Errorf("on the control socket: %v", err)
	}
}
