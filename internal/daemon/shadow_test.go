package daemon_test

import (
	"fmt"
	"strings"
	"testing"

	"connectrpc.com/connect"

	api "edgenet.dev/edgenet/api/edgenet/v1"
	"edgenet.dev/edgenet/internal/daemon/daemontest"
	"edgenet.dev/edgenet/pkg/isolation"
)

// candidate is db's rules without that for web.
func candidate(rules ...*api.Rule) *api.ApplyShadowRequest {
	return &api.ApplyShadowRequest{Vpc: "blue", Groups: []*api.GroupRules{{Name: "db", Rules: rules}}}
}

// db1 is guarded's db-1 as it is in force.
func db1(n *daemontest.Node) isolation.Endpoint {
	for _, key := range n.Kernel.Endpoints() {
		if key.Name == "db-1" {
			return n.Kernel.Endpoint(key)
		}
	}
	return isolation.Endpoint{}
}

func TestACandidateRunsBesideWhatIsInForce(t *testing.T) {
	n := guarded(t)
	before := db1(n)
	if before.ShadowIngress != 0 {
		t.Fatalf("without a candidate there is %v", before)
	}
	if _, err := n.ApplyShadow(t.Context(), candidate(ingress("80", "any"))); err != nil {
		t.Fatal(err)
	}
	daemontest.Await(t, "the candidate is asked", func() bool { return db1(n).ShadowIngress != 0 })
	if now := db1(n); now.Ingress != before.Ingress || now.Egress != before.Egress {
		t.Errorf("in force is %v, was %v", now, before)
	}
	if err := n.DropShadow(t.Context(), "blue"); err != nil {
		t.Fatal(err)
	}
	daemontest.Await(t, "the candidate is gone", func() bool { return db1(n).ShadowIngress == 0 })
	wantCode(t, n.DropShadow(t.Context(), "blue"), connect.CodeNotFound, "drop shadow: vpc blue has no candidate rules")
	_, err := n.PromoteShadow(t.Context(), &api.PromoteShadowRequest{Vpc: "blue"})
	wantCode(t, err, connect.CodeNotFound, "promote shadow: vpc blue has no candidate rules")
	_, err = n.GetShadow(t.Context(), "blue")
	wantCode(t, err, connect.CodeNotFound, "show shadow: vpc blue has no candidate rules")
}

func TestACandidateIsPromoted(t *testing.T) {
	n := guarded(t)
	before := rulesOf(t, n, "db")
	if _, err := n.ApplyShadow(t.Context(), candidate(ingress("80", "any"))); err != nil {
		t.Fatal(err)
	}
	if got := rulesOf(t, n, "db"); got != before {
		t.Errorf("with a candidate, the rules are %s", got)
	}
	_, err := n.PromoteShadow(t.Context(), &api.PromoteShadowRequest{Vpc: "blue"})
	wantCode(t, err, connect.CodeFailedPrecondition, `policy test "web-1 reaches db-1:5432"`)
	if _, err := n.GetShadow(t.Context(), "blue"); err != nil || rulesOf(t, n, "db") != before {
		t.Errorf("what was refused has left %v, %s", err, rulesOf(t, n, "db"))
	}
	groups, err := n.PromoteShadow(t.Context(), &api.PromoteShadowRequest{Vpc: "blue", Force: true})
	if err != nil || len(groups) != 1 || rulesOf(t, n, "db") != "tcp80any" {
		t.Errorf("promoted is %v, %v", groups, err)
	}
	_, err = n.GetShadow(t.Context(), "blue")
	wantCode(t, err, connect.CodeNotFound, "no candidate")
	if entries, err := n.ListAudit(); err != nil || len(entries) != 1 {
		t.Errorf("noted are %v, %v", entries, err)
	}
}

func TestACandidateMustBePossible(t *testing.T) {
	n := guarded(t)
	_, err := n.ApplyShadow(t.Context(), candidate(ingress("80", "group:nobody")))
	wantCode(t, err, connect.CodeNotFound, `group "nobody"`)
	_, err = n.ApplyShadow(t.Context(), &api.ApplyShadowRequest{Vpc: "blue", Groups: []*api.GroupRules{{Name: "x"}}})
	wantCode(t, err, connect.CodeNotFound, `group "x"`)
	_, err = n.ApplyShadow(t.Context(), &api.ApplyShadowRequest{Vpc: "blue"})
	wantCode(t, err, connect.CodeInvalidArgument, "no group")
	_, err = n.ApplyShadow(t.Context(), candidate(ingress("x", "any")))
	wantCode(t, err, connect.CodeInvalidArgument, "rule 1")
}

// What was counted before the candidate came is not its doing.
func TestACandidateCountsFromItsBeginning(t *testing.T) {
	n := guarded(t)
	db, err := n.GetGroup("db", "blue")
	if err != nil {
		t.Fatal(err)
	}
	vni := db1(n).VNI
	live := isolation.Rule{VNI: vni, Group: "db", ID: db.GetRules()[0].GetId()}
	key := isolation.Key{VNI: vni, Name: "db-1"}
	count := func(live isolation.Rule, hits, drops uint64) {
		n.Kernel.Count(
			map[isolation.Rule]isolation.Hits{live: {Flows: hits, ShadowDrops: drops}},
			map[isolation.Key]isolation.Counters{key: {ShadowDrops: drops}},
		)
	}
	count(live, 100, 7)
	if _, err := n.ApplyShadow(t.Context(), candidate(ingress("80", "any"))); err != nil {
		t.Fatal(err)
	}
	var got *api.GetShadowResponse
	read := func() string {
		var err error
		if got, err = n.GetShadow(t.Context(), "blue"); err != nil {
			t.Fatal(err)
		}
		words := fmt.Sprint(got.GetNodes(), len(got.GetMissing()))
		for _, r := range got.GetRules() {
			words += fmt.Sprintf(" %v:%d,%d", r.GetCandidate(), r.GetHits(), r.GetWouldDrop())
		}
		for _, e := range got.GetEndpoints() {
			words += fmt.Sprintf(" %s:%d", e.GetEndpoint(), e.GetWouldDrop())
		}
		return words
	}
	daemontest.Await(t, "counting has begun", func() bool { return len(n.Kernel.Endpoints()) == 2 && strings.HasPrefix(read(), "[cloud-1] 0") })
	inOrder := func(a, b string) string { // by the rules' ids
		if got.GetRules()[0].GetCandidate() {
			return b + " " + a
		}
		return a + " " + b
	}
	if words := read(); words != "[cloud-1] 0 "+inOrder("false:0,0", "true:0,0") {
		t.Errorf("at first there is %s", words)
	}
	count(live, 130, 9)
	const later = " db-1:2"
	if words := read(); words != "[cloud-1] 0 "+inOrder("false:30,2", "true:0,0")+later {
		t.Errorf("later there is %s", words)
	}
	// A restart of the daemon goes on with it.
	n.Stop()
	n.Start()
	daemontest.Await(t, "counting goes on", func() bool { return strings.HasPrefix(read(), "[cloud-1] 0") })
	if words := read(); words != "[cloud-1] 0 "+inOrder("false:30,2", "true:0,0")+later {
		t.Errorf("after a restart there is %s", words)
	}
	// Counters that have begun anew are taken as they are.
	count(live, 3, 1)
	if words := read(); words != "[cloud-1] 0 "+inOrder("false:3,1", "true:0,0")+" db-1:1" {
		t.Errorf("after a new beginning there is %s", words)
	}
}
