package daemon_test

import (
	"slices"
	"strings"
	"testing"

	"connectrpc.com/connect"

	api "edgenet.dev/edgenet/api/edgenet/v1"
	"edgenet.dev/edgenet/internal/daemon/daemontest"
	"edgenet.dev/edgenet/pkg/isolation"
)

// An authority evicts a node: there is no tunnel to it and no endpoint of it any
// more, and note is kept. The node says so itself, and its tenants are cut off.
func TestAnEvictedNodeIsCutOff(t *testing.T) {
	cloud, vni := authority(t)
	edge := daemontest.Start(t, "edge-1", nil)
	if _, err := edge.Join(t.Context(), newToken(t, cloud)); err != nil {
		t.Fatal(err)
	}
	daemontest.Await(t, "the VPC is known on the edge", func() bool {
		_, err := edge.GetVPC("blue")
		return err == nil
	})
	mustAttach(t, edge, attachRequest("web", "10.0.0.5"))
	daemontest.Await(t, "the endpoint is known to the authority", func() bool { return state(t, cloud, "web") == "ready" })
	daemontest.Await(t, "the authority has a tunnel", func() bool { return len(cloud.ListTunnels()) == 1 })

	_, err := edge.EvictNode(t.Context(), "cloud-1")
	wantCode(t, err, connect.CodeFailedPrecondition, "not an authority", "ask cloud-1")
	_, err = edge.RotateGossipKey(t.Context())
	wantCode(t, err, connect.CodeFailedPrecondition, "not an authority")
	_, err = cloud.EvictNode(t.Context(), "cloud-1")
	wantCode(t, err, connect.CodeFailedPrecondition, "cannot evict itself")
	_, err = cloud.EvictNode(t.Context(), "nobody")
	wantCode(t, err, connect.CodeNotFound, "nobody")

	out, err := cloud.EvictNode(t.Context(), "edge-1")
	if err != nil || out.GetAlready() || out.GetNode().GetState() != "evicted" {
		t.Fatalf("%v, %v", out, err)
	}
	daemontest.Await(t, "the authority has no tunnel to it and no endpoint of it", func() bool {
		return len(cloud.ListTunnels()) == 0 && strings.Contains(state(t, cloud, "web"), "not found")
	})
	if out, err := cloud.EvictNode(t.Context(), "edge-1"); err != nil || !out.GetAlready() {
		t.Errorf("evicted again: %v, %v", out, err)
	}
	if out, err := cloud.RotateGossipKey(t.Context()); err != nil || out.GetGeneration() != 2 {
		t.Errorf("rotated: %v, %v", out, err)
	}
	var noted []string
	entries, err := cloud.ListAudit()
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		noted = append(noted, e.GetWhat())
	}
	if want := []string{"create token for 1 nodes with the roles [edge], good for 1h0m0s", "join the mesh with the roles [edge]", "evict node edge-1 (" + out.GetNode().GetId() + ")", "rotate gossip key"}; !slices.Equal(noted, want) {
		t.Errorf("the audit log has %q, want %q", noted, want)
	}

	key := isolation.Key{VNI: vni, Name: "web"}
	daemontest.Await(t, "the evicted node says so, and its endpoint has no way out", func() bool {
		return slices.ContainsFunc(edge.Status().GetProblems(), func(p string) bool { return strings.Contains(p, "was evicted from the mesh at ") }) &&
			state(t, edge, "web") == "failed" && !hasPeers(edge) && edge.Kernel.Endpoint(key).Superseded
	})
	_, err = edge.AttachEndpoint(t.Context(), attachRequest("other", "10.0.0.6"))
	if err == nil || !strings.Contains(err.Error(), "evicted") {
		t.Errorf("an attach on the evicted node: %v", err)
	}
	if err := edge.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err = edge.Join(t.Context(), newToken(t, cloud))
	wantCode(t, err, connect.CodePermissionDenied, "another key")
	again := daemontest.Start(t, "edge-1", nil)
	if _, err := again.Join(t.Context(), newToken(t, cloud)); err != nil {
		t.Errorf("the name is not free: %v", err)
	}
}

// hasPeers tells whether a node has a tunnel to any other.
func hasPeers(n *daemontest.Node) bool {
	return slices.ContainsFunc(n.ListTunnels(), func(t *api.PeerTunnel) bool { return t.GetTunnel().GetEndpoint() != "" })
}
