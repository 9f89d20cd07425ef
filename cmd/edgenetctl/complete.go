package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	edgenetv1 "edgenet.dev/edgenet/api/edgenet/v1"
	"edgenet.dev/edgenet/internal/events"
)

const (
	// completeWord as the first argument asks for completions of the others.
	completeWord = "__complete"
	// completeTimeout is how long a person at the prompt is kept waiting.
	completeTimeout = time.Second
)

// complete prints what the last word can become, one candidate to a line. It
// never fails: what cannot be found out is not offered.
func complete(ctx context.Context, e *env, app *cli.App, words []string) {
	if len(words) == 0 {
		return
	}
	typed, current := words[:len(words)-1], words[len(words)-1]
	line, _ := arrange(app, typed) // half a command line is seldom right
	socket := line.value("socket")
	if socket == "" {
		socket = e.socket()
	}
	ctx, cancel := context.WithTimeout(ctx, completeTimeout)
	defer cancel()
	s := &session{env: e}
	disconnect := s.connect(socket)
	defer disconnect()
	c := &completer{session: s, app: app, line: line}
	for _, candidate := range c.candidates(ctx, current) {
		if strings.HasPrefix(candidate, current) {
			_, _ = fmt.Fprintln(e.stdout, printable(candidate)) // a shell that is gone needs none
		}
	}
}

type completer struct {
	*session
	app  *cli.App
	line *commandLine
}

func (c *completer) candidates(ctx context.Context, current string) []string {
	if c.line.pending != "" {
		return c.values(ctx, c.line.pending, current)
	}
	if strings.HasPrefix(current, "-") {
		name, value, isValue := strings.Cut(strings.TrimLeft(current, "-"), "=")
		if !isValue {
			return c.flagNames()
		}
		return prefixed(current[:len(current)-len(value)], c.values(ctx, name, value))
	}
	if next := c.line.subcommands(c.app); len(next) > 0 {
		if len(c.line.path) == 0 {
			return append(names(next), "help")
		}
		return names(next)
	}
	if len(c.line.args) > 0 {
		return c.secondArgument()
	}
	return c.firstArgument(ctx)
}

func (c *completer) flagNames() []string {
	list := []string{"--help"}
	for _, f := range slices.Concat(c.line.flags(), c.app.Flags) {
		list = append(list, "--"+f.Names()[0])
	}
	return list
}

// firstArgument are the names that a command can be about.
func (c *completer) firstArgument(ctx context.Context) []string {
	switch strings.Join(c.line.words()[1:], " ") {
	case "node show", "node evict", "tunnel show":
		return c.nodeNames(ctx)
	case "tunnel policy set":
		return []string{"any", "cloud-edge", "edge-edge", "node:"}
	case "tunnel policy remove":
		return c.tunnelRules(ctx)
	case "vpc show", "vpc delete":
		return c.vpcNames(ctx)
	case "group show", "group delete", "group replace", "group diff", "group shadow apply",
		"group rule add", "group rule remove", "group rule enable", "group rule disable", "group rule describe":
		return c.groupNames(ctx)
	case "endpoint show", "endpoint stats", "endpoint detach":
		return c.endpointNames(ctx)
	case "grant create":
		return c.endpointNames(ctx)
	case "grant delete":
		return c.grantNames(ctx)
	case "mesh set":
		return []string{requireGrants}
	case "completion":
		return []string{"bash", "fish", "zsh"}
	default:
		return nil
	}
}

// secondArgument are the values that a command can give to the first.
func (c *completer) secondArgument() []string {
	if strings.Join(c.line.words()[1:], " ") == "mesh set" && len(c.line.args) == 1 {
		return []string{"off", "on"}
	}
	return nil
}

// values are what a flag can be given. In a list, the last item is completed.
func (c *completer) values(ctx context.Context, flag, current string) []string {
	done := current[:strings.LastIndex(current, ",")+1]
	switch flag {
	case "vpc":
		return c.vpcNames(ctx)
	case "node":
		return c.nodeNames(ctx)
	case "group":
		return prefixed(done, c.groupNames(ctx))
	case "endpoint":
		return c.endpointNames(ctx)
	case "from", "to":
		if c.line.words()[1] == "trace" {
			return c.endpointNames(ctx)
		}
		return append(prefixed("group:", c.groupNames(ctx)), "any")
	case "direction":
		return []string{"egress", "ingress"}
	case "proto":
		return []string{"any", "icmp", "icmpv6", "sctp", "tcp", "udp"}
	case "action":
		return []string{"allow", "deny"}
	case "id":
		return c.ruleIDs(ctx)
	case "role":
		return prefixed(done, []string{"authority", "cloud", "edge", "gateway", "relay"})
	case "kind":
		return prefixed(done, events.Kinds())
	case "output", "o":
		return []string{string(formatTable), string(formatJSON), string(formatYAML)}
	default:
		return nil
	}
}

func (c *completer) nodeNames(ctx context.Context) []string {
	answer, err := call(ctx, c.nodes.ListNodes, &edgenetv1.ListNodesRequest{})
	if err != nil {
		return nil
	}
	return namesOf(answer.GetNodes())
}

func (c *completer) vpcNames(ctx context.Context) []string {
	answer, err := call(ctx, c.vpcs.ListVPCs, &edgenetv1.ListVPCsRequest{})
	if err != nil {
		return nil
	}
	return namesOf(answer.GetVpcs())
}

func (c *completer) tunnelRules(ctx context.Context) []string {
	answer, err := call(ctx, c.tunnels.GetTunnelPolicy, &edgenetv1.GetTunnelPolicyRequest{})
	if err != nil {
		return nil
	}
	var list []string
	for _, r := range answer.GetRules() {
		list = append(list, r.GetBetween())
	}
	return list
}

// groupNames are those of the VPC typed already, or of all.
func (c *completer) groupNames(ctx context.Context) []string {
	answer, err := call(ctx, c.groups.ListGroups, &edgenetv1.ListGroupsRequest{Vpc: c.line.value("vpc")})
	if err != nil {
		return nil
	}
	return namesOf(answer.GetGroups())
}

// ruleIDs are those of the group typed already.
func (c *completer) ruleIDs(ctx context.Context) []string {
	if len(c.line.args) != 1 {
		return nil
	}
	answer, err := call(ctx, c.groups.GetGroup, &edgenetv1.GetGroupRequest{Name: c.line.args[0], Vpc: c.line.value("vpc")})
	if err != nil {
		return nil
	}
	var ids []string
	for _, r := range answer.GetGroup().GetRules() {
		ids = append(ids, r.GetId())
	}
	return ids
}

func (c *completer) endpointNames(ctx context.Context) []string {
	answer, err := call(ctx, c.endpoints.ListEndpoints, &edgenetv1.ListEndpointsRequest{Vpc: c.line.value("vpc")})
	if err != nil {
		return nil
	}
	return namesOf(answer.GetEndpoints())
}

// grantNames are those of the VPC and the node typed already, or of all.
func (c *completer) grantNames(ctx context.Context) []string {
	answer, err := call(ctx, c.grants.ListGrants, &edgenetv1.ListGrantsRequest{Node: c.line.value("node"), Vpc: c.line.value("vpc")})
	if err != nil {
		return nil
	}
	return namesOf(answer.GetGrants())
}

// namesOf are the names of things, sorted, each once.
func namesOf[T interface{ GetName() string }](items []T) []string {
	var list []string
	for _, item := range items {
		list = append(list, item.GetName())
	}
	slices.Sort(list)
	return slices.Compact(list)
}

func prefixed(prefix string, words []string) []string {
	list := make([]string, 0, len(words))
	for _, word := range words {
		list = append(list, prefix+word)
	}
	return list
}
