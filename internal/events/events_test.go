package events

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	api "edgenet.dev/edgenet/api/edgenet/v1"
)

var at = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func node(state, tunnel string, problems ...string) *api.WatchResponse {
	t := &api.Tunnel{State: tunnel, Since: timestamppb.New(at)}
	for _, p := range problems {
		t.Problems = append(t.Problems, &api.TunnelProblem{Kind: p, Message: p + " it is", Since: timestamppb.New(at)})
	}
	return &api.WatchResponse{Object: &api.WatchResponse_Node{Node: &api.Node{Name: "edge-1", State: state, Tunnel: t}}}
}

func endpoint(state string, attached int64) *api.WatchResponse {
	return &api.WatchResponse{Object: &api.WatchResponse_Endpoint{Endpoint: &api.Endpoint{
		Name: "web", Ip: "10.0.0.5", Node: "edge-1", State: state, Message: map[string]string{"failed": "no such device", "superseded": "taken"}[state],
		Attached: &timestamppb.Timestamp{Seconds: attached},
	}}}
}

func vpc(cidr string) *api.WatchResponse {
	return &api.WatchResponse{Object: &api.WatchResponse_Vpc{Vpc: &api.VPC{Name: "blue", Cidrs: []string{cidr}}}}
}

func group(rules int) *api.WatchResponse {
	return &api.WatchResponse{Object: &api.WatchResponse_Group{Group: &api.Group{Name: "web", Vpc: "blue", Rules: make([]*api.Rule, rules)}}}
}

func TestWhatHappenedIsNamed(t *testing.T) {
	for _, tt := range []struct {
		name          string
		before, after *api.WatchResponse
		want          string // event: message; ...
	}{
		{"nothing", nil, nil, ""},
		{"a node comes", nil, node("alive", "connecting"), "added node-joined: alive"},
		{"one that has left is heard of", nil, node("left", "down"), "added node-left: "},
		{"it is the same", node("alive", "up"), node("alive", "up"), ""},
		{"it is suspected", node("alive", "up"), node("suspect", "up"), "modified node-suspect: was alive"},
		{"it dies", node("suspect", "up"), node("dead", "up"), "modified node-dead: was suspect"},
		{"it is back", node("dead", "up"), node("alive", "up"), "modified node-back: was dead"},
		{"it is evicted", node("alive", "up"), node("evicted", "up"), "modified node-evicted: was alive"},
		{"a state that is not known yet", node("alive", "up"), node("drained", "up"), "modified node-drained: was alive"},
		{"it is forgotten", node("dead", "down"), nil, "deleted node-forgotten: was dead"},
		{"it dies, and its tunnel is down", node("alive", "up"), node("dead", "down", "no-answer"), "modified node-dead: was alive, modified tunnel-down: no-answer it is"},
		{"its tunnel is up", node("alive", "connecting"), node("alive", "up"), "modified tunnel-up: was connecting"},
		{"its tunnel lost its keys", node("alive", "up"), node("alive", "connecting"), "modified tunnel-down: was up"},
		{"its tunnel rests", node("alive", "up"), node("alive", "resting"), "modified tunnel-changed: resting, was up"},
		{"its tunnel has a problem", node("alive", "up"), node("alive", "up", "too-narrow"), "modified tunnel-changed: problems: too-narrow it is"},
		{"its tunnel has it no more", node("alive", "up", "too-narrow"), node("alive", "up"), "modified tunnel-changed: no problems any more"},
		{"a VPC", nil, vpc("10.0.0.0/24"), "added vpc-created: 10.0.0.0/24"},
		{"a VPC changes", vpc("10.0.0.0/24"), vpc("10.0.0.0/16"), "modified vpc-changed: "},
		{"a VPC goes", vpc("10.0.0.0/24"), nil, "deleted vpc-deleted: "},
		{"a group", nil, group(0), "added group-created: of vpc blue"},
		{"a group changes", group(0), group(1), "modified group-changed: "},
		{"a group goes", group(0), nil, "deleted group-deleted: "},
		{"an endpoint", nil, endpoint("ready", 1), "added endpoint-attached: 10.0.0.5 on edge-1"},
		{"it is superseded", endpoint("ready", 1), endpoint("superseded", 1), "modified endpoint-superseded: taken"},
		{"it is attached anew", endpoint("superseded", 1), endpoint("ready", 2), "modified endpoint-attached: 10.0.0.5 on edge-1, anew"},
		{"it fails", endpoint("ready", 1), endpoint("failed", 1), "modified endpoint-failed: no such device"},
		{"it is mended", endpoint("failed", 1), endpoint("ready", 1), "modified endpoint-ready: was failed"},
		{"it goes", endpoint("ready", 1), nil, "deleted endpoint-detached: was 10.0.0.5 on edge-1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for _, e := range Between(at, tt.before, tt.after) {
				got = append(got, fmt.Sprintf("%s %s: %s", e.GetType(), e.GetEvent(), e.GetMessage()))
			}
			if text := strings.Join(got, ", "); text != tt.want {
				t.Errorf("got %q, want %q", text, tt.want)
			}
		})
	}
}

// Each event has the object as it is after it: a node that died before its tunnel was
// found down is dead, with a tunnel that is up.
func TestEventsLeadFromOneToTheOther(t *testing.T) {
	before, after := node("alive", "up"), node("dead", "down")
	all := Between(at, before, after)
	if len(all) != 2 || !proto.Equal(all[0].GetNode(), node("dead", "up").GetNode()) || !proto.Equal(all[1].GetNode(), after.GetNode()) {
		t.Errorf("got %v", all)
	}
	for _, e := range all {
		if again := Between(at, &api.WatchResponse{Object: e.GetObject()}, after); e == all[1] && len(again) != 0 {
			t.Errorf("behind %v came %v", e, again)
		}
	}
}

// A daemon that has just started knows since when it looks, not since when a tunnel is
// as it is.
func TestSinceWhenIsKept(t *testing.T) {
	before, after := node("alive", "up", "too-narrow"), node("alive", "up", "too-narrow")
	after.GetNode().GetTunnel().Since = timestamppb.New(at.Add(time.Hour))
	after.GetNode().GetTunnel().GetProblems()[0].Since = timestamppb.New(at.Add(time.Hour))
	if all := Between(at, before, after); len(all) != 0 {
		t.Errorf("another time alone is told: %v", all)
	}
	after.GetNode().GetTunnel().PathMtu = 1300
	all := Between(at, before, after)
	if len(all) != 1 || !proto.Equal(all[0].GetNode().GetTunnel().GetSince(), timestamppb.New(at)) {
		t.Errorf("got %v", all)
	}
	after.GetNode().GetTunnel().State = "down"
	if all := Between(at, before, after); all[0].GetNode().GetTunnel().GetSince().AsTime() != at.Add(time.Hour) {
		t.Errorf("got %v", all)
	}
}

func TestFiltersTakeWhatWasAskedFor(t *testing.T) {
	for _, tt := range []struct {
		kinds         string
		object, event string
		want          bool
	}{
		{"", ObjectVPC, "", true},
		{"node", ObjectNode, "", true},
		{"node", ObjectNode, TunnelDown, true},
		{"vpc node", ObjectNode, NodeDead, true},
		{"vpc", ObjectNode, NodeDead, false},
		{"tunnel", ObjectNode, TunnelDown, true},
		{"tunnel", ObjectNode, NodeDead, false},
		{"tunnel", ObjectNode, "", false},
		{"node-dead", ObjectNode, NodeDead, true},
		{"node-dead", ObjectNode, NodeBack, false},
		{"node-dead", ObjectNode, "", false},
	} {
		f, unknown := NewFilter(strings.Fields(tt.kinds))
		if got := f.Takes(tt.object, tt.event); unknown != "" || got != tt.want {
			t.Errorf("%q takes %s %s: %v, unknown %q", tt.kinds, tt.object, tt.event, got, unknown)
		}
	}
	if _, unknown := NewFilter([]string{"node", "moon"}); unknown != "moon" {
		t.Errorf("unknown is %q", unknown)
	}
}

func FuzzRevision(f *testing.F) {
	for _, text := range []string{"0f1e2d3c4b5a6978-42", "0f1e2d3c4b5a6978-0", "0f1e2d3c4b5a6978-18446744073709551615", "0F1e2d3c4b5a6978-1", "0f1e2d3c4b5a6978-01", "0f1e2d3c4b5a6978-+1", "-", "42", "0f1e2d3c4b5a6978"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := ParseRevision(text)
		if err == nil && r.String() != text {
			t.Errorf("%q is read as %q", text, r)
		}
		if err != nil && (!strings.Contains(err.Error(), "want what edgenetd gave") || r != Revision{}) {
			t.Errorf("%q: %v, %v", text, r, err)
		}
	})
}
