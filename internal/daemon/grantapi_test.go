package daemon_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	api "edgenet.dev/edgenet/api/edgenet/v1"
	"edgenet.dev/edgenet/internal/daemon/daemontest"
)

// grantTo asks for a grant for an endpoint of blue.
func grantTo(node, name string, ips ...string) *api.CreateGrantRequest {
	return &api.CreateGrantRequest{Name: name, Vpc: "blue", Node: node, Ips: ips}
}

func mustGrant(t *testing.T, n *daemontest.Node, req *api.CreateGrantRequest) *api.Grant {
	t.Helper()
	g, err := n.CreateGrant(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func require(t *testing.T, n *daemontest.Node, required bool, change func(*api.SetMeshSettingsRequest)) (uint32, error) {
	t.Helper()
	req := &api.SetMeshSettingsRequest{RequireGrants: &required}
	if change != nil {
		change(req)
	}
	return n.SetMeshSettings(t.Context(), req)
}

func inForce(n *daemontest.Node) []string {
	var names []string
	for _, e := range n.Kernel.Endpoints() {
		names = append(names, e.Name)
	}
	slices.Sort(names)
	return names
}

// A node of a mesh that requires grants attaches what it has a grant for, and no more,
// for as long as it has it.
func TestAnAttachNeedsAGrant(t *testing.T) {
	cloud, edge := pair(t)
	if _, err := require(t, cloud, true, nil); err != nil {
		t.Fatal(err)
	}
	daemontest.Await(t, "the edge has heard of it", func() bool { m, err := edge.MeshSettings(); return err == nil && m.GetRequireGrants() })
	_, err := edge.AttachEndpoint(t.Context(), attachRequest("web", "10.0.0.5"))
	wantCode(t, err, connect.CodeFailedPrecondition, "attach endpoint web: it is not granted: its node has no grant for it",
		"edgenetctl grant create web --vpc blue --node edge-1 --ip 10.0.0.5")

	made := mustGrant(t, cloud, grantTo("edge-1", "web", "10.0.0.5"))
	if again := mustGrant(t, cloud, grantTo("edge-1", "web", "10.0.0.5")); again.GetState() != "unused" || !again.GetCreated().AsTime().Equal(made.GetCreated().AsTime()) {
		t.Errorf("the same again is %v", again)
	}
	// The grant may still be on its way: the attach waits for it.
	mustAttach(t, edge, attachRequest("web", "10.0.0.5"))
	_, err = edge.AttachEndpoint(t.Context(), attachRequest("web", "10.0.0.6"))
	wantCode(t, err, connect.CodeFailedPrecondition, "its grant has not the address 10.0.0.6")
	daemontest.Await(t, "the grant is used", func() bool {
		all, err := cloud.ListGrants(&api.ListGrantsRequest{Node: "edge-1", Vpc: "blue"})
		return err == nil && len(all) == 1 && all[0].GetState() == "used"
	})

	if err := cloud.DeleteGrant(t.Context(), &api.DeleteGrantRequest{Name: "web", Vpc: "blue", Node: "edge-1"}); err != nil {
		t.Fatal(err)
	}
	daemontest.Await(t, "the endpoint is cut off", func() bool { return len(inForce(edge)) == 0 })
	for _, n := range []*daemontest.Node{cloud, edge} {
		daemontest.Await(t, "it is said why", func() bool {
			e, err := n.GetEndpoint(t.Context(), "web", "blue")
			return err == nil && e.GetState() == "failed" && strings.Contains(e.GetMessage(), "its node has no grant for it")
		})
	}
	if problems := strings.Join(edge.Status().GetProblems(), "\n"); !strings.Contains(problems, "endpoint web of vpc blue is failed: is not granted") {
		t.Errorf("its node's problems are %q", problems)
	}
	if problems := strings.Join(cloud.Status().GetProblems(), "\n"); !strings.Contains(problems, "node edge-1 claims without a grant") {
		t.Errorf("the authority's problems are %q", problems)
	}
	mustGrant(t, cloud, grantTo("edge-1", "web", "10.0.0.5"))
	daemontest.Await(t, "it is back", func() bool { return slices.Equal(inForce(edge), []string{"web"}) })
}

// A restart keeps what was required and granted; what ends while nobody changes
// anything ends in time.
func TestAGrantEndsInTime(t *testing.T) {
	n, _ := authority(t)
	if _, err := require(t, n, true, nil); err != nil {
		t.Fatal(err)
	}
	req := grantTo("cloud-1", "web", "10.0.0.5")
	req.TtlSeconds = 3600
	long := mustGrant(t, n, req)
	mustAttach(t, n, attachRequest("web", "10.0.0.5"))
	n.Stop()
	n.Start()
	daemontest.Await(t, "it is in force after a restart", func() bool { return slices.Equal(inForce(n), []string{"web"}) })
	req.TtlSeconds = 1
	short := mustGrant(t, n, req)
	if !short.GetExpires().AsTime().Before(long.GetExpires().AsTime()) {
		t.Errorf("the grant ends at %v, before at %v", short.GetExpires(), long.GetExpires())
	}
	daemontest.Await(t, "it is cut off", func() bool { return len(inForce(n)) == 0 })
	if late := time.Since(short.GetExpires().AsTime()); late < 0 {
		t.Errorf("it was cut off %s before its grant ended", -late)
	} else {
		t.Logf("it was cut off %s after its grant ended", late)
	}
	if e, err := n.GetEndpoint(t.Context(), "web", "blue"); err != nil || !strings.Contains(e.GetMessage(), "has expired at") {
		t.Errorf("it is %v, %v", e, err)
	}
	if all, err := n.ListGrants(&api.ListGrantsRequest{}); err != nil || len(all) != 1 || all[0].GetState() != "expired" {
		t.Errorf("the grants are %v, %v", all, err)
	}
}

// Whoever has endpoints need grants is told what that does, and says what becomes of
// those that have none.
func TestRequiringGrantsCutsNothingOffUnasked(t *testing.T) {
	n, _ := authority(t)
	mustAttach(t, n, attachRequest("web", "10.0.0.5"))
	mustAttach(t, n, attachRequest("db", "10.0.0.6"))
	mustGrant(t, n, grantTo("cloud-1", "db", "10.0.0.6"))
	_, err := require(t, n, true, nil)
	wantCode(t, err, connect.CodeFailedPrecondition, "it would cut off 1 endpoints that have no grant, as web of vpc blue on cloud-1", "nothing was changed")
	granted, err := require(t, n, true, func(r *api.SetMeshSettingsRequest) { r.GrantExisting = true })
	if err != nil || granted != 1 {
		t.Fatalf("%d grants were made, %v", granted, err)
	}
	if m, err := n.MeshSettings(); err != nil || !m.GetRequireGrants() || m.GetRequiredFrom() == nil || m.GetGrants() != 2 || m.GetUngranted() != 0 {
		t.Errorf("the settings are %v, %v", m, err)
	}
	daemontest.Await(t, "grants are required", func() bool { m, err := n.MeshSettings(); return err == nil && m.GetRequiredFrom() == nil })
	_, err = n.AttachEndpoint(t.Context(), attachRequest("new", "10.0.0.7"))
	wantCode(t, err, connect.CodeFailedPrecondition, "its node has no grant")
	if got := inForce(n); !slices.Equal(got, []string{"db", "web"}) {
		t.Errorf("in force are %v", got)
	}

	if err := n.DeleteGrant(t.Context(), &api.DeleteGrantRequest{Name: "web", Vpc: "blue", Node: "cloud-1"}); err != nil {
		t.Fatal(err)
	}
	wantCode(t, n.DeleteGrant(t.Context(), &api.DeleteGrantRequest{Name: "web", Vpc: "blue", Node: "cloud-1"}), connect.CodeNotFound)
	_, err = require(t, n, false, nil)
	wantCode(t, err, connect.CodeFailedPrecondition, "it would put in force 1 claims that were not granted, as web of vpc blue on cloud-1")
	if _, err := require(t, n, false, func(r *api.SetMeshSettingsRequest) { r.Force = true }); err != nil {
		t.Fatal(err)
	}
	daemontest.Await(t, "both are in force", func() bool { return len(inForce(n)) == 2 })
	audit, err := n.ListAudit()
	if err != nil {
		t.Fatal(err)
	}
	var notes []string
	for _, e := range audit {
		if strings.Contains(e.GetWhat(), "grant") {
			notes = append(notes, e.GetWhat())
		}
	}
	for i, want := range []string{
		"create grant db on node cloud-1 for 10.0.0.6", "set require-grants on, with grants for 1 endpoints",
		"delete grant web on node cloud-1", "set require-grants off, forced: puts 1 claims in force",
	} {
		if i >= len(notes) || !strings.HasPrefix(notes[i], want) {
			t.Errorf("the audit log has %q, want %q in place %d", notes, want, i)
		}
	}
}

func TestGrantsThatCannotBe(t *testing.T) {
	n, _ := authority(t)
	with := func(change func(*api.CreateGrantRequest)) *api.CreateGrantRequest {
		req := grantTo("cloud-1", "web", "10.0.0.5")
		change(req)
		return req
	}
	for want, c := range map[string]struct {
		req  *api.CreateGrantRequest
		code connect.Code
	}{
		"name":                     {with(func(r *api.CreateGrantRequest) { r.Name = "Web" }), connect.CodeInvalidArgument},
		`vpc "red": not found`:     {with(func(r *api.CreateGrantRequest) { r.Vpc = "red" }), connect.CodeNotFound},
		`node "edge-9": not found`: {with(func(r *api.CreateGrantRequest) { r.Node = "edge-9" }), connect.CodeNotFound},
		"no ip: want at least one": {with(func(r *api.CreateGrantRequest) { r.Ips = nil }), connect.CodeInvalidArgument},
		"is the gateway":           {with(func(r *api.CreateGrantRequest) { r.Ips = []string{"10.0.0.1"} }), connect.CodeInvalidArgument},
		"in none of the VPC's":     {with(func(r *api.CreateGrantRequest) { r.Prefixes = []string{"10.9.0.0/24"} }), connect.CodeInvalidArgument},
		`group "db" of vpc blue`:   {with(func(r *api.CreateGrantRequest) { r.Groups = []string{"db"} }), connect.CodeNotFound},
		"at most":                  {with(func(r *api.CreateGrantRequest) { r.TtlSeconds = 1 << 63 }), connect.CodeInvalidArgument},
		"it would have ended":      {with(func(r *api.CreateGrantRequest) { r.Expires = timestamppb.New(time.Now().Add(-time.Minute)) }), connect.CodeInvalidArgument},
		"both a ttl and a time":    {with(func(r *api.CreateGrantRequest) { r.TtlSeconds, r.Expires = 1, timestamppb.New(time.Now()) }), connect.CodeInvalidArgument},
	} {
		_, err := n.CreateGrant(t.Context(), c.req)
		wantCode(t, err, c.code, want)
	}
	gone := strings.Repeat("7", 40)
	wantCode(t, n.DeleteGrant(t.Context(), &api.DeleteGrantRequest{Name: "web", Vpc: "blue", Node: gone}), connect.CodeNotFound, "not found")
	if all, err := n.ListGrants(&api.ListGrantsRequest{}); err != nil || len(all) > 0 {
		t.Errorf("there are grants: %v, %v", all, err)
	}
}
