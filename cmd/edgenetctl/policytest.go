package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	edgenetv1 "edgenet.dev/edgenet/api/edgenet/v1"
	"edgenet.dev/edgenet/pkg/policy"
)

// forceFlag makes a change whatever it breaks.
func forceFlag() cli.Flag {
	return &cli.BoolFlag{Name: "force", Usage: "make the change even if it breaks policy tests; audit list shows who did"}
}

func (e *env) policyCommand() *cli.Command {
	return &cli.Command{
		Name:        "policy",
		Usage:       "test what security groups do",
		Description: "edgenetctl policy test run --vpc blue",
		Subcommands: []*cli.Command{{
			Name:        "test",
			Usage:       "keep assertions with a VPC that no change may break",
			Description: "edgenetctl policy test add nobody reaches db:22 --vpc blue",
			Subcommands: []*cli.Command{
				{
					Name:      "add",
					Usage:     "keep an assertion; from then on changes that break it are refused",
					ArgsUsage: "ASSERTION --vpc VPC [--force]",
					Description: "edgenetctl policy test add web-1 reaches db-1:5432 --vpc blue\n" +
						"edgenetctl policy test add group:web reaches db-1:udp/53 --vpc blue\n" +
						"edgenetctl policy test add nobody reaches db-1:22 --vpc blue",
					Flags:  []cli.Flag{vpcFlag(), forceFlag()},
					Action: e.action(addTest),
				}, {
					Name:        "list",
					Usage:       "list the assertions of one VPC, or of all",
					ArgsUsage:   "[--vpc VPC]",
					Description: "edgenetctl policy test list --vpc blue",
					Flags:       []cli.Flag{filterByVPC()},
					Action:      e.action(listTests),
				}, {
					Name:        "remove",
					Usage:       "remove an assertion; audit list shows who did",
					ArgsUsage:   "ASSERTION --vpc VPC",
					Description: "edgenetctl policy test remove nobody reaches db-1:22 --vpc blue",
					Flags:       []cli.Flag{vpcFlag()},
					Action:      e.action(removeTest),
				}, {
					Name:        "run",
					Usage:       "check the assertions of one VPC, or of all; exit code 1 if one is broken",
					ArgsUsage:   "[--vpc VPC]",
					Description: "edgenetctl policy test run --vpc blue\nedgenetctl policy test run -o json",
					Flags:       []cli.Flag{filterByVPC()},
					Action:      e.action(runTests),
				},
			},
		}},
	}
}

// assertion is the one argument of commands on a policy test, which may be
// several words.
func (s *session) assertion() (text, vpc string, err error) {
	text = strings.Join(s.flags.Args().Slice(), " ")
	if text == "" {
		return "", "", usagef("ASSERTION is missing")
	}
	if vpc, err = s.required("vpc"); err != nil {
		return "", "", err
	}
	return text, vpc, asUsage(policy.ValidateName(vpc))
}

func addTest(ctx context.Context, s *session) error {
	text, vpc, err := s.assertion()
	if err != nil {
		return err
	}
	if _, err := policy.ParseAssertion(text); err != nil {
		return asUsage(err)
	}
	answer, err := call(ctx, s.policies.AddTest, &edgenetv1.AddTestRequest{Vpc: vpc, Assertion: text, Force: s.flags.Bool("force")})
	if err != nil {
		return failed("add policy test", err)
	}
	added := answer.GetTest()
	said := fmt.Sprintf("policy test of VPC %s added: %s", vpc, added.GetAssertion())
	if added.GetWhy() != "" {
		said += fmt.Sprintf(" (%s: %s)", added.GetState(), added.GetWhy())
	}
	return s.printAnswer(added, printable(said))
}

func removeTest(ctx context.Context, s *session) error {
	text, vpc, err := s.assertion()
	if err != nil {
		return err
	}
	answer, err := call(ctx, s.policies.RemoveTest, &edgenetv1.RemoveTestRequest{Vpc: vpc, Assertion: text})
	if err != nil {
		return failed("remove policy test", err)
	}
	return s.printAnswer(answer, printable(fmt.Sprintf("policy test of VPC %s removed: %s", vpc, text)))
}

func listTests(ctx context.Context, s *session) error {
	if _, err := s.arguments(); err != nil {
		return err
	}
	answer, err := call(ctx, s.policies.ListTests, &edgenetv1.ListTestsRequest{Vpc: s.flags.String("vpc")})
	if err != nil {
		return failed("list policy tests", err)
	}
	return printList(s, "policy tests", answer.GetTests(), []column[*edgenetv1.PolicyTest]{
		{"VPC", (*edgenetv1.PolicyTest).GetVpc},
		{"ASSERTION", (*edgenetv1.PolicyTest).GetAssertion},
		{"CREATED", func(t *edgenetv1.PolicyTest) string { return s.when(t.GetCreated()) }},
	})
}

func runTests(ctx context.Context, s *session) error {
	if _, err := s.arguments(); err != nil {
		return err
	}
	answer, err := call(ctx, s.policies.RunTests, &edgenetv1.RunTestsRequest{Vpc: s.flags.String("vpc")})
	if err != nil {
		return failed("run policy tests", err)
	}
	if err := printList(s, "policy tests", answer.GetTests(), []column[*edgenetv1.PolicyTest]{
		{"VPC", (*edgenetv1.PolicyTest).GetVpc},
		{"STATE", (*edgenetv1.PolicyTest).GetState},
		{"ASSERTION", (*edgenetv1.PolicyTest).GetAssertion},
		{"WHY", (*edgenetv1.PolicyTest).GetWhy},
	}); err != nil {
		return err
	}
	broken := 0
	for _, t := range answer.GetTests() {
		if t.GetState() == "broken" {
			broken++
		}
	}
	if broken > 0 {
		return fmt.Errorf("%d of %s broken", broken, plural(len(answer.GetTests()), "policy test is", "policy tests are"))
	}
	return nil
}
