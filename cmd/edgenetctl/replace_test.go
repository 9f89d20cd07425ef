package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const (
	oneRule   = `{"direction":"ingress","protocol":"tcp","ports":["80"],"peer":"any"`
	webRule   = `{"name":"web","rules":[` + oneRule + `}]}`
	asReplace = `ReplaceGroups {"vpc":"blue","groups":[`
)

func TestRulesComeFromAFile(t *testing.T) {
	const yamlRule = "direction: ingress\n  protocol: tcp\n  ports: [80]\n  peer: any\n"
	tests := []struct{ name, args, file, request, want string }{
		{"a list of rules", "web", "- " + yamlRule, asReplace + webRule + "]}", "group web has 1 rule now\n"},
		{"JSON", "web", "[" + oneRule + "}]", asReplace + webRule + "]}", "group web has 1 rule now\n"},
		{"a group as it is shown", "web", `{"name":"web","vpc":"blue","rules":[` + oneRule + `,"id":"x","action":"allow","priority":1000,"icmp":"","except":[]}],"created":"2026-05-04T11:59:00Z"}`, asReplace + webRule + "]}", "group web has 1 rule now\n"},
		{"no rules", "web", "[]", asReplace + `{"name":"web"}]}`, "group web has 0 rules now\n"},
		{"several groups", "", "- name: web\n  rules:\n  - " + strings.ReplaceAll(yamlRule, "\n  ", "\n    ") + "- name: db\n  rules: []\n", asReplace + webRule + `,{"name":"db"}]}`, "2 groups of VPC blue have 1 rule now\n"},
		{"all of a rule", "web", `[{direction: egress, action: deny, priority: 7, protocol: icmp, icmp: 3/4, peer: 10.0.0.0/8, except: [10.1.0.0/16], description: "a, b", disabled: true}]`, asReplace + `{"name":"web","rules":[{"direction":"egress","protocol":"icmp","peer":"10.0.0.0/8","action":"deny","priority":7,"except":["10.1.0.0/16"],"icmp":"3/4","description":"a,b","disabled":true}]}]}`, "group web has 1 rule now\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "rules")
			if err := os.WriteFile(path, []byte(tt.file), 0o600); err != nil {
				t.Fatal(err)
			}
			for _, file := range []string{path, "-"} {
				f := mesh()
				args := append([]string{"group", "replace", "--vpc", "blue", "-f", file}, strings.Fields(tt.args)...)
				got := tool(t.Context(), f.serve(t), tt.file, args...)
				if got != (result{stdout: tt.want}) {
					t.Errorf("got %+v, want %q", got, tt.want)
				}
				if len(f.requests) != 1 || f.requests[0] != tt.request {
					t.Errorf("asked %v\nwant  %s", f.requests, tt.request)
				}
			}
		})
	}
}

func TestWhatIsShownCanBeGivenBack(t *testing.T) {
	for _, form := range []string{"json", "yaml"} {
		f := mesh()
		f.groups[1].Rules[2].Description = "the lab"
		for _, r := range f.groups[1].GetRules() {
			r.Id = ""
		}
		socket := f.serve(t)
		shown := tool(t.Context(), socket, "", "group", "list", "--vpc", "blue", "-o", form)
		got := tool(t.Context(), socket, shown.stdout, "group", "replace", "--vpc", "blue", "-f", "-", "-o", form)
		if got.code != exitOK || !strings.Contains(f.requests[1], `"description":"thelab"`) || strings.Count(f.requests[1], "direction") != 4 {
			t.Errorf("%s: %+v, asked %v", form, got, f.requests)
		}
	}
}

func TestAWrongFileSaysWhere(t *testing.T) {
	for file, want := range map[string]string{
		"[{direction: ingress}]": `group replace: -: group web: rule 1: parse protocol ""`,
		"[{way: in}]":            `unknown field "way"`,
		"hello":                  "write a list of rules",
		"":                       "write a list of rules",
		"{name: db, rules: []}":  "of group db, not of web",
		"{}":                     "write a list of rules",
		"{name: web, rules: }":   "write a list of rules",
		"{vpc: red, rules: []}":  "is of VPC red, not of blue",
		"[{":                     "group replace: -: ",
	} {
		f := mesh()
		got := tool(t.Context(), f.serve(t), file, "group", "replace", "web", "--vpc", "blue", "-f", "-")
		if got.code != exitUsage || !strings.Contains(got.stderr, want) || len(f.requests) > 0 {
			t.Errorf("%q: %+v, want %q", file, got, want)
		}
	}
	f := mesh()
	got := tool(t.Context(), f.serve(t), "[{name: web}]", "group", "replace", "--vpc", "blue", "-f", "-")
	if got.code != exitUsage || !strings.Contains(got.stderr, `group "web": it has no rules`) || len(f.requests) > 0 {
		t.Errorf("a group without a word of rules: %+v", got)
	}
	if got := tool(t.Context(), "/nonexistent", "", "group", "replace", "web", "--vpc", "blue", "-f", "/nonexistent/f"); got.code != exitError {
		t.Errorf("a file that is not there: %+v", got)
	}
}
