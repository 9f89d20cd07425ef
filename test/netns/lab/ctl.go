package lab

import (
	"context"
	"encoding/json"
	"errors"
	"os/exec"
	"strings"
)

// Result is how a program ended and what it said.
type Result struct {
	Stdout, Stderr string
	Code           int
}

// Ctl runs edgenetctl against the host's socket.
func (h *Host) Ctl(args ...string) Result { return h.CtlWithInput("", args...) }

// CtlWithInput runs edgenetctl with text on its standard input.
func (h *Host) CtlWithInput(input string, args ...string) Result {
	h.lab.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, Program("edgenetctl"), append([]string{"--socket", h.Socket()}, args...)...)
	cmd.Env = environment()
	var stdout, stderr strings.Builder
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), &stdout, &stderr
	err := cmd.Run()
	var ended *exec.ExitError
	if err != nil && !errors.As(err, &ended) {
		h.lab.t.Fatalf("run edgenetctl on %s: %v", h.Name, err)
	}
	return Result{Stdout: stdout.String(), Stderr: stderr.String(), Code: cmd.ProcessState.ExitCode()}
}

// MustCtl runs edgenetctl and fails the test unless it ends with 0. It returns
// its standard output.
func (h *Host) MustCtl(args ...string) string {
	h.lab.t.Helper()
	result := h.Ctl(args...)
	if result.Code != 0 {
		h.lab.t.Fatalf("%s: edgenetctl %s: exit %d: %s%s",
			h.Name, strings.Join(args, " "), result.Code, result.Stdout, result.Stderr)
	}
	return result.Stdout
}

// CtlFails runs edgenetctl and fails the test unless it ends with 1 and its one
// line on standard error has every given word.
func (h *Host) CtlFails(words []string, args ...string) {
	h.lab.t.Helper()
	result := h.Ctl(args...)
	what := strings.Join(args, " ")
	if result.Code != 1 {
		h.lab.t.Errorf("%s: edgenetctl %s: exit %d, want 1: %s%s", h.Name, what, result.Code, result.Stdout, result.Stderr)
		return
	}
	if result.Stdout != "" || strings.Count(result.Stderr, "\n") != 1 {
		h.lab.t.Errorf("%s: edgenetctl %s: want one line on stderr alone, got %q and %q", h.Name, what, result.Stdout, result.Stderr)
	}
	for _, word := range words {
		if !strings.Contains(strings.ToLower(result.Stderr), word) {
			h.lab.t.Errorf("%s: edgenetctl %s: want %q in %q", h.Name, what, word, result.Stderr)
		}
	}
}

// CtlJSON runs edgenetctl with -o json and decodes its answer.
func (h *Host) CtlJSON(into any, args ...string) {
	h.lab.t.Helper()
	output := h.MustCtl(append(args, "-o", "json")...)
	if err := json.Unmarshal([]byte(output), into); err != nil {
		h.lab.t.Fatalf("%s: edgenetctl %s: %v in %q", h.Name, strings.Join(args, " "), err, output)
	}
}

// Init makes a mesh on this host.
func (h *Host) Init() {
	h.lab.t.Helper()
	h.MustCtl("init")
}

// Token makes a join token on this host.
func (h *Host) Token(args ...string) string {
	h.lab.t.Helper()
	return strings.TrimSpace(h.MustCtl(append([]string{"token", "create"}, args...)...))
}

// Join makes this host a member of the token's mesh.
func (h *Host) Join(token string) {
	h.lab.t.Helper()
	h.MustCtl("join", token)
}

// VPC makes a VPC.
func (h *Host) VPC(name string, cidrs ...string) {
	h.lab.t.Helper()
	args := []string{"vpc", "create", name}
	for _, cidr := range cidrs {
		args = append(args, "--cidr", cidr)
	}
	h.MustCtl(args...)
}

// Group makes a security group with rules, each written as edgenetctl takes it,
// for instance "ingress tcp 80 from any" or "egress icmp - to 10.0.0.0/24"; flags
// may follow, as in "ingress any - from 10.0.0.0/8 --action deny --priority 10".
func (h *Host) Group(vpc, name string, rules ...string) {
	h.lab.t.Helper()
	h.MustCtl("group", "create", name, "--vpc", vpc)
	for _, rule := range rules {
		h.AddRule(vpc, name, rule)
	}
}

// AddRule adds a rule to a group.
func (h *Host) AddRule(vpc, group, rule string) { h.changeRule("add", vpc, group, rule) }

// RemoveRule removes a rule from a group.
func (h *Host) RemoveRule(vpc, group, rule string) { h.changeRule("remove", vpc, group, rule) }

func (h *Host) changeRule(verb, vpc, group, rule string) {
	h.lab.t.Helper()
	words := strings.Fields(rule)
	if len(words) < 5 {
		h.lab.t.Fatalf("rule %q: want direction, protocol, ports or -, from or to, peer, flags", rule)
	}
	args := []string{
		"group", "rule", verb, group, "--vpc", vpc,
		"--direction", words[0], "--proto", words[1], "--" + words[3], words[4],
	}
	if words[2] != "-" {
		args = append(args, "--ports", words[2])
	}
	h.MustCtl(append(args, words[5:]...)...)
}
