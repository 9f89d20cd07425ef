package main

import (
	"context"
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	edgenetv1 "edgenet.dev/edgenet/api/edgenet/v1"
	"edgenet.dev/edgenet/pkg/policy"
)

func (e *env) grantCommand() *cli.Command {
	node := &cli.StringFlag{Name: "node", Usage: "`NAME` or id of the node that may attach it (required)"}
	return &cli.Command{
		Name:        "grant",
		Usage:       "say which node may attach which endpoint, where the mesh requires it; on an authority",
		Description: "edgenetctl grant list",
		Subcommands: []*cli.Command{
			{
				Name:      "create",
				Usage:     "let a node attach an endpoint, or change what it lets it attach",
				ArgsUsage: "NAME --vpc VPC --node NODE --ip ADDRESS... [--prefix PREFIX]... [--group GROUP]... [--ttl DURATION]",
				Description: "edgenetctl grant create web-1 --vpc blue --node edge-1 --ip 10.0.0.7 --group web\n" +
					"edgenetctl grant create web-2 --vpc blue --node edge-2 --ip 10.0.0.8 --ip fd00:1::8 --prefix 10.0.0.100/32 --ttl 12h",
				Flags: []cli.Flag{
					vpcFlag(), node,
					&cli.StringSliceFlag{Name: "ip", Usage: "`ADDRESS` that the endpoint may have, IPv4 or IPv6; repeatable"},
					&cli.StringSliceFlag{Name: "prefix", Usage: "`PREFIX` that may be behind it; repeatable"},
					&cli.StringSliceFlag{Name: "group", Usage: "security `GROUP` that it may carry besides the default group; repeatable"},
					&cli.DurationFlag{Name: "ttl", Usage: "`DURATION` that the grant lasts from now on (default until it is deleted)"},
				},
				Action: e.action(createGrant),
			}, {
				Name:        "list",
				Usage:       "list the grants",
				ArgsUsage:   "[--vpc VPC] [--node NODE]",
				Description: "edgenetctl grant list --node edge-1\nedgenetctl grant list -o json | jq -r '.[] | select(.state == \"unused\").name'",
				Flags:       []cli.Flag{filterByVPC(), &cli.StringFlag{Name: "node", Usage: "only those of the node with this `NAME` or id"}},
				Action:      e.action(listGrants),
			}, {
				Name:        "delete",
				Usage:       "take a grant away; while grants are required, its endpoint is cut off",
				ArgsUsage:   "NAME --vpc VPC --node NODE",
				Description: "edgenetctl grant delete web-1 --vpc blue --node edge-1",
				Flags:       []cli.Flag{vpcFlag(), node},
				Action:      e.action(deleteGrant),
			},
		},
	}
}

func createGrant(ctx context.Context, s *session) error {
	request, err := s.grantRequest()
	if err != nil {
		return asUsage(err)
	}
	answer, err := call(ctx, s.grants.CreateGrant, request)
	if err != nil {
		return failed("create grant "+request.GetName(), err)
	}
	g := answer.GetGrant()
	text := fmt.Sprintf("node %s may attach endpoint %s to VPC %s: %s", g.GetNode(), g.GetName(), g.GetVpc(), list(g.GetIps()))
	if g.GetExpires() != nil {
		text += ", for " + span(g.GetExpires().AsTime().Sub(s.now()).Round(time.Second))
	}
	return s.printAnswer(g, printable(text))
}

// grantRequest reads the command line.
func (s *session) grantRequest() (*edgenetv1.CreateGrantRequest, error) {
	name, vpc, err := s.nameInVPC()
	if err != nil {
		return nil, err
	}
	request := &edgenetv1.CreateGrantRequest{Name: name, Vpc: vpc, Groups: s.flags.StringSlice("group")}
	if request.Node, err = s.required("node"); err != nil {
		return nil, err
	}
	// What an endpoint may have is written as what it has.
	has := &edgenetv1.AttachEndpointRequest{}
	if err := s.setAddresses(has); err != nil {
		return nil, err
	}
	request.Ips, request.Prefixes = append([]string{has.GetIp()}, has.GetIps()...), has.GetPrefixes()
	for _, group := range request.GetGroups() {
		if err := policy.ValidateName(group); err != nil {
			return nil, usagef("--group: %v", err)
		}
	}
	ttl := s.flags.Duration("ttl")
	if s.flags.IsSet("ttl") && (ttl < time.Second || ttl%time.Second != 0) {
		return nil, usagef("--ttl %s is not possible: write whole seconds, one at least", brief(ttl))
	}
	request.TtlSeconds = uint64(ttl / time.Second)
	return request, nil
}

func listGrants(ctx context.Context, s *session) error {
	if _, err := s.arguments(); err != nil {
		return err
	}
	answer, err := call(ctx, s.grants.ListGrants, &edgenetv1.ListGrantsRequest{Node: s.flags.String("node"), Vpc: s.flags.String("vpc")})
	if err != nil {
		return failed("list grants", err)
	}
	return printList(s, "grants", answer.GetGrants(), []column[*edgenetv1.Grant]{
		{"NAME", (*edgenetv1.Grant).GetName},
		{"VPC", (*edgenetv1.Grant).GetVpc},
		{"NODE", (*edgenetv1.Grant).GetNode},
		{"IP", func(g *edgenetv1.Grant) string { return list(g.GetIps()) }},
		{"PREFIXES", func(g *edgenetv1.Grant) string { return list(g.GetPrefixes()) }},
		{"GROUPS", func(g *edgenetv1.Grant) string { return list(g.GetGroups()) }},
		{"CREATED", func(g *edgenetv1.Grant) string { return s.when(g.GetCreated()) }},
		{"EXPIRES", func(g *edgenetv1.Grant) string { return s.when(g.GetExpires()) }},
		{"STATE", (*edgenetv1.Grant).GetState},
	})
}

func deleteGrant(ctx context.Context, s *session) error {
	name, vpc, err := s.nameInVPC()
	if err != nil {
		return err
	}
	node, err := s.required("node")
	if err != nil {
		return err
	}
	answer, err := call(ctx, s.grants.DeleteGrant, &edgenetv1.DeleteGrantRequest{Name: name, Vpc: vpc, Node: node})
	if err != nil {
		return failed("delete grant "+name, err)
	}
	return s.printAnswer(answer, printable(fmt.Sprintf("node %s may not attach endpoint %s to VPC %s any more", node, name, vpc)))
}
