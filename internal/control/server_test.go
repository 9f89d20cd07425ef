package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"connectrpc.com/grpcreflect"

	api "edgenet.dev/edgenet/api/edgenet/v1"
	"edgenet.dev/edgenet/api/edgenet/v1/edgenetv1connect"
	"edgenet.dev/edgenet/internal/daemon"
	"edgenet.dev/edgenet/internal/daemon/daemontest"
)

const base = "http://edgenet"

// node is a daemon with its control socket.
type node struct {
	*daemontest.Node
	// http speaks HTTP/1, h2c HTTP/2, both to the socket.
	http, h2c *http.Client
	path      string
	stop      func()
}

func startNode(t *testing.T, name string) *node {
	t.Helper()
	var handler http.Handler
	log := slog.New(slog.DiscardHandler)
	n := &node{Node: daemontest.Start(t, name, func(d *daemon.Daemon) http.Handler {
		handler = Handler(d, log)
		return PeerHandler(d, handler, log)
	})}
	n.path = filepath.Join(t.TempDir(), "edgenetd.sock")
	n.http, n.h2c = dialer(n.path, false), dialer(n.path, true)
	n.stop = serve(t, n.path, handler)
	return n
}

func serve(t *testing.T, path string, handler http.Handler) (stop func()) {
	t.Helper()
	s, err := Listen(path, handler)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := s.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	stop = func() {
		cancel()
		<-done
	}
	t.Cleanup(stop)
	return stop
}

func dialer(path string, h2c bool) *http.Client {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(!h2c)
	protocols.SetUnencryptedHTTP2(h2c)
	return &http.Client{Transport: &http.Transport{
		Protocols: protocols,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", path)
		},
	}}
}

func (n *node) vpcs() edgenetv1connect.VPCServiceClient {
	return edgenetv1connect.NewVPCServiceClient(n.http, base)
}

func (n *node) groups() edgenetv1connect.GroupServiceClient {
	return edgenetv1connect.NewGroupServiceClient(n.http, base)
}

func (n *node) mesh() edgenetv1connect.MeshServiceClient {
	return edgenetv1connect.NewMeshServiceClient(n.http, base)
}

func (n *node) policies() edgenetv1connect.PolicyServiceClient {
	return edgenetv1connect.NewPolicyServiceClient(n.http, base)
}

// post is what curl does.
func (n *node) post(t *testing.T, procedure, body string) (status int, answer map[string]any) {
	t.Helper()
	res, err := n.http.Post(base+procedure, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
		t.Fatalf("%s: %v", procedure, err)
	}
	return res.StatusCode, answer
}

func TestJSONOverTheSocketIsEnough(t *testing.T) {
	n := startNode(t, "cloud-1")
	if status, answer := n.post(t, "/edgenet.v1.MeshService/Init", `{}`); status != http.StatusOK || answer["meshId"] == "" {
		t.Fatalf("init: %d %v", status, answer)
	}
	status, answer := n.post(t, "/edgenet.v1.VPCService/CreateVPC", `{"name":"blue","cidrs":["10.0.0.0/24"]}`)
	vpc, ok := answer["vpc"].(map[string]any)
	if status != http.StatusOK || !ok || vpc["name"] != "blue" {
		t.Fatalf("create: %d %v", status, answer)
	}
	if gateways, ok := vpc["gateways"].([]any); !ok || gateways[0] != "10.0.0.1" {
		t.Errorf("the gateways are %v", vpc["gateways"])
	}
}

func TestErrorsHaveTheirCodeAndOneWholeMessage(t *testing.T) {
	n := startNode(t, "cloud-1")
	type call struct{ procedure, body, code, message string }
	check := func(calls ...call) {
		t.Helper()
		for _, c := range calls {
			status, answer := n.post(t, "/edgenet.v1."+c.procedure, c.body)
			if status == http.StatusOK || answer["code"] != c.code || answer["message"] != c.message {
				t.Errorf("%s %s: got %d %v, want %s: %s", c.procedure, c.body, status, answer, c.code, c.message)
			}
		}
	}
	const nowhere = "this node is in no mesh"
	check(
		call{"MeshService/CreateToken", `{}`, "failed_precondition", "create token: " + nowhere + "; run init or join first"},
		call{"VPCService/CreateVPC", `{}`, "failed_precondition", nowhere + "; run init or join first"},
		call{"MeshService/Leave", `{}`, "failed_precondition", "leave: " + nowhere},
		call{"MeshService/Join", `{"token":"x"}`, "invalid_argument", `join mesh: not a join token, or not all of it: it must begin with "edgenet1."`},
		call{"EndpointService/DetachEndpoint", `{"name":"web","vpc":"blue"}`, "failed_precondition", "detach endpoint web: " + nowhere},
	)
	if _, err := n.Init(t.Context()); err != nil {
		t.Fatal(err)
	}
	n.post(t, "/edgenet.v1.VPCService/CreateVPC", `{"name":"blue","cidrs":["10.0.0.0/24"]}`)
	attach := func(ip, target string) string {
		return `{"name":"web","vpc":"blue","ip":"` + ip + `",` + target + `}`
	}
	const netns = `"netns":{"path":"/run/netns/web"}`
	check(
		call{"MeshService/Init", `{}`, "failed_precondition", "make mesh: this node is in a mesh already; leave it first"},
		call{"MeshService/CreateToken", `{"ttlSeconds":"9999999999"}`, "invalid_argument", "create token: ttl of 9999999999 s: at most 2592000 s"},
		call{"MeshService/CreateToken", `{"uses":10001}`, "invalid_argument", "create token: 10001 uses: at most 10000"},
		call{"MeshService/CreateToken", `{"roles":["king"]}`, "invalid_argument", `create token: role "king": want edge, cloud, gateway, relay or authority`},
		call{"NodeService/GetNode", `{"name":"x"}`, "not_found", `node "x": not found`},
		call{"VPCService/GetVPC", `{"name":"x"}`, "not_found", `vpc "x": not found`},
		call{"VPCService/CreateVPC", `{"name":"blue","cidrs":["10.9.0.0/24"]}`, "already_exists", "create vpc blue: exists already with cidr 10.0.0.0/24"},
		call{"VPCService/CreateVPC", `{"name":"red"}`, "invalid_argument", "create vpc red: cidr: want at least one, such as 10.0.0.0/24"},
		call{"GroupService/AddRule", `{"group":"x","vpc":"blue","rule":{"direction":"ingress","protocol":"tcp","peer":"any"}}`, "not_found", `group "x" of vpc blue: not found`},
		call{"EndpointService/GetEndpoint", `{"name":"x","vpc":"blue"}`, "not_found", `endpoint "x" of vpc blue: not found`},
		call{"EndpointService/AttachEndpoint", attach("10.0.0.1", netns), "invalid_argument", "attach endpoint web: ip 10.0.0.1: is the gateway of 10.0.0.0/24"},
		call{"EndpointService/AttachEndpoint", attach("nine", netns), "invalid_argument", `attach endpoint web: ip "nine": want an IPv4 or IPv6 address such as 10.0.0.5 or fd00:1::5`},
		call{"EndpointService/AttachEndpoint", attach("10.0.0.5", `"ips":["10.0.0.6","10.9.0.6"],`+netns), "invalid_argument", "attach endpoint web: ip 10.9.0.6: is in none of the VPC's prefixes 10.0.0.0/24"},
		call{"EndpointService/AttachEndpoint", attach("10.0.0.5", `"ips":["fd00:1::5"],`+netns), "invalid_argument", "attach endpoint web: ip fd00:1::5: is in none of the VPC's prefixes 10.0.0.0/24"},
		call{"EndpointService/AttachEndpoint", attach("10.0.0.5", `"prefixes":["10.0.0.100"],`+netns), "invalid_argument", `attach endpoint web: prefix "10.0.0.100": want a prefix such as 10.0.1.0/24 or 10.0.0.100/32`},
		call{"EndpointService/AttachEndpoint", attach("10.0.0.5", `"prefixes":["10.0.0.100/24"],`+netns), "invalid_argument", "attach endpoint web: prefix 10.0.0.100/24: has host bits; did you mean 10.0.0.0/24?"},
		call{"EndpointService/AttachEndpoint", attach("10.0.0.5", `"prefixes":["10.0.1.0/25"],`+netns), "invalid_argument", "attach endpoint web: prefix 10.0.1.0/25: is in none of the VPC's prefixes 10.0.0.0/24"},
		call{"EndpointService/AttachEndpoint", attach("10.0.0.5", `"prefixes":["10.0.0.1/32"],`+netns), "invalid_argument", "attach endpoint web: prefix 10.0.0.1: is the gateway of 10.0.0.0/24"},
		call{"EndpointService/AttachEndpoint", attach("10.0.0.5", `"netns":{"path":"web"}`), "invalid_argument", `attach endpoint web: netns "web": want an absolute path such as /run/netns/web`},
		call{"EndpointService/AttachEndpoint", attach("10.0.0.5", `"mac":"02:65:6e:00:00:01"`), "invalid_argument", `attach endpoint web: mac "02:65:6e:00:00:01": is the gateway's; want another`},
		call{"EndpointService/AttachEndpoint", attach("10.0.0.5", `"mac":""`), "invalid_argument", "attach endpoint web: no target: want one of netns, tap or device"},
		call{"EndpointService/DetachEndpoint", `{"name":"web","vpc":"blue"}`, "not_found", "detach endpoint web of vpc blue: not found"},
	)
}

func TestAnyGRPCClientWorks(t *testing.T) {
	n := startNode(t, "cloud-1")
	client := edgenetv1connect.NewMeshServiceClient(n.h2c, base, connect.WithGRPC())
	if _, err := client.Init(t.Context(), &api.InitRequest{}); err != nil {
		t.Fatal(err)
	}
	status, err := client.GetStatus(t.Context(), &api.GetStatusRequest{})
	if err != nil || status.GetNodesTotal() != 1 || !slices.Contains(status.GetRoles(), "authority") {
		t.Errorf("got %v, %v", status, err)
	}
	_, err = client.Init(t.Context(), &api.InitRequest{})
	if connect.CodeOf(err) != connect.CodeFailedPrecondition {
		t.Errorf("got %v, want failed_precondition", err)
	}
	stream := grpcreflect.NewClient(n.h2c, base).NewStream(t.Context())
	defer func() { _, _ = stream.Close() }()
	services, err := stream.ListServices()
	if err != nil || len(services) != 11 {
		t.Errorf("reflection lists %v, %v; want eleven services", services, err)
	}
}

func TestAnOversizeRequestIsRefused(t *testing.T) {
	n := startNode(t, "cloud-1")
	body := `{"token":"` + strings.Repeat("x", maxRequest) + `"}`
	if _, answer := n.post(t, "/edgenet.v1.MeshService/Join", body); answer["code"] != "resource_exhausted" {
		t.Errorf("got %v, want resource_exhausted", answer)
	}
}

func TestTheSocketIsRootsAndReplacesAStaleOne(t *testing.T) {
	path := filepath.Join(t.TempDir(), "edgenetd.sock")
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	stale.SetUnlinkOnClose(false)
	if err := stale.Close(); err != nil {
		t.Fatal(err)
	}
	stop := serve(t, path, http.NotFoundHandler())
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("got %v, %v, want mode 0660", info, err)
	}
	stop()
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after a stop the socket is still there: %v", err)
	}
}

func TestAStopEndsWatchesAtOnceAndLetsCallsFinish(t *testing.T) {
	path := filepath.Join(t.TempDir(), "edgenetd.sock")
	entered, release := make(chan struct{}, 2), make(chan struct{})
	stop := serve(t, path, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		entered <- struct{}{}
		if r.URL.Path == edgenetv1connect.WatchServiceWatchProcedure {
			<-r.Context().Done()
			close(release)
			return
		}
		<-release
		if r.Context().Err() == nil {
			_, _ = w.Write([]byte("whole")) //nolint:errcheck // the reader looks
		}
	}))
	client := dialer(path, false)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		if res, err := client.Post(base+edgenetv1connect.WatchServiceWatchProcedure, "", nil); err == nil {
			_ = res.Body.Close()
		}
	}()
	<-entered
	answer := make(chan string, 1)
	go func() {
		var b bytes.Buffer
		res, err := client.Post(base+"/call", "", nil)
		if err == nil {
			_, err = b.ReadFrom(res.Body)
			err = errors.Join(err, res.Body.Close())
		}
		if err != nil {
			b.WriteString(err.Error())
		}
		answer <- b.String()
	}()
	<-entered
	stop()
	if got := <-answer; got != "whole" {
		t.Errorf("the call in progress got %q", got)
	}
	<-watched
}

// watch collects events until the test ends.
func (n *node) watch(t *testing.T, kinds ...string) <-chan *api.WatchResponse {
	t.Helper()
	client := edgenetv1connect.NewWatchServiceClient(n.h2c, base)
	stream, err := client.Watch(t.Context(), &api.WatchRequest{Kinds: kinds})
	if err != nil {
		t.Fatal(err)
	}
	events := make(chan *api.WatchResponse, 100)
	go func() {
		defer close(events)
		for stream.Receive() {
			events <- stream.Msg()
		}
	}()
	return events
}

func next(t *testing.T, events <-chan *api.WatchResponse) *api.WatchResponse {
	t.Helper()
	select {
	case e := <-events:
		return e
	case <-time.After(20 * time.Second):
		t.Fatal("no event")
		return nil
	}
}

func TestAWatchTellsEachChangeOnce(t *testing.T) {
	n := startNode(t, "cloud-1")
	if _, err := n.Init(t.Context()); err != nil {
		t.Fatal(err)
	}
	create := func(name string) {
		if _, err := n.vpcs().CreateVPC(t.Context(), &api.CreateVPCRequest{Name: name, Cidrs: []string{"10.0.0.0/24"}}); err != nil {
			t.Fatal(err)
		}
	}
	create("blue")
	events := n.watch(t, "vpc", "group")
	if e := next(t, events); e.GetType() != "added" || e.GetVpc().GetName() != "blue" {
		t.Errorf("first came %v", e)
	}
	if e := next(t, events); e.GetType() != "added" || e.GetGroup().GetName() != "default" {
		t.Errorf("then came %v, want the default group", e)
	}
	if e := next(t, events); e.GetType() != "synced" || e.GetObject() != nil {
		t.Errorf("then came %v, want synced", e)
	}
	create("green")
	create("green") // Changes nothing.
	if _, err := n.groups().CreateGroup(t.Context(), &api.CreateGroupRequest{Name: "web", Vpc: "green"}); err != nil {
		t.Fatal(err)
	}
	rule := &api.Rule{Direction: "ingress", Protocol: "tcp", Ports: []string{"80"}, Peer: "any"}
	if _, err := n.groups().AddRule(t.Context(), &api.AddRuleRequest{Group: "web", Vpc: "green", Rule: rule}); err != nil {
		t.Fatal(err)
	}
	if e := next(t, events); e.GetType() != "added" || e.GetVpc().GetName() != "green" {
		t.Errorf("then came %v", e)
	}
	if e := next(t, events); e.GetType() != "added" || e.GetGroup().GetName() != "default" || e.GetGroup().GetVpc() != "green" {
		t.Errorf("then came %v, want the default group", e)
	}
	// The group and its rule may be told in one.
	for {
		e := next(t, events)
		if e.GetGroup().GetName() != "web" {
			t.Fatalf("then came %v", e)
		}
		if len(e.GetGroup().GetRules()) == 1 {
			break
		}
	}
	if _, err := n.vpcs().DeleteVPC(t.Context(), &api.DeleteVPCRequest{Name: "green"}); err != nil {
		t.Fatal(err)
	}
	gone := []string{}
	for range 3 {
		e := next(t, events)
		if e.GetType() != "deleted" {
			t.Errorf("then came %v", e)
		}
		gone = append(gone, e.GetVpc().GetName()+e.GetGroup().GetName())
	}
	if slices.Sort(gone); !slices.Equal(gone, []string{"default", "green", "web"}) {
		t.Errorf("deleted were %v", gone)
	}
	stream, err := edgenetv1connect.NewWatchServiceClient(n.h2c, base).Watch(t.Context(), &api.WatchRequest{Kinds: []string{"moon"}})
	if err != nil {
		t.Fatal(err)
	}
	for stream.Receive() {
		t.Error("a watch of an unknown kind sent something")
	}
	if connect.CodeOf(stream.Err()) != connect.CodeInvalidArgument {
		t.Errorf("a watch of an unknown kind got %v", stream.Err())
	}
	n.stop()
	if e, open := <-events; open {
		t.Errorf("after the stop came %v", e)
	}
}

func TestChangesAreCarriedToAnAuthority(t *testing.T) {
	cloud, edge := startNode(t, "cloud-1"), startNode(t, "edge-1")
	if _, err := cloud.mesh().Init(t.Context(), &api.InitRequest{}); err != nil {
		t.Fatal(err)
	}
	token, err := cloud.mesh().CreateToken(t.Context(), &api.CreateTokenRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := edge.mesh().Join(t.Context(), &api.JoinRequest{Token: token.GetToken()}); err != nil {
		t.Fatal(err)
	}
	create := &api.CreateVPCRequest{Name: "blue", Cidrs: []string{"10.0.0.0/24"}}
	if _, err := edge.vpcs().CreateVPC(t.Context(), create); err != nil {
		t.Fatal(err)
	}
	// What was carried out there is known here at once.
	if _, err := edge.vpcs().GetVPC(t.Context(), &api.GetVPCRequest{Name: "blue"}); err != nil {
		t.Error(err)
	}
	if _, err := edge.groups().CreateGroup(t.Context(), &api.CreateGroupRequest{Name: "web", Vpc: "blue"}); err != nil {
		t.Error(err)
	}
	rule := &api.Rule{Direction: "ingress", Protocol: "tcp", Ports: []string{"80"}, Peer: "any"}
	added, err := edge.groups().AddRule(t.Context(), &api.AddRuleRequest{Group: "web", Vpc: "blue", Rule: rule})
	if err != nil || len(added.GetGroup().GetRules()) != 1 {
		t.Errorf("add rule: %v, %v", added, err)
	}
	// Its refusals keep their code and their words.
	create.Cidrs[0] = "10.9.0.0/24"
	_, err = edge.vpcs().CreateVPC(t.Context(), create)
	if connect.CodeOf(err) != connect.CodeAlreadyExists || !strings.HasSuffix(err.Error(), "create vpc blue: exists already with cidr 10.0.0.0/24") {
		t.Errorf("got %v", err)
	}
	// Only an authority makes tokens, and nobody does by way of a peer.
	_, err = edge.mesh().CreateToken(t.Context(), &api.CreateTokenRequest{})
	if connect.CodeOf(err) != connect.CodeFailedPrecondition || !strings.HasSuffix(err.Error(), "ask cloud-1") {
		t.Errorf("got %v", err)
	}
	_, err = edge.policies().ListAudit(t.Context(), &api.ListAuditRequest{})
	if connect.CodeOf(err) != connect.CodeFailedPrecondition || !strings.HasSuffix(err.Error(), "ask on cloud-1") {
		t.Errorf("got %v", err)
	}
	if entries, err := cloud.policies().ListAudit(t.Context(), &api.ListAuditRequest{}); err != nil || len(entries.GetEntries()) != 2 {
		t.Errorf("an authority that made a token, and admitted a node, noted %v, %v", entries, err)
	}
	removed, err := edge.groups().RemoveRule(t.Context(), &api.RemoveRuleRequest{Group: "web", Vpc: "blue", Rule: rule})
	if err != nil || len(removed.GetGroup().GetRules()) != 0 {
		t.Errorf("remove rule: %v, %v", removed, err)
	}
	if _, err := edge.groups().DeleteGroup(t.Context(), &api.DeleteGroupRequest{Name: "web", Vpc: "blue"}); err != nil {
		t.Error(err)
	}
	if _, err := edge.vpcs().DeleteVPC(t.Context(), &api.DeleteVPCRequest{Name: "blue"}); err != nil {
		t.Error(err)
	}
	cloud.Stop()
	_, err = edge.vpcs().CreateVPC(t.Context(), create)
	if connect.CodeOf(err) != connect.CodeUnavailable || !strings.Contains(err.Error(), "authority cloud-1") {
		t.Errorf("with the authority down: %v", err)
	}
}

// meshThatForwardsFrom is a mesh of two nodes with the VPC blue, whose authority takes
// changes from nodes of one role, or of all.
func meshThatForwardsFrom(t *testing.T, role string, cloud, edge *node) {
	t.Helper()
	if role != "" {
		cloud.Stop()
		cloud.Config.ForwardFrom = []string{role}
		cloud.Start()
	}
	if _, err := cloud.Init(t.Context()); err != nil {
		t.Fatal(err)
	}
	token, err := cloud.CreateToken(t.Context(), &api.CreateTokenRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := edge.Join(t.Context(), token.GetToken()); err != nil {
		t.Fatal(err)
	}
	if _, err := cloud.CreateVPC(t.Context(), &api.CreateVPCRequest{Name: "blue", Cidrs: []string{"10.0.0.0/24"}}); err != nil {
		t.Fatal(err)
	}
}

// A node that was taken over must not grant itself anything: an authority takes that
// from nodes only whose roles it was told.
func TestGrantsAreTakenFromNobodyUnlessNamed(t *testing.T) {
	for role, allowed := range map[string]bool{"": false, "cloud": false, "edge": true} {
		t.Run("forward-from "+role, func(t *testing.T) {
			cloud, edge := startNode(t, "cloud-1"), startNode(t, "edge-1")
			meshThatForwardsFrom(t, role, cloud, edge)
			on, grants := true, edgenetv1connect.NewGrantServiceClient(edge.http, base)
			made, wrong := grants.CreateGrant(t.Context(), &api.CreateGrantRequest{Name: "web", Vpc: "blue", Node: "edge-1", Ips: []string{"10.0.0.5"}})
			set, err := grants.SetMeshSettings(t.Context(), &api.SetMeshSettingsRequest{RequireGrants: &on})
			if !allowed {
				if connect.CodeOf(wrong) != connect.CodePermissionDenied || connect.CodeOf(err) != connect.CodePermissionDenied {
					t.Errorf("got %v and %v", wrong, err)
				}
				if all, err := cloud.ListGrants(&api.ListGrantsRequest{}); err != nil || len(all) > 0 {
					t.Errorf("there are grants: %v, %v", all, err)
				}
				return
			}
			if wrong != nil || err != nil || made.GetGrant().GetState() != "unused" || !set.GetSettings().GetRequireGrants() {
				t.Fatalf("got %v, %v and %v, %v", made, wrong, set, err)
			}
			// What was carried out there is known here at once.
			if all, err := grants.ListGrants(t.Context(), &api.ListGrantsRequest{Node: "edge-1"}); err != nil || len(all.GetGrants()) != 1 {
				t.Errorf("here there are %v, %v", all, err)
			}
			if _, err := grants.DeleteGrant(t.Context(), &api.DeleteGrantRequest{Name: "web", Vpc: "blue", Node: "edge-1"}); err != nil {
				t.Error(err)
			}
			if now, err := grants.GetMeshSettings(t.Context(), &api.GetMeshSettingsRequest{}); err != nil || !now.GetSettings().GetRequireGrants() || now.GetSettings().GetGrants() != 0 {
				t.Errorf("the settings are %v, %v", now, err)
			}
		})
	}
}

// What nodes ask one another is not asked on the control socket.
func TestPeersQuestionsAreForPeers(t *testing.T) {
	n := startNode(t, "cloud-1")
	res, err := n.http.Post(base+edgenetv1connect.PeerServiceTraceSideProcedure, "application/json", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusNotFound {
		t.Errorf("the control socket answers %s", res.Status)
	}
}

func TestCallersAreKnownByTheirProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "edgenetd.sock")
	defer serve(t, path, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte(daemon.Caller(r.Context()))) //nolint:errcheck // the reader looks
	}))()
	res, err := dialer(path, false).Get(base)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	var b bytes.Buffer
	if _, err := b.ReadFrom(res.Body); err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("uid %d, pid %d on this host", os.Getuid(), os.Getpid()); b.String() != want {
		t.Errorf("the caller is %q, want %q", b.String(), want)
	}
}
