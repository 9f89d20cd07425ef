package daemon_test

import (
	"strings"
	"testing"

	"connectrpc.com/connect"

	api "edgenet.dev/edgenet/api/edgenet/v1"
	"edgenet.dev/edgenet/internal/daemon/daemontest"
)

// guarded is an authority with web-1 (group web) that reaches db-1 (group db) at
// port 5432, and a test that says so.
func guarded(t *testing.T) *daemontest.Node {
	t.Helper()
	n, _ := authority(t)
	for _, group := range []string{"web", "db"} {
		if _, err := n.CreateGroup(t.Context(), group, "blue"); err != nil {
			t.Fatal(err)
		}
	}
	mustAdd(t, n, "db", ingress("5432", "group:web"))
	mustAttach(t, n, attachRequest("web-1", "10.0.0.5", "web"))
	mustAttach(t, n, attachRequest("db-1", "10.0.0.6", "db"))
	mustTest(t, n, "web-1 reaches db-1:5432")
	return n
}

func mustTest(t *testing.T, n *daemontest.Node, assertion string) *api.PolicyTest {
	t.Helper()
	added, err := n.AddTest(t.Context(), &api.AddTestRequest{Vpc: "blue", Assertion: assertion})
	if err != nil {
		t.Fatal(err)
	}
	return added
}

// states are the states of blue's tests, in order.
func states(t *testing.T, n *daemontest.Node) string {
	t.Helper()
	tests, err := n.RunTests("blue")
	if err != nil {
		t.Fatal(err)
	}
	var words []string
	for _, test := range tests {
		words = append(words, test.GetState())
	}
	return strings.Join(words, " ")
}

func rulesOf(t *testing.T, n *daemontest.Node, group string) string {
	t.Helper()
	g, err := n.GetGroup(group, "blue")
	if err != nil {
		t.Fatal(err)
	}
	var words []string
	for _, r := range g.GetRules() {
		words = append(words, r.GetProtocol()+strings.Join(r.GetPorts(), ",")+r.GetPeer())
	}
	return strings.Join(words, " ")
}

func TestAChangeThatBreaksATestChangesNothing(t *testing.T) {
	n := guarded(t)
	before := rulesOf(t, n, "db")
	g, err := n.GetGroup("db", "blue")
	if err != nil {
		t.Fatal(err)
	}
	disabled := true
	const want = `policy test "web-1 reaches db-1:5432"`
	_, err = n.RemoveRule(t.Context(), &api.RemoveRuleRequest{Group: "db", Vpc: "blue", Rule: &api.Rule{Id: g.GetRules()[0].GetId()}})
	wantCode(t, err, connect.CodeFailedPrecondition, want)
	_, err = n.UpdateRule(t.Context(), &api.UpdateRuleRequest{Group: "db", Vpc: "blue", Id: g.GetRules()[0].GetId(), Disabled: &disabled})
	wantCode(t, err, connect.CodeFailedPrecondition, want)
	deny := &api.Rule{Direction: "egress", Action: "deny", Protocol: "tcp", Peer: "10.0.0.6"}
	_, err = n.AddRule(t.Context(), &api.AddRuleRequest{Group: "web", Vpc: "blue", Rule: deny})
	wantCode(t, err, connect.CodeFailedPrecondition, "10.0.0.5 -> 10.0.0.6 port 5432")
	_, err = n.ReplaceGroups(t.Context(), &api.ReplaceGroupsRequest{Vpc: "blue", Groups: []*api.GroupRules{{Name: "db"}}})
	wantCode(t, err, connect.CodeFailedPrecondition, want)
	if got := rulesOf(t, n, "db") + rulesOf(t, n, "web"); got != before || states(t, n) != "holds" {
		t.Errorf("after refused changes the rules are %q, were %q; the test %s", got, before, states(t, n))
	}
	if entries, err := n.ListAudit(); err != nil || len(entries) > 0 {
		t.Errorf("what is refused is no matter of audit: %v, %v", entries, err)
	}
	// What breaks nothing is nobody's business.
	mustAdd(t, n, "db", ingress("80", "any"))
}

func TestAForcedChangeIsAudited(t *testing.T) {
	n := guarded(t)
	remove := &api.ReplaceGroupsRequest{Vpc: "blue", Groups: []*api.GroupRules{{Name: "db"}}, Force: true}
	if _, err := n.ReplaceGroups(t.Context(), remove); err != nil {
		t.Fatal(err)
	}
	if got := states(t, n); got != "broken" {
		t.Errorf("the test is %s", got)
	}
	entries, err := n.ListAudit()
	if err != nil || len(entries) != 1 {
		t.Fatalf("noted are %v, %v", entries, err)
	}
	e := entries[0]
	if e.GetVpc() != "blue" || e.GetWhat() != "replace the rules of db" || e.GetWho() == "" || e.GetFailed() != "" ||
		len(e.GetBroken()) != 1 || !strings.Contains(e.GetBroken()[0].GetWhy(), "10.0.0.6 port 5432") {
		t.Errorf("noted is %v", e)
	}
	// A test that is broken already keeps nobody from other changes, and is told of.
	mustAdd(t, n, "db", ingress("80", "any"))
	problems := strings.Join(n.Status().GetProblems(), "\n")
	if !strings.Contains(problems, `policy test "web-1 reaches db-1:5432" of vpc blue is broken`) {
		t.Errorf("the problems are %s", problems)
	}
	mustAdd(t, n, "db", ingress("5432", "group:web"))
	if problems := n.Status().GetProblems(); len(problems) > 0 || states(t, n) != "holds" {
		t.Errorf("mended, the problems are %v", problems)
	}
}

func TestATestBrokenByAnAttachIsTold(t *testing.T) {
	n := guarded(t)
	mustTest(t, n, "anybody cannot reach db-1:1-5431")
	mustAttach(t, n, attachRequest("dev-1", "10.0.0.7", "web"))
	if got := states(t, n); got != "holds holds" {
		t.Errorf("the tests are %s", got)
	}
	if added := mustTest(t, n, "dev-2 reaches db-1:5432"); added.GetState() != "undecided" || !strings.Contains(added.GetWhy(), "from dev-2 to db-1") {
		t.Errorf("of an endpoint that is not there, added is %v", added)
	}
	if got := states(t, n); got != "holds holds undecided" {
		t.Errorf("without an endpoint, the tests are %s", got)
	}
	mustAttach(t, n, attachRequest("dev-2", "10.0.0.8"))
	if got := states(t, n); got != "holds holds broken" {
		t.Errorf("with one outside of the group, the tests are %s", got)
	}
	if problems := strings.Join(n.Status().GetProblems(), "\n"); !strings.Contains(problems, "dev-2 reaches db-1:5432") {
		t.Errorf("the problems are %s", problems)
	}
}

func TestTestsAreKeptOnceAndRemoved(t *testing.T) {
	n := guarded(t)
	if again := mustTest(t, n, "  web-1   reaches db-1:tcp/5432 "); again.GetState() != "holds" || again.GetWhy() != "" {
		t.Errorf("the same again is %v", again)
	}
	if tests, err := n.ListTests(""); err != nil || len(tests) != 1 || tests[0].GetVpc() != "blue" || tests[0].GetState() != "" {
		t.Errorf("the same again gives %v, %v", tests, err)
	}
	_, err := n.AddTest(t.Context(), &api.AddTestRequest{Vpc: "blue", Assertion: "nobody reaches db-1:5432"})
	wantCode(t, err, connect.CodeFailedPrecondition, `policy test "nobody reaches db-1:5432": it does not hold: tcp 10.0.0.5 -> 10.0.0.6 port 5432`)
	if _, err := n.AddTest(t.Context(), &api.AddTestRequest{Vpc: "blue", Assertion: "nobody reaches db-1:5432", Force: true}); err != nil {
		t.Errorf("forced: %v", err)
	}
	if entries, err := n.ListAudit(); err != nil || len(entries) != 1 || !strings.Contains(entries[0].GetWhat(), "add policy test") {
		t.Errorf("noted are %v, %v", entries, err)
	}
	_, err = n.AddTest(t.Context(), &api.AddTestRequest{Vpc: "blue", Assertion: "nonsense"})
	wantCode(t, err, connect.CodeInvalidArgument, "nonsense")
	_, err = n.AddTest(t.Context(), &api.AddTestRequest{Vpc: "red", Assertion: "a reaches b:1"})
	wantCode(t, err, connect.CodeNotFound, "red")
	remove := &api.RemoveTestRequest{Vpc: "blue", Assertion: "web-1 reaches db-1:5432"}
	if err := n.RemoveTest(t.Context(), remove); err != nil {
		t.Error(err)
	}
	if entries, err := n.ListAudit(); err != nil || len(entries) != 2 || entries[1].GetWho() == "" || entries[1].GetVpc() != "blue" ||
		entries[1].GetWhat() != `remove policy test "web-1 reaches db-1:5432"` || len(entries[1].GetBroken()) > 0 {
		t.Errorf("noted are %v, %v", entries, err)
	}
	wantCode(t, n.RemoveTest(t.Context(), remove), connect.CodeNotFound, "has no test")
	if got := states(t, n); got != "broken" {
		t.Errorf("what is left is %s", got)
	}
}

func TestADifferenceIsToldAndNotMade(t *testing.T) {
	n := guarded(t)
	before := rulesOf(t, n, "db")
	diff, err := n.DiffGroups(&api.DiffGroupsRequest{Vpc: "blue", Groups: []*api.GroupRules{{Name: "db", Rules: []*api.Rule{ingress("80", "any")}}}})
	if err != nil {
		t.Fatal(err)
	}
	var changes []string
	for _, c := range diff.GetRules() {
		changes = append(changes, c.GetChange())
	}
	if len(changes) != 2 || diff.GetAllowed() == 0 || diff.GetDropped() == 0 || len(diff.GetSamples()) == 0 || len(diff.GetBroken()) != 1 {
		t.Errorf("got %v", diff)
	}
	for _, f := range diff.GetSamples() {
		if f.GetPort() == 5432 && (f.GetSourceEndpoint() != "web-1" || f.GetBefore() != "allowed" || f.GetAfter() != "dropped" || f.GetAfterWhy() == "") {
			t.Errorf("a sample is %v", f)
		}
	}
	if got := rulesOf(t, n, "db"); got != before {
		t.Errorf("the rules are %s, were %s", got, before)
	}
	diff, err = n.DiffGroups(&api.DiffGroupsRequest{Vpc: "blue", Groups: []*api.GroupRules{{Name: "db", Rules: []*api.Rule{ingress("5432", "group:web")}}}})
	if err != nil || len(diff.GetRules())+len(diff.GetSamples()) > 0 {
		t.Errorf("of the same, got %v, %v", diff, err)
	}
	_, err = n.DiffGroups(&api.DiffGroupsRequest{Vpc: "blue", Groups: []*api.GroupRules{{Name: "x"}}})
	wantCode(t, err, connect.CodeNotFound, `group "x"`)
}
