package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	edgenetv1 "edgenet.dev/edgenet/api/edgenet/v1"
	"edgenet.dev/edgenet/pkg/policy"
)

func (e *env) shadowCommand() *cli.Command {
	return &cli.Command{
		Name:        "shadow",
		Usage:       "try candidate rules beside those in force: they only count",
		Description: "edgenetctl group shadow show --vpc blue",
		Subcommands: []*cli.Command{
			{
				Name:        "apply",
				Usage:       "let candidate rules count; groups that are not named stay as they are",
				ArgsUsage:   "[NAME] --vpc VPC --file FILE|-",
				Description: "edgenetctl group shadow apply --vpc blue --file -",
				Flags:       []cli.Flag{vpcFlag(), groupFileFlag()},
				Action:      e.action(applyShadow),
			}, {
				Name:        "show",
				Usage:       "show what the candidate would have allowed and dropped, on all nodes",
				ArgsUsage:   "--vpc VPC",
				Description: "edgenetctl group shadow show --vpc blue",
				Flags:       []cli.Flag{vpcFlag()},
				Action:      e.action(showShadow),
			}, {
				Name:        "promote",
				Usage:       "bring the candidate rules into force, in one change",
				ArgsUsage:   "--vpc VPC [--force]",
				Description: "edgenetctl group shadow promote --vpc blue",
				Flags:       []cli.Flag{vpcFlag(), forceFlag()},
				Action:      e.action(promoteShadow),
			}, {
				Name:        "drop",
				Usage:       "forget the candidate rules",
				ArgsUsage:   "--vpc VPC",
				Description: "edgenetctl group shadow drop --vpc blue",
				Flags:       []cli.Flag{vpcFlag()},
				Action:      e.action(dropShadow),
			},
		},
	}
}

// onlyVPC is the VPC of commands that have no argument.
func (s *session) onlyVPC() (string, error) {
	if _, err := s.arguments(); err != nil {
		return "", err
	}
	vpc, err := s.required("vpc")
	if err != nil {
		return "", err
	}
	return vpc, asUsage(policy.ValidateName(vpc))
}

func applyShadow(ctx context.Context, s *session) error {
	wanted, err := s.replacement()
	if err != nil {
		return err
	}
	answer, err := call(ctx, s.policies.ApplyShadow, &edgenetv1.ApplyShadowRequest{Vpc: wanted.GetVpc(), Groups: wanted.GetGroups()})
	if err != nil {
		return failed("apply shadow", err)
	}
	return s.printAnswer(answer, fmt.Sprintf("VPC %s has candidate rules for %s now; they only count",
		wanted.GetVpc(), plural(len(wanted.GetGroups()), "group", "groups")))
}

func promoteShadow(ctx context.Context, s *session) error {
	vpc, err := s.onlyVPC()
	if err != nil {
		return err
	}
	answer, err := call(ctx, s.policies.PromoteShadow, &edgenetv1.PromoteShadowRequest{Vpc: vpc, Force: s.flags.Bool("force")})
	if err != nil {
		return failed("promote shadow", err)
	}
	if s.format != formatTable {
		return printList(s, "groups", answer.GetGroups(), nil)
	}
	return s.printAnswer(answer, fmt.Sprintf("candidate rules of VPC %s are in force, in %s", vpc, plural(len(answer.GetGroups()), "group", "groups")))
}

func dropShadow(ctx context.Context, s *session) error {
	vpc, err := s.onlyVPC()
	if err != nil {
		return err
	}
	answer, err := call(ctx, s.policies.DropShadow, &edgenetv1.DropShadowRequest{Vpc: vpc})
	if err != nil {
		return failed("drop shadow", err)
	}
	return s.printAnswer(answer, fmt.Sprintf("candidate rules of VPC %s dropped", vpc))
}

func showShadow(ctx context.Context, s *session) error {
	vpc, err := s.onlyVPC()
	if err != nil {
		return err
	}
	answer, err := call(ctx, s.policies.GetShadow, &edgenetv1.GetShadowRequest{Vpc: vpc})
	if err != nil {
		return failed("show shadow", err)
	}
	return s.printAnswer(answer, s.shadowText(vpc, answer))
}

func (s *session) shadowText(vpc string, a *edgenetv1.GetShadowResponse) string {
	var groups []string
	for _, g := range a.GetGroups() {
		groups = append(groups, g.GetName())
	}
	head := []detail{
		{"VPC", vpc},
		{"Groups", list(groups)},
		{"Counts since", s.when(a.GetCreated())},
		{"Counted on", list(a.GetNodes())},
	}
	for _, node := range slices.Sorted(maps.Keys(a.GetMissing())) {
		head = append(head, detail{"Not counted", node + ": " + a.GetMissing()[node]})
	}
	parts := []string{details(head)}
	if len(a.GetRules()) > 0 {
		parts = append(parts, table(a.GetRules(), []column[*edgenetv1.RuleCount]{
			{"GROUP", (*edgenetv1.RuleCount).GetGroup},
			{"WOULD ALLOW", func(c *edgenetv1.RuleCount) string { return decimal(c.GetWouldAllow()) }},
			{"WOULD DROP", func(c *edgenetv1.RuleCount) string { return decimal(c.GetWouldDrop()) }},
			{"HITS", func(c *edgenetv1.RuleCount) string { return decimal(c.GetHits()) }},
			{"SET", ruleSet},
			{"RULE", func(c *edgenetv1.RuleCount) string { return ruleLine(c.GetRule()) }},
		}))
	}
	if len(a.GetEndpoints()) == 0 {
		parts = append(parts, "No flow came that the candidate judges otherwise.")
	} else {
		parts = append(parts, table(a.GetEndpoints(), []column[*edgenetv1.EndpointCount]{
			{"ENDPOINT", (*edgenetv1.EndpointCount).GetEndpoint},
			{"NODE", (*edgenetv1.EndpointCount).GetNode},
			{"WOULD ALLOW", func(c *edgenetv1.EndpointCount) string { return decimal(c.GetWouldAllow()) }},
			{"WOULD DROP", func(c *edgenetv1.EndpointCount) string { return decimal(c.GetWouldDrop()) }},
		}))
	}
	if len(a.GetSamples()) > 0 {
		parts = append(parts, table(a.GetSamples(), []column[*edgenetv1.ShadowSample]{
			{"SEEN", func(f *edgenetv1.ShadowSample) string { return s.when(f.GetTime()) }},
			{"ENDPOINT", (*edgenetv1.ShadowSample).GetEndpoint},
			{"DIRECTION", (*edgenetv1.ShadowSample).GetDirection},
			{"FROM", (*edgenetv1.ShadowSample).GetSource},
			{"TO", (*edgenetv1.ShadowSample).GetDestination},
			{"FLOW", func(f *edgenetv1.ShadowSample) string { return service(f.GetProtocol(), f.GetPort(), "") }},
			{"EFFECT", (*edgenetv1.ShadowSample).GetEffect},
			{"RULE", (*edgenetv1.ShadowSample).GetRule},
			{"CANDIDATE", (*edgenetv1.ShadowSample).GetCandidateRule},
		}))
	}
	for i := range parts {
		parts[i] = strings.TrimSuffix(parts[i], "\n")
	}
	return strings.Join(parts, "\n\n")
}

func decimal(n uint64) string { return strconv.FormatUint(n, 10) }

// ruleSet says in which of the two sets a rule is.
func ruleSet(c *edgenetv1.RuleCount) string {
	if c.GetCandidate() {
		return "candidate"
	}
	return "in force"
}
