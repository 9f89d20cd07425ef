package main

import (
	"encoding/json"
	"strings"
	"testing"

	edgenetv1 "edgenet.dev/edgenet/api/edgenet/v1"
)

// What operators ask of edgenetd, and what they are told.
func TestOperatorsCommands(t *testing.T) {
	tests := []struct{ args, request, want string }{
		{
			"policy test add web-1 reaches db-1:5432 --vpc blue --force",
			`AddTest {"vpc":"blue","assertion":"web-1reachesdb-1:5432","force":true}`,
			"policy test of VPC blue added: web-1 reaches db-1:5432\n",
		},
		{
			"policy test remove web-1 reaches db-1:5432 --vpc blue",
			`RemoveTest {"vpc":"blue","assertion":"web-1reachesdb-1:5432"}`,
			"policy test of VPC blue removed: web-1 reaches db-1:5432\n",
		},
		{"policy test list --vpc blue", `ListTests {"vpc":"blue"}`, `
VPC   ASSERTION                CREATED
blue  web-1 reaches db-1:5432  1h ago
`},
		{"policy test run", `RunTests {}`, "no policy tests\n"},
		{"audit list", `ListAudit {}`, `
TIME                  WHO                           VPC   WHAT                                    BROKE
2026-05-04T12:00:00Z  uid 0, pid 4711 on this host  blue  remove rule 000000000001 from group db  web-1 reaches db-1:5432; nobody reaches db-1:22
2026-05-04T12:00:00Z  node edge-1 (bb00)            blue  change rule x (failed: disk is full)    -
`},
	}
	for _, tt := range tests {
		t.Run(tt.args, func(t *testing.T) {
			f := mesh()
			got := tool(t.Context(), f.serve(t), "", strings.Fields(tt.args)...)
			if want := strings.TrimPrefix(tt.want, "\n"); got != (result{stdout: want}) {
				t.Errorf("got %d, stderr %q, stdout\n%s\nwant\n%s", got.code, got.stderr, got.stdout, want)
			}
			if len(f.requests) != 1 || f.requests[0] != tt.request {
				t.Errorf("asked %v\nwant  %s", f.requests, tt.request)
			}
		})
	}
}

func TestADifferenceHasItsExitCode(t *testing.T) {
	f := differing()
	args := []string{"group", "diff", "web", "--vpc", "blue", "-f", "-"}
	got := tool(t.Context(), f.serve(t), "["+oneRule+"}]", args...)
	const want = `- web: 000000000001 ingress allow priority 1000 tcp 5432 from any
+ web: 000000000002 ingress deny priority 1000 tcp 5432 from 10.0.0.0/8

Flows that would pass, and do not: none
Flows that would be dropped, and pass: 2 kinds

FROM              TO        FLOW      NOW      THEN     BECAUSE
web-1 (10.0.0.7)  10.0.0.8  tcp/5432  allowed  dropped  no rule permits it

Would break the policy test "web-1 reaches db-1:5432": no rule permits it
`
	if got != (result{stdout: want, code: exitDifferent}) {
		t.Errorf("got %d, stderr %q, stdout\n%s\nwant\n%s", got.code, got.stderr, got.stdout, want)
	}
	if request := `DiffGroups {"vpc":"blue","groups":[` + webRule + "]}"; f.requests[0] != request {
		t.Errorf("asked %v\nwant  %s", f.requests, request)
	}
	f = mesh()
	f.diff = &edgenetv1.DiffGroupsResponse{}
	if got := tool(t.Context(), f.serve(t), "[]", args...); got != (result{stdout: "no differences\n"}) {
		t.Errorf("without a difference: %+v", got)
	}
}

func TestABrokenTestIsAnError(t *testing.T) {
	f := mesh()
	f.tests = []*edgenetv1.PolicyTest{
		{Vpc: "blue", Assertion: "a reaches b:1", State: "holds"},
		{Vpc: "blue", Assertion: "nobody reaches b:2", State: "broken", Why: "c does"},
	}
	got := tool(t.Context(), f.serve(t), "", "policy", "test", "run", "--vpc", "blue")
	const want = "VPC   STATE   ASSERTION           WHY\nblue  holds   a reaches b:1       -\nblue  broken  nobody reaches b:2  c does\n"
	if got != (result{stdout: want, stderr: "edgenetctl: 1 of 2 policy tests are broken\n", code: exitError}) {
		t.Errorf("got %+v", got)
	}
	got = tool(t.Context(), f.serve(t), "", "policy", "test", "run", "--vpc", "blue", "-o", "json")
	var tests []struct{ Assertion, State, Why string }
	if err := json.Unmarshal([]byte(got.stdout), &tests); err != nil || len(tests) != 2 || tests[1].State != "broken" || got.code != exitError {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestWrongUseOfOperatorsCommands(t *testing.T) {
	for args, want := range map[string]string{
		"policy test add --vpc blue":          "ASSERTION is missing",
		"policy test add nonsense --vpc blue": "reaches",
		"policy test add a reaches b:1":       "--vpc is missing",
		"group diff web --vpc blue":           "--file is missing",
	} {
		f := mesh()
		got := tool(t.Context(), f.serve(t), "", strings.Fields(args)...)
		if got.code != exitUsage || !strings.Contains(got.stderr, want) || len(f.requests) > 0 {
			t.Errorf("%s: got %+v, asked %v, want %q", args, got, f.requests, want)
		}
	}
}
