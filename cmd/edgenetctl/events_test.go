package main

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	edgenetv1 "edgenet.dev/edgenet/api/edgenet/v1"
)

// logID begins the revisions of the fake's log.
const logID = "0f1e2d3c4b5a6978-"

// happened are events of a log, and then that there are no more yet.
func happened(f *fake) []*edgenetv1.WatchResponse {
	node := &edgenetv1.WatchResponse_Node{Node: f.nodes[2]}
	return []*edgenetv1.WatchResponse{
		{Type: "modified", Object: node, Revision: logID + "1", Time: ago(time.Minute), Event: "node-dead", Message: "was alive"},
		{Type: "progress", Revision: logID + "2"},
		{Type: "modified", Object: node, Revision: logID + "3", Time: ago(time.Second), Event: "node-back", Message: "was dead\x1b"},
		{Type: "synced", Revision: logID + "3"},
		{Type: "added", Object: &edgenetv1.WatchResponse_Endpoint{Endpoint: f.endpoints[0]}, Revision: logID + "4", Time: ago(0), Event: "endpoint-attached", Message: "10.0.0.7 on cloud-1"},
	}
}

const storedLines = `2026-05-04T11:59:00.000Z  node-dead            edge-2                was alive
2026-05-04T11:59:59.000Z  node-back            edge-2                was dead?
`

func TestEventsShowsWhatIsStored(t *testing.T) {
	f := mesh()
	f.events = happened(f)
	socket := f.serve(t)
	for _, args := range []string{"events", "events --since 90s --kind node", "events --kind node,endpoint-attached --since " + logID + "0"} {
		if got := tool(t.Context(), socket, "", strings.Fields(args)...); got != (result{stdout: storedLines}) {
			t.Errorf("%s: %+v", args, got)
		}
	}
	if want := []string{
		`Watch {"since":"1970-01-01T00:00:00Z"}`,
		`Watch {"kinds":["node"],"since":"2026-05-04T11:58:30Z"}`,
		`Watch {"kinds":["node","endpoint-attached"],"resumeFrom":"` + logID + `0"}`,
	}; !slices.Equal(f.requests, want) {
		t.Errorf("asked %v", f.requests)
	}
	got := tool(t.Context(), socket, "", "events", "-o", "json")
	lines := strings.Split(strings.TrimSpace(got.stdout), "\n")
	if len(lines) != 2 || !strings.HasPrefix(lines[0], `{"type":"modified","node":{"name":"edge-2",`) ||
		!strings.HasSuffix(lines[0], `"revision":"`+logID+`1","time":"2026-05-04T11:59:00Z","event":"node-dead","message":"was alive"}`) {
		t.Errorf("stdout\n%s", got.stdout)
	}
}

// Who follows goes on where the stream broke off, and is told what he has to do when
// that cannot be.
func TestEventsGoesOnAfterARestart(t *testing.T) {
	f := mesh()
	f.events, f.cut = happened(f), logID+"1"
	got := tool(t.Context(), f.serve(t), "", "events", "--follow")
	want := result{
		code:   exitError,
		stdout: storedLines + "2026-05-04T12:00:00.000Z  endpoint-attached    blue/web-1            10.0.0.7 on cloud-1\n",
		stderr: "edgenetctl: show events: edgenetd ended the stream; trying again\nedgenetctl: show events: it is forgotten\n",
	}
	if got != want {
		t.Errorf("got\n%+v\nwant\n%+v", got, want)
	}
	if want := []string{
		`Watch {"since":"1970-01-01T00:00:00Z"}`, `Watch {"resumeFrom":"` + logID + `1"}`,
	}; !slices.Equal(f.requests, want) {
		t.Errorf("asked %v", f.requests)
	}
}

func TestEventsThatFindNobodyEnd(t *testing.T) {
	if got := tool(t.Context(), "/nonexistent", "", "events", "--follow"); got.code != exitError || !strings.Contains(got.stderr, "no socket at /nonexistent") {
		t.Errorf("%+v", got)
	}
}

func TestAnInterruptedFollowEndsWell(t *testing.T) {
	f := mesh()
	f.events, f.hold = happened(f), true
	ctx, cancel := context.WithCancel(t.Context())
	left := 3 // the person interrupts at the third line
	stdout := writerFunc(func(p []byte) (int, error) {
		if left--; left == 0 {
			cancel()
		}
		return len(p), nil
	})
	if code := run(ctx, writingTo(stdout), []string{"events", "--follow", "--socket", f.serve(t)}); code != exitOK {
		t.Errorf("exit code %d", code)
	}
}
