package netns

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"sync"
	"testing"
	"time"

	edgenetv1 "edgenet.dev/edgenet/api/edgenet/v1"
	"edgenet.dev/edgenet/test/netns/lab"
)

// curl and JSON are enough to drive a node; errors carry the standard codes.
func TestCurlDrivesTheControlSocket(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	host := l.Mesh("edge-1")[0]
	var nodes struct {
		Nodes []struct{ Name, State string }
	}
	curl(t, host, "NodeService/ListNodes", `{}`, &nodes)
	if len(nodes.Nodes) != 1 || nodes.Nodes[0].Name != "edge-1" || nodes.Nodes[0].State != "alive" {
		t.Errorf("ListNodes gave %+v", nodes)
	}
	var made struct {
		VPC struct {
			Name     string
			Gateways []string
		}
	}
	curl(t, host, "VPCService/CreateVPC", `{"name": "blue", "cidrs": ["10.0.0.0/24"]}`, &made)
	if made.VPC.Name != "blue" || !slices.Equal(made.VPC.Gateways, []string{"10.0.0.1"}) {
		t.Errorf("CreateVPC gave %+v", made)
	}
	for call, want := range map[[2]string]string{
		{"VPCService/GetVPC", `{"name": "absent"}`}:                                "not_found",
		{"VPCService/CreateVPC", `{"name": "blue", "cidrs": ["10.9.0.0/24"]}`}:     "already_exists",
		{"VPCService/CreateVPC", `{"name": "No Name", "cidrs": ["10.9.0.0/24"]}`}:  "invalid_argument",
		{"VPCService/CreateVPC", `{"name": "green", "cidrs": ["fish"]}`}:           "invalid_argument",
		{"EndpointService/AttachEndpoint", `{"name": "web", "vpc": "blue"}`}:       "invalid_argument",
		{"EndpointService/DetachEndpoint", `{"name": "absent", "vpc": "blue"}`}:    "not_found",
		{"MeshService/Init", `{}`}:                                                 "failed_precondition",
		{"GroupService/GetGroup", `{"name": "absent", "vpc": "blue"}`}:             "not_found",
		{"GroupService/AddRule", `{"group": "absent", "vpc": "blue", "rule": {}}`}: "invalid_argument",
	} {
		var failed struct{ Code, Message string }
		curl(t, host, call[0], call[1], &failed)
		if failed.Code != want || failed.Message == "" {
			t.Errorf("%s %s gave %+v, want %s", call[0], call[1], failed, want)
		}
	}
}

// curl makes one call and decodes the answer, whatever its status.
func curl(t *testing.T, host *lab.Host, method, body string, into any) {
	t.Helper()
	output, err := exec.Command("curl", "-s", "--max-time", "20", "--unix-socket", host.Socket(),
		"-H", "Content-Type: application/json", "-d", body, "http://edgenet/edgenet.v1."+method).Output()
	if err != nil {
		t.Fatalf("curl %s: %v", method, err)
	}
	if err := json.Unmarshal(output, into); err != nil {
		t.Fatalf("curl %s: %v in %q", method, err, output)
	}
}

// A gRPC client sees the same API.
func TestGRPCDrivesTheControlSocket(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	host := l.Mesh("edge-1")[0]
	api, done := host.GRPC()
	defer done()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	nodes, err := api.Nodes.ListNodes(ctx, &edgenetv1.ListNodesRequest{})
	if err != nil || len(nodes.GetNodes()) != 1 {
		t.Errorf("ListNodes over gRPC gave %v, %v", nodes, err)
	}
}

// A watch on one node tells of what is made, changed and removed on another.
//
//	edge-1: changes          edge-2: watches
func TestAWatchShowsEveryChange(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	hosts := l.Mesh("edge-1", "edge-2")
	hosts[0].VPC("old", "10.7.0.0/24")
	l.Await("edge-2 knows the VPC", func() error { return shows(hosts[1], "vpc", "show", "old") })

	seen := watch(t, hosts[1])
	l.Await("the watch has sent what there is", func() error {
		return seen.has("added node edge-1", "added node edge-2", "added vpc old", "synced")
	})
	hosts[0].VPC("blue", "10.0.0.0/24")
	hosts[0].Group("blue", "all")
	web := hosts[0].Container("web")
	web.Attach("blue", "10.0.0.2", "all")
	l.Await("the watch tells of what was made", func() error {
		return seen.has("added vpc blue", "added group all", "added endpoint web")
	})
	hosts[0].AddRule("blue", "all", open)
	l.Await("the watch tells of the new rule", func() error { return seen.has("modified group all") })
	web.Detach()
	hosts[0].MustCtl("group", "delete", "all", "--vpc", "blue")
	hosts[0].MustCtl("vpc", "delete", "blue")
	l.Await("the watch tells of what was removed", func() error {
		return seen.has("deleted endpoint web", "deleted group all", "deleted vpc blue")
	})
	hosts[0].Kill()
	l.Await("the watch tells of a node's state", func() error { return seen.has("modified node edge-1") })
}

// shows returns an error unless edgenetctl ends well.
func shows(host *lab.Host, args ...string) error {
	if result := host.Ctl(args...); result.Code != 0 {
		return fmt.Errorf("%s", result.Stderr)
	}
	return nil
}

// watched is what a watch has said so far, a line for each event.
type watched struct {
	mu    sync.Mutex
	lines []string
	err   error
}

// watch follows a host's changes until the test ends.
func watch(t *testing.T, host *lab.Host) *watched {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	api, done := host.KeptAPI()
	stream, err := api.Watch.Watch(ctx, &edgenetv1.WatchRequest{})
	if err != nil {
		cancel()
		t.Fatalf("watch: %v", err)
	}
	w := &watched{}
	var reading sync.WaitGroup
	reading.Go(func() {
		for stream.Receive() {
			w.note(stream.Msg())
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		w.err = stream.Err()
	})
	t.Cleanup(func() {
		cancel()
		reading.Wait()
		_ = stream.Close() // it was cut off on purpose
		done()
	})
	return w
}

func (w *watched) note(event *edgenetv1.WatchResponse) {
	line := event.GetType()
	switch object := event.GetObject().(type) {
	case *edgenetv1.WatchResponse_Node:
		line += " node " + object.Node.GetName()
	case *edgenetv1.WatchResponse_Vpc:
		line += " vpc " + object.Vpc.GetName()
	case *edgenetv1.WatchResponse_Group:
		line += " group " + object.Group.GetName()
	case *edgenetv1.WatchResponse_Endpoint:
		line += " endpoint " + object.Endpoint.GetName()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lines = append(w.lines, line)
}

// has returns an error unless every line has been said.
func (w *watched) has(lines ...string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, line := range lines {
		if !slices.Contains(w.lines, line) {
			return errors.Join(fmt.Errorf("no %q in %q", line, w.lines), w.err)
		}
	}
	return nil
}
