package main

import (
	"context"
	"fmt"

	"github.com/urfave/cli/v2"

	edgenetv1 "edgenet.dev/edgenet/api/edgenet/v1"
)

func (e *env) groupCommand() *cli.Command {
	return &cli.Command{
		Name:        "group",
		Usage:       "manage security groups",
		Description: "edgenetctl group list",
		Subcommands: []*cli.Command{
			{
				Name:        "create",
				Usage:       "make a group without rules: nothing in, everything out",
				ArgsUsage:   "NAME --vpc VPC",
				Description: "edgenetctl group create web --vpc blue",
				Flags:       []cli.Flag{vpcFlag()},
				Action:      e.action(createGroup),
			},
			{
				Name:        "list",
				Usage:       "list the groups of one VPC, or of all",
				ArgsUsage:   "[--vpc VPC]",
				Description: "edgenetctl group list --vpc blue",
				Flags:       []cli.Flag{filterByVPC()},
				Action:      e.action(listGroups),
			},
			{
				Name:        "show",
				Usage:       "show one group and its rules",
				ArgsUsage:   "NAME --vpc VPC",
				Description: "edgenetctl group show web --vpc blue",
				Flags:       []cli.Flag{vpcFlag()},
				Action:      e.action(showGroup),
			},
			{
				Name:        "delete",
				Usage:       "remove a group that no rule names and no endpoint carries",
				ArgsUsage:   "NAME --vpc VPC",
				Description: "edgenetctl group delete web --vpc blue",
				Flags:       []cli.Flag{vpcFlag()},
				Action:      e.action(deleteGroup),
			},
			e.ruleCommand(),
			e.replaceCommand(),
			e.diffCommand(),
			e.shadowCommand(),
		},
	}
}

func createGroup(ctx context.Context, s *session) error {
	name, vpc, err := s.nameInVPC()
	if err != nil {
		return err
	}
	answer, err := call(ctx, s.groups.CreateGroup, &edgenetv1.CreateGroupRequest{Name: name, Vpc: vpc})
	if err != nil {
		return failed("create group "+name, err)
	}
	return s.printAnswer(answer.GetGroup(), fmt.Sprintf("group %s created in VPC %s", name, vpc))
}

func listGroups(ctx context.Context, s *session) error {
	if _, err := s.arguments(); err != nil {
		return err
	}
	answer, err := call(ctx, s.groups.ListGroups, &edgenetv1.ListGroupsRequest{Vpc: s.flags.String("vpc")})
	if err != nil {
		return failed("list groups", err)
	}
	return printList(s, "groups", answer.GetGroups(), []column[*edgenetv1.Group]{
		{"NAME", (*edgenetv1.Group).GetName},
		{"VPC", (*edgenetv1.Group).GetVpc},
		{"INGRESS", func(g *edgenetv1.Group) string { return countRules(g, "ingress") }},
		{"EGRESS", func(g *edgenetv1.Group) string { return countRules(g, "egress") }},
		{"CREATED", func(g *edgenetv1.Group) string { return s.when(g.GetCreated()) }},
	})
}

func showGroup(ctx context.Context, s *session) error {
	name, vpc, err := s.nameInVPC()
	if err != nil {
		return err
	}
	answer, err := call(ctx, s.groups.GetGroup, &edgenetv1.GetGroupRequest{Name: name, Vpc: vpc})
	if err != nil {
		return failed("show group "+name, err)
	}
	return s.printAnswer(answer.GetGroup(), s.groupText(answer.GetGroup()))
}

func deleteGroup(ctx context.Context, s *session) error {
	name, vpc, err := s.nameInVPC()
	if err != nil {
		return err
	}
	answer, err := call(ctx, s.groups.DeleteGroup, &edgenetv1.DeleteGroupRequest{Name: name, Vpc: vpc})
	if err != nil {
		return failed("delete group "+name, err)
	}
	return s.printAnswer(answer, fmt.Sprintf("group %s of VPC %s deleted", name, vpc))
}
