package main

import (
	"context"
	"time"

	edgenetv1 "edgenet.dev/edgenet/api/edgenet/v1"
)

func (f *fake) AddTest(_ context.Context, r *edgenetv1.AddTestRequest) (*edgenetv1.AddTestResponse, error) {
	return &edgenetv1.AddTestResponse{Test: &edgenetv1.PolicyTest{Vpc: r.GetVpc(), Assertion: r.GetAssertion()}}, f.ask(r)
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

func ingressRule(id, action, peer string) *edgenetv1.Rule {
	return &edgenetv1.Rule{Id: id, Direction: "ingress", Action: action, Priority: number(1000), Protocol: "tcp", Ports: []string{"5432"}, Peer: peer}
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
