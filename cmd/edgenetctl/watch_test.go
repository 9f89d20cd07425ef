package main

import (
	"context"
	"io"
	"net"
	"slices"
	"strings"
	"testing"

	edgenetv1 "edgenet.dev/edgenet/api/edgenet/v1"
)

func TestWatch(t *testing.T) {
	f := mesh()
	f.events = []*edgenetv1.WatchResponse{
		{Type: "added", Object: &edgenetv1.WatchResponse_Node{Node: f.nodes[1]}},
		{Type: "added", Object: &edgenetv1.WatchResponse_Vpc{Vpc: f.vpcs[0]}},
		{Type: "added", Object: &edgenetv1.WatchResponse_Group{Group: f.groups[1]}},
		{Type: "synced"},
		{Type: "modified", Object: &edgenetv1.WatchResponse_Endpoint{Endpoint: f.endpoints[0]}},
	}
	socket := f.serve(t)
	got := tool(t.Context(), socket, "", "watch", "--kind", "node", "--kind", "vpc,group")
	want := result{code: exitError, stderr: "edgenetctl: watch: edgenetd ended the stream\n", stdout: `
12:00:00  added     node      edge-1                alive, tunnel up
12:00:00  added     vpc       blue                  VNI 1, 10.0.0.0/24,10.1.0.0/24
12:00:00  added     group     blue/web              4 rules
12:00:00  synced
12:00:00  modified  endpoint  blue/web-1            10.0.0.7,fd00:1::7 on cloud-1, ready
`[1:]}
	if got != want {
		t.Errorf("got\n%+v\nwant\n%+v", got, want)
	}
	if want := []string{`Watch {"kinds":["node","vpc","group"]}`}; !slices.Equal(f.requests, want) {
		t.Errorf("asked %v", f.requests)
	}

	got = tool(t.Context(), socket, "", "watch", "-o", "json")
	lines := strings.Split(strings.TrimSpace(got.stdout), "\n")
	if len(lines) != len(f.events) || lines[3] != `{"type":"synced","revision":"","time":null,"event":"","message":""}` || !strings.HasPrefix(lines[1], `{"type":"added","vpc":{"name":"blue","vni":1,`) {
		t.Errorf("stdout\n%s", got.stdout)
	}
	got = tool(t.Context(), socket, "", "watch", "-o", "yaml")
	if strings.Count(got.stdout, "---\n") != len(f.events) || !strings.Contains(got.stdout, "---\ntype: synced\nrevision: \"\"\ntime: null\nevent: \"\"\nmessage: \"\"\n---\n") {
		t.Errorf("stdout\n%s", got.stdout)
	}
}

// writingTo is an environment whose output goes to w.
func writingTo(w io.Writer) *env {
	return &env{
		stdout: w, stderr: w,
		getenv: func(string) string { return "" },
		dial: func(ctx context.Context, socket string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
		now: now.Local,
	}
}

func TestAnInterruptedWatchEndsWell(t *testing.T) {
	f := mesh()
	f.hold = true
	f.events = []*edgenetv1.WatchResponse{{Type: "synced"}}
	ctx, cancel := context.WithCancel(t.Context())
	// The person interrupts when the first line is there.
	stdout := writerFunc(func(p []byte) (int, error) {
		cancel()
		return len(p), nil
	})
	if code := run(ctx, writingTo(stdout), []string{"watch", "--socket", f.serve(t)}); code != exitOK {
		t.Errorf("exit code %d", code)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
