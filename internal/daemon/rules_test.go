package daemon_test

import (
	"fmt"
	"sync/atomic"
	"testing"

	"connectrpc.com/connect"

	api "edgenet.dev/edgenet/api/edgenet/v1"
	"edgenet.dev/edgenet/internal/daemon/daemontest"
	"edgenet.dev/edgenet/pkg/isolation"
)

func ingress(ports, peer string) *api.Rule {
	return &api.Rule{Direction: "ingress", Protocol: "tcp", Ports: []string{ports}, Peer: peer}
}

func mustAdd(t *testing.T, n *daemontest.Node, group string, rule *api.Rule) *api.Group {
	t.Helper()
	g, err := n.AddRule(t.Context(), &api.AddRuleRequest{Group: group, Vpc: "blue", Rule: rule})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestEveryVPCHasADefaultGroup(t *testing.T) {
	n, vni := authority(t)
	groups, err := n.ListGroups("blue")
	if err != nil || len(groups) != 1 || groups[0].GetName() != "default" || len(groups[0].GetRules()) > 0 {
		t.Fatalf("the VPC has %v, %v; want an empty default group", groups, err)
	}
	named := attachRequest("named", "10.0.0.6")
	named.Groups = []string{"default"}
	mustAttach(t, n, named)
	if err := n.DetachEndpoint(t.Context(), "named", "blue"); err != nil {
		t.Fatal(err)
	}
	web := mustAttach(t, n, attachRequest("web", "10.0.0.5"))
	if got := fmt.Sprint(web.GetGroups()); got != "[default]" {
		t.Errorf("an endpoint without groups carries %s", got)
	}
	before := n.Kernel.Endpoint(isolation.Key{VNI: vni, Name: "web"}).Ingress
	mustAdd(t, n, "default", ingress("80", "group:default"))
	daemontest.Await(t, "its rules are the endpoint's", func() bool {
		return n.Kernel.Endpoint(isolation.Key{VNI: vni, Name: "web"}).Ingress != before
	})
	wantCode(t, n.DeleteGroup(t.Context(), "default", "blue"), connect.CodeFailedPrecondition, "as long as vpc blue is")
	if g, err := n.CreateGroup(t.Context(), "default", "blue"); err != nil || len(g.GetRules()) != 1 {
		t.Errorf("made again it is %v, %v", g, err)
	}
	if err := n.DetachEndpoint(t.Context(), "web", "blue"); err != nil {
		t.Fatal(err)
	}
	if err := n.DeleteVPC(t.Context(), "blue"); err != nil {
		t.Fatal(err)
	}
	if groups, err := n.ListGroups(""); err != nil || len(groups) > 0 {
		t.Errorf("after its VPC there is %v, %v", groups, err)
	}
}

func TestARuleIsChangedWithoutBecomingAnother(t *testing.T) {
	n, _ := authority(t)
	rule := ingress("80", "any")
	id := mustAdd(t, n, "default", rule).GetRules()[0].GetId()
	yes, no, text := true, false, "for everybody"
	change := func(req *api.UpdateRuleRequest) *api.Rule {
		t.Helper()
		req.Group, req.Vpc, req.Id = "default", "blue", id
		g, err := n.UpdateRule(t.Context(), req)
		if err != nil || len(g.GetRules()) != 1 || g.GetRules()[0].GetId() != id {
			t.Fatalf("got %v, %v, want the rule under its id", g, err)
		}
		return g.GetRules()[0]
	}
	if r := change(&api.UpdateRuleRequest{Disabled: &yes}); !r.GetDisabled() || r.GetDescription() != "" {
		t.Errorf("disabled it is %v", r)
	}
	if r := change(&api.UpdateRuleRequest{Description: &text}); !r.GetDisabled() || r.GetDescription() != text {
		t.Errorf("described it is %v", r)
	}
	if r := change(&api.UpdateRuleRequest{Disabled: &no}); r.GetDisabled() || r.GetDescription() != text {
		t.Errorf("enabled it is %v", r)
	}
	// Adding it again says how it shall be.
	rule.Disabled = true
	if g := mustAdd(t, n, "default", rule); len(g.GetRules()) != 1 || !g.GetRules()[0].GetDisabled() || g.GetRules()[0].GetDescription() != "" {
		t.Errorf("added again there is %v", g)
	}
	long := string(make([]byte, 300))
	_, err := n.UpdateRule(t.Context(), &api.UpdateRuleRequest{Group: "default", Vpc: "blue", Id: id, Description: &long})
	wantCode(t, err, connect.CodeInvalidArgument, "300 bytes")
	_, err = n.UpdateRule(t.Context(), &api.UpdateRuleRequest{Group: "default", Vpc: "blue", Id: "0123"})
	wantCode(t, err, connect.CodeNotFound, "no rule 0123")
}

func TestAllOfARuleComesBack(t *testing.T) {
	n, _ := authority(t)
	priority := uint32(0)
	want := &api.Rule{
		Direction: "egress", Action: "deny", Priority: &priority, Protocol: "icmp", Icmp: "3/4",
		Peer: "10.0.0.0/8", Except: []string{"10.1.0.0/16", "10.2.0.3/32"}, Description: "the lab", Disabled: true,
	}
	mustAdd(t, n, "default", want)
	n.Stop()
	n.Start()
	g, err := n.GetGroup("default", "blue")
	if err != nil || len(g.GetRules()) != 1 {
		t.Fatalf("got %v, %v", g, err)
	}
	want.Id = g.GetRules()[0].GetId()
	if got := g.GetRules()[0]; got.String() != want.String() {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

func TestGroupsAreReplacedTogether(t *testing.T) {
	n, vni := authority(t)
	for _, name := range []string{"web", "db"} {
		if _, err := n.CreateGroup(t.Context(), name, "blue"); err != nil {
			t.Fatal(err)
		}
		mustAdd(t, n, name, ingress("1", "any"))
		mustAttach(t, n, attachRequest(name, map[string]string{"web": "10.0.0.5", "db": "10.0.0.6"}[name], name))
	}
	old := n.Kernel.Rules()
	if len(old) != 2 {
		t.Fatalf("in force are %v", old)
	}
	var mixed atomic.Bool
	n.Kernel.During(func(isolation.State) {
		now := n.Kernel.Rules()
		if len(now) > 0 && len(now) < 4 && fmt.Sprint(now) != fmt.Sprint(old) {
			mixed.Store(true)
		}
	})
	request := &api.ReplaceGroupsRequest{Vpc: "blue", Groups: []*api.GroupRules{
		{Name: "web", Rules: []*api.Rule{ingress("80", "any"), ingress("443", "group:db")}},
		{Name: "db", Rules: []*api.Rule{ingress("5432", "group:web"), ingress("22", "10.0.0.0/8")}},
	}}
	groups, err := n.ReplaceGroups(t.Context(), request)
	if err != nil || len(groups) != 2 || groups[0].GetName() != "db" || len(groups[0].GetRules()) != 2 {
		t.Fatalf("got %v, %v", groups, err)
	}
	daemontest.Await(t, "the new rules are in force", func() bool { return len(n.Kernel.Rules()) == 4 })
	if mixed.Load() {
		t.Errorf("there was a moment with rules of both sets, VNI %d", vni)
	}
	for want, bad := range map[string]*api.ReplaceGroupsRequest{
		"no group is named":       {Vpc: "blue"},
		`group "web" is there`:    {Vpc: "blue", Groups: []*api.GroupRules{{Name: "web"}, {Name: "web"}}},
		"rule 2: parse direction": {Vpc: "blue", Groups: []*api.GroupRules{{Name: "web", Rules: []*api.Rule{ingress("80", "any"), {}}}}},
		"is there twice":          {Vpc: "blue", Groups: []*api.GroupRules{{Name: "web", Rules: []*api.Rule{ingress("80", "any"), ingress("80", "any")}}}},
	} {
		_, err := n.ReplaceGroups(t.Context(), bad)
		wantCode(t, err, connect.CodeInvalidArgument, want)
	}
	for want, bad := range map[string]*api.ReplaceGroupsRequest{
		`vpc "red"`:    {Vpc: "red", Groups: []*api.GroupRules{{Name: "web"}}},
		`group "moon"`: {Vpc: "blue", Groups: []*api.GroupRules{{Name: "web"}, {Name: "moon"}}},
		`group "sun"`:  {Vpc: "blue", Groups: []*api.GroupRules{{Name: "web", Rules: []*api.Rule{ingress("1", "group:sun")}}}},
	} {
		_, err := n.ReplaceGroups(t.Context(), bad)
		wantCode(t, err, connect.CodeNotFound, want)
	}
	if now := n.Kernel.Rules(); len(now) != 4 {
		t.Errorf("refused changes left %v", now)
	}
}

func TestAVPCHasABoundOfRules(t *testing.T) {
	n, _ := authority(t)
	rules := make([]*api.Rule, 10_000)
	for i := range rules {
		rules[i] = ingress(fmt.Sprint(1+i), "any")
	}
	_, err := n.ReplaceGroups(t.Context(), &api.ReplaceGroupsRequest{Vpc: "blue", Groups: []*api.GroupRules{{Name: "default", Rules: rules}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.CreateGroup(t.Context(), "web", "blue"); err != nil {
		t.Fatal(err)
	}
	_, err = n.AddRule(t.Context(), &api.AddRuleRequest{Group: "web", Vpc: "blue", Rule: ingress("80", "any")})
	wantCode(t, err, connect.CodeFailedPrecondition, "would have 10001 rules; at most 10000")
	for _, r := range rules {
		r.Description = fmt.Sprintf("%0200d", 1)
	}
	_, err = n.ReplaceGroups(t.Context(), &api.ReplaceGroupsRequest{Vpc: "blue", Groups: []*api.GroupRules{{Name: "default", Rules: rules}}})
	wantCode(t, err, connect.CodeFailedPrecondition, "bytes; at most")
}
