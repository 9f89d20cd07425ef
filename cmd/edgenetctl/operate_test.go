package main

import (
	"context"
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
			"policy test add ghost reaches db-1:1 --vpc blue",
			`AddTest {"vpc":"blue","assertion":"ghostreachesdb-1:1"}`,
			"policy test of VPC blue added: ghost reaches db-1:1 (undecided: there is no ghost)\n",
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
		{"group shadow show --vpc blue", `GetShadow {"vpc":"blue"}`, `
VPC:           blue
Groups:        db
Counts since:  2h ago
Counted on:    cloud-1,edge-1
Not counted:   edge-2: it did not answer within 3s

GROUP  WOULD ALLOW  WOULD DROP  HITS  SET        RULE
db     0            3           12    in force   000000000001 ingress allow priority 1000 tcp 5432 from 10.0.0.0/24
db     0            3           0     candidate  000000000002 ingress deny priority 1000 tcp 5432 from 10.0.0.7/32

ENDPOINT  NODE    WOULD ALLOW  WOULD DROP
db-1      edge-1  1            3

SEEN    ENDPOINT  DIRECTION  FROM      TO        FLOW      EFFECT      RULE             CANDIDATE
1m ago  db-1      ingress    10.0.0.7  10.0.0.8  tcp/5432  would-drop  db/000000000001  db/000000000002
`},
		{"group shadow promote --vpc blue --force", `PromoteShadow {"vpc":"blue","force":true}`, "candidate rules of VPC blue are in force, in 1 group\n"},
		{"group shadow drop --vpc blue", `DropShadow {"vpc":"blue"}`, "candidate rules of VPC blue dropped\n"},
		{"audit list", `ListAudit {}`, `
TIME                  WHO                           VPC   WHAT                                    BROKE
2026-05-04T12:00:00Z  uid 0, pid 4711 on this host  blue  remove rule 000000000001 from group db  web-1 reaches db-1:5432; nobody reaches db-1:22
2026-05-04T12:00:00Z  node edge-1 (bb00)            blue  change rule x (failed: disk is full)    -
`},
		{"trace --vpc blue --from web-1 --to db-1 --proto tcp --port 5432", `Trace {"vpc":"blue","from":"web-1","to":"db-1","protocol":"tcp","port":5432}`, `
Packet:          tcp/5432 from 10.0.0.7 to 10.0.0.8
Verdict:         dropped (no-ingress-rule)
Egress:          web-1 (10.0.0.7) on cloud-1
  by the rules:  passes: it has no egress rule
  as it runs:    passes: a known flow carries it
Route:           to node edge-1, tunnel up
Ingress:         db-1 (10.0.0.8) on edge-1
  by the rules:  dropped: no rule permits it
  as it runs:    not known: node edge-1 is away
Problem:         ingress of db-1: node edge-1 is away
`},
		{
			"flow list --vpc blue --endpoint web-1 --proto tcp --port 5432 --remote 10.0.0.0/24 --state tcp-established --limit 7",
			`ListFlows {"filter":{"vpc":"blue","endpoint":"web-1","protocol":"tcp","port":5432,"remote":"10.0.0.0/24","state":"tcp-established"},"limit":7}`, `
VPC   ENDPOINT  PROTOCOL  LOCAL           REMOTE         STATE            ORIGIN   IDLE  EXPIRES  RULE
blue  web-1     tcp       10.0.0.7 40000  10.0.0.8 5432  tcp-established  egress   3s    in 2h    default
blue  web-1     47        fd00::7         fd00::8        other-replied    ingress  1m    in 8m    web/000000000001
`,
		},
		{"flow flush --remote 10.0.0.8", `FlushFlows {"filter":{"remote":"10.0.0.8"}}`, "3 flows forgotten\n"},
		{"flow flush --all", `FlushFlows {"filter":{},"all":true}`, "3 flows forgotten\n"},
		{"drops watch --vpc blue --endpoint db-1 --reason malformed --count 2", `WatchDrops {"vpc":"blue","endpoint":"db-1","reason":"malformed"}`, `
12:00:00.000  no-ingress-rule       blue/db-1             ingress  tcp/22 10.0.0.7 to 10.0.0.8, 74 bytes
41 more drops are not shown
1 more drop is not shown
12:00:00.000  malformed             -                              20 bytes
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

func TestICMPIsTraced(t *testing.T) {
	for args, want := range map[string]string{
		"":                              `"protocol":"icmp"}`,
		"--icmp-type 0":                 `"protocol":"icmp","icmpType":0}`,
		"--icmp-type 3 --icmp-code 255": `"protocol":"icmp","icmpType":3,"icmpCode":255}`,
	} {
		f := mesh()
		words := strings.Fields("trace --vpc blue --from web-1 --to db-1 --proto icmp " + args)
		if got := tool(t.Context(), f.serve(t), "", words...); got.code != exitOK || !strings.HasSuffix(f.requests[0], want) {
			t.Errorf("%s: %+v, asked %v", args, got, f.requests)
		}
	}
}

func TestACandidateComesFromAFile(t *testing.T) {
	f := mesh()
	got := tool(t.Context(), f.serve(t), "["+oneRule+"}]", "group", "shadow", "apply", "web", "--vpc", "blue", "-f", "-")
	if got != (result{stdout: "VPC blue has candidate rules for 1 group now; they only count\n"}) {
		t.Errorf("got %+v", got)
	}
	if want := `ApplyShadow {"vpc":"blue","groups":[` + webRule + "]}"; len(f.requests) != 1 || f.requests[0] != want {
		t.Errorf("asked %v\nwant  %s", f.requests, want)
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

func TestDropsAreLinesOfJSONForPrograms(t *testing.T) {
	got := tool(t.Context(), mesh().serve(t), "", "drops", "watch", "--count", "2", "-o", "json")
	lines := strings.Split(strings.TrimSuffix(got.stdout, "\n"), "\n")
	if got.code != exitOK || len(lines) != 4 {
		t.Fatalf("got %+v", got)
	}
	var events [4]struct {
		Drop    *struct{ Reason, Endpoint string }
		LeftOut int
	}
	for i, line := range lines {
		if err := json.Unmarshal([]byte(line), &events[i]); err != nil {
			t.Fatal(err)
		}
	}
	if events[0].Drop != nil || events[1].Drop.Endpoint != "db-1" || events[2].LeftOut != 41 || events[3].Drop.Reason != "malformed" {
		t.Errorf("got %+v", events)
	}
}

func TestAWatchOfDropsEndsInPeace(t *testing.T) {
	f := mesh()
	f.hold = true
	ctx, cancel := context.WithCancel(t.Context())
	socket := f.serve(t)
	done := make(chan result, 1)
	go func() { done <- tool(ctx, socket, "", "drops", "watch") }()
	cancel()
	if got := <-done; got.code != exitOK && !strings.Contains(got.stderr, "interrupted") {
		t.Errorf("got %+v", got)
	}
	if got := tool(t.Context(), mesh().serve(t), "", "drops", "watch"); got.code != exitError || !strings.Contains(got.stderr, "ended the stream") {
		t.Errorf("a stream that ends by itself gives %+v", got)
	}
}

func TestWrongUseOfOperatorsCommands(t *testing.T) {
	for args, want := range map[string]string{
		"policy test add --vpc blue":                                  "ASSERTION is missing",
		"policy test add nonsense --vpc blue":                         "reaches",
		"policy test add a reaches b:1":                               "--vpc is missing",
		"trace --vpc blue --from a --to b --proto tcp":                "--port is missing",
		"trace --vpc blue --from a --to b --proto tcp --port 65536":   "--port \"65536\"",
		"trace --vpc blue --from a --to b --proto icmp --icmp-type x": "--icmp-type \"x\"",
		"trace --vpc blue --from a --to b":                            "--proto is missing",
		"flow flush":                                                  "or --all",
		"flow flush --all --vpc blue":                                 "or --all",
		"flow list --endpoint web-1":                                  "--vpc",
		"drops watch --endpoint web-1":                                "--vpc",
		"drops watch --count -1":                                      "--count",
		"group shadow show":                                           "--vpc is missing",
		"group diff web --vpc blue":                                   "--file is missing",
	} {
		f := mesh()
		got := tool(t.Context(), f.serve(t), "", strings.Fields(args)...)
		if got.code != exitUsage || !strings.Contains(got.stderr, want) || len(f.requests) > 0 {
			t.Errorf("%s: got %+v, asked %v, want %q", args, got, f.requests, want)
		}
	}
}
