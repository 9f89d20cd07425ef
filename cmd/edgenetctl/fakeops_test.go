package main

import (
	"context"
	"errors"
	"strings"
	"time"

	"connectrpc.com/connect"

	edgenetv1 "edgenet.dev/edgenet/api/edgenet/v1"
)

func (f *fake) AddTest(_ context.Context, r *edgenetv1.AddTestRequest) (*edgenetv1.AddTestResponse, error) {
	test := &edgenetv1.PolicyTest{Vpc: r.GetVpc(), Assertion: r.GetAssertion(), State: "holds"}
	if strings.HasPrefix(r.GetAssertion(), "ghost") {
		test.State, test.Why = "undecided", "there is no ghost"
	}
	return &edgenetv1.AddTestResponse{Test: test}, f.ask(r)
}

func (f *fake) RemoveTest(_ context.Context, r *edgenetv1.RemoveTestRequest) (*edgenetv1.RemoveTestResponse, error) {
	return &edgenetv1.RemoveTestResponse{}, f.ask(r)
}

func (f *fake) ListTests(_ context.Context, r *edgenetv1.ListTestsRequest) (*edgenetv1.ListTestsResponse, error) {
	tests := []*edgenetv1.PolicyTest{{Vpc: "blue", Assertion: "web-1 reaches db-1:5432", Created: ago(time.Hour)}}
	return &edgenetv1.ListTestsResponse{Tests: tests}, f.ask(r)
}

func (f *fake) RunTests(_ context.Context, r *edgenetv1.RunTestsRequest) (*edgenetv1.RunTestsResponse, error) {
	return &edgenetv1.RunTestsResponse{Tests: f.tests}, f.ask(r)
}

func (f *fake) DiffGroups(_ context.Context, r *edgenetv1.DiffGroupsRequest) (*edgenetv1.DiffGroupsResponse, error) {
	return f.diff, f.ask(r)
}

func (f *fake) ApplyShadow(_ context.Context, r *edgenetv1.ApplyShadowRequest) (*edgenetv1.ApplyShadowResponse, error) {
	return &edgenetv1.ApplyShadowResponse{Created: ago(0)}, f.ask(r)
}

func (f *fake) GetShadow(_ context.Context, r *edgenetv1.GetShadowRequest) (*edgenetv1.GetShadowResponse, error) {
	return &edgenetv1.GetShadowResponse{
		Groups: []*edgenetv1.Group{{Name: "db", Vpc: "blue"}}, Created: ago(2 * time.Hour),
		Nodes: []string{"cloud-1", "edge-1"}, Missing: map[string]string{"edge-2": "it did not answer within 3s"},
		Rules: []*edgenetv1.RuleCount{
			{Group: "db", Rule: ingressRule("000000000001", "allow", "10.0.0.0/24"), Hits: 12, WouldDrop: 3},
			{Group: "db", Rule: ingressRule("000000000002", "deny", "10.0.0.7/32"), Candidate: true, WouldDrop: 3},
		},
		Endpoints: []*edgenetv1.EndpointCount{{Endpoint: "db-1", Node: "edge-1", WouldAllow: 1, WouldDrop: 3}},
		Samples: []*edgenetv1.ShadowSample{{
			Time: ago(time.Minute), Endpoint: "db-1", Node: "edge-1", Direction: "ingress", Source: "10.0.0.7", Destination: "10.0.0.8",
			Protocol: "tcp", SourcePort: 40000, Port: 5432, Effect: "would-drop", Rule: "db/000000000001", CandidateRule: "db/000000000002",
		}},
	}, f.ask(r)
}

func ingressRule(id, action, peer string) *edgenetv1.Rule {
	return &edgenetv1.Rule{Id: id, Direction: "ingress", Action: action, Priority: number(1000), Protocol: "tcp", Ports: []string{"5432"}, Peer: peer}
}

func (f *fake) PromoteShadow(_ context.Context, r *edgenetv1.PromoteShadowRequest) (*edgenetv1.PromoteShadowResponse, error) {
	return &edgenetv1.PromoteShadowResponse{Groups: f.groups[:1]}, f.ask(r)
}

func (f *fake) DropShadow(_ context.Context, r *edgenetv1.DropShadowRequest) (*edgenetv1.DropShadowResponse, error) {
	return &edgenetv1.DropShadowResponse{}, f.ask(r)
}

func (f *fake) ListAudit(_ context.Context, r *edgenetv1.ListAuditRequest) (*edgenetv1.ListAuditResponse, error) {
	return &edgenetv1.ListAuditResponse{Entries: []*edgenetv1.AuditEntry{
		{
			Time: ago(0), Who: "uid 0, pid 4711 on this host", Vpc: "blue", What: "remove rule 000000000001 from group db",
			Broken: []*edgenetv1.PolicyTest{{Assertion: "web-1 reaches db-1:5432"}, {Assertion: "nobody reaches db-1:22"}},
		},
		{Time: ago(0), Who: "node edge-1 (bb00)", Vpc: "blue", What: "change rule x", Failed: "disk is full"},
	}}, f.ask(r)
}

func (f *fake) Trace(_ context.Context, r *edgenetv1.TraceRequest) (*edgenetv1.TraceResponse, error) {
	allow := func(by, why string) *edgenetv1.Decision { return &edgenetv1.Decision{Passes: true, By: by, Why: why} }
	return &edgenetv1.TraceResponse{
		Verdict: "dropped", Reason: "no-ingress-rule",
		Packet: &edgenetv1.TracedPacket{Source: "10.0.0.7", Destination: "10.0.0.8", Protocol: "tcp", SourcePort: 49152, Port: 5432},
		Route:  &edgenetv1.Route{Kind: "node", Node: "edge-1", Tunnel: "up"},
		Source: &edgenetv1.TraceSide{
			Endpoint: "web-1", Address: "10.0.0.7", Node: "cloud-1", Direction: "egress",
			Records: allow("rules", "it has no egress rule"), Program: allow("flow", "a known flow carries it"),
		},
		Destination: &edgenetv1.TraceSide{
			Endpoint: "db-1", Address: "10.0.0.8", Node: "edge-1", Direction: "ingress",
			Records: &edgenetv1.Decision{Why: "no rule permits it"}, Missing: "node edge-1 is away",
		},
		Problems: []string{"ingress of db-1: node edge-1 is away"},
	}, f.ask(r)
}

func (f *fake) ListFlows(_ context.Context, r *edgenetv1.ListFlowsRequest, stream *connect.ServerStream[edgenetv1.ListFlowsResponse]) error {
	if err := f.ask(r); err != nil {
		return err
	}
	return errors.Join(
		stream.Send(&edgenetv1.ListFlowsResponse{Flows: []*edgenetv1.Flow{{
			Vpc: "blue", Endpoint: "web-1", Protocol: "tcp", Local: "10.0.0.7", LocalPort: 40000, Remote: "10.0.0.8", RemotePort: 5432,
			State: "tcp-established", Origin: "egress", IdleSeconds: 3.2, ExpiresSeconds: 7496.8,
		}}}),
		stream.Send(&edgenetv1.ListFlowsResponse{Flows: []*edgenetv1.Flow{{
			Vpc: "blue", Endpoint: "web-1", Protocol: "47", Local: "fd00::7", Remote: "fd00::8",
			State: "other-replied", Origin: "ingress", IdleSeconds: 90, ExpiresSeconds: 510, Group: "web", Rule: "000000000001",
		}}}),
	)
}

func (f *fake) FlushFlows(_ context.Context, r *edgenetv1.FlushFlowsRequest) (*edgenetv1.FlushFlowsResponse, error) {
	return &edgenetv1.FlushFlowsResponse{Flushed: 3}, f.ask(r)
}

func (f *fake) WatchDrops(ctx context.Context, r *edgenetv1.WatchDropsRequest, stream *connect.ServerStream[edgenetv1.WatchDropsResponse]) error {
	if err := f.ask(r); err != nil {
		return err
	}
	drop := &edgenetv1.Drop{
		Time: ago(0), Reason: "no-ingress-rule", Vpc: "blue", Endpoint: "db-1", Direction: "ingress",
		Source: "10.0.0.7", Destination: "10.0.0.8", Protocol: "tcp", SourcePort: 40000, Port: 22, Length: 74,
	}
	err := errors.Join(
		stream.Send(&edgenetv1.WatchDropsResponse{}),
		stream.Send(&edgenetv1.WatchDropsResponse{Drop: drop}),
		stream.Send(&edgenetv1.WatchDropsResponse{LeftOut: 41}),
		stream.Send(&edgenetv1.WatchDropsResponse{Drop: &edgenetv1.Drop{Time: ago(0), Reason: "malformed", Length: 20}, LeftOut: 1}),
	)
	if f.hold {
		<-ctx.Done()
	}
	return err
}

// differing is a fake that has something to compare.
func differing() *fake {
	f := mesh()
	f.diff = &edgenetv1.DiffGroupsResponse{
		Rules: []*edgenetv1.RuleChange{
			{Group: "web", Change: "removed", Before: ingressRule("000000000001", "allow", "any")},
			{Group: "web", Change: "added", After: ingressRule("000000000002", "deny", "10.0.0.0/8")},
		},
		Allowed: 0, Dropped: 2,
		Samples: []*edgenetv1.FlowChange{{
			Source: "10.0.0.7", SourceEndpoint: "web-1", Destination: "10.0.0.8", Protocol: "tcp", Port: 5432,
			Before: "allowed", After: "dropped", BeforeWhy: "a rule", AfterWhy: "no rule permits it",
		}},
		Broken: []*edgenetv1.PolicyTest{{Assertion: "web-1 reaches db-1:5432", Why: "no rule permits it"}},
	}
	return f
}
