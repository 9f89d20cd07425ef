package main

import (
	"strings"
	"testing"
)

func TestArrange(t *testing.T) {
	tests := []struct {
		name string
		in   string
		want string // argv without the program, or the error
		ok   bool
	}{
		{"flags behind the argument come before it", "vpc create blue --cidr 10.0.0.0/24", "vpc create --cidr=10.0.0.0/24 -- blue", true},
		{"flags before the argument stay there", "vpc create --cidr 10.0.0.0/24 blue", "vpc create --cidr=10.0.0.0/24 -- blue", true},
		{"repeated flags keep their order", "vpc create --cidr a blue --cidr=b", "vpc create --cidr=a --cidr=b -- blue", true},
		{"flags of every command may stand before it", "-o json vpc list", "--output=json vpc list --", true},
		{"and behind it", "vpc list -o=json --socket /s", "--output=json --socket=/s vpc list --", true},
		{"and within it", "vpc -o yaml list", "--output=yaml vpc list --", true},
		{"one dash is as good as two", "vpc list -socket=/s", "--socket=/s vpc list --", true},
		{"a value may begin with a dash", "group rule add g --ports -80", "group rule add --ports=-80 -- g", true},
		{"a value may contain =", "vpc show a --socket=/a=b", "--socket=/a=b vpc show -- a", true},
		{"an empty value is a value", "vpc list --socket=", "--socket= vpc list --", true},
		{"behind -- nothing is a flag", "vpc show -- --cidr", "vpc show -- --cidr", true},
		{"- is an argument", "join -", "join -- -", true},
		{"a command's name may be an argument", "vpc show vpc", "vpc show -- vpc", true},
		{"help may be an argument", "vpc show help", "vpc show -- help", true},

		{"a switch takes no value", "group rule add --disabled g", "group rule add --disabled=true -- g", true},
		{"but may have one", "group rule add --disabled=false g", "group rule add --disabled=false -- g", true},
		{"--version is a command", "--version -o json", "--output=json version --", true},

		{"nothing", "", "which command? init, token, join, leave, status, mesh, node, gossip-key, ca, tunnel, vpc, group, endpoint, grant, policy, trace, flow, drops, audit, watch, events, doctor, version, completion", false},
		{"half a command", "group rule", "which command? add, remove, disable, enable, describe", false},
		{"an unknown command", "vpcs", `unknown command "vpcs": there are init, token, join, leave, status, mesh, node, gossip-key, ca, tunnel, vpc, group, endpoint, grant, policy, trace, flow, drops, audit, watch, events, doctor, version, completion`, false},
		{"an unknown subcommand", "node create", `unknown command "create": there are list, show, evict`, false},
		{"an unknown flag", "vpc list --cidr a", "unknown flag --cidr", false},
		{"an unknown short flag", "vpc list -x", "unknown flag -x", false},
		{"a flag of a command before its name", "--cidr a vpc create b", "unknown flag --cidr", false},
		{"a flag without a value", "vpc create a --cidr", "flag --cidr has no value", false},
		{"-- where a command should be", "vpc -- list", `unknown command "list"`, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			line, err := arrange(newApp(&env{getenv: func(string) string { return "" }}), strings.Fields(tt.in))
			got := strings.Join(line.argv()[1:], " ")
			if err != nil {
				got = err.Error()
			}
			if got != tt.want || (err == nil) != tt.ok || err != nil && !isUsage(err) {
				t.Errorf("arrange(%s)\ngot  %s\nwant %s", tt.in, got, tt.want)
			}
		})
	}
}

func FuzzArrange(f *testing.F) {
	for _, seed := range []string{"vpc create a --cidr=b", "-- -", "--", "-", "---", "-=", "--=a", "help vpc", "join --help -o"} {
		f.Add(seed)
	}
	app := newApp(&env{getenv: func(string) string { return "" }})
	f.Fuzz(func(t *testing.T, typed string) {
		words := strings.Split(typed, " ")
		line, err := arrange(app, words)
		if err == nil && !line.help && len(line.path) == 0 {
			t.Fatalf("%q is a command line without a command", words)
		}
		if line.hint() == "" || len(line.argv()) == 0 {
			t.Fatalf("%q has no hint", words)
		}
	})
}
