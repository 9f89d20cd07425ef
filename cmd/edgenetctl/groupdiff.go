package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	edgenetv1 "edgenet.dev/edgenet/api/edgenet/v1"
)

// exitDifferent is the exit code of a comparison that found a difference. 1, as
// diff(1) has it, says that it could not be made.
const exitDifferent = 3

// differentError ends a comparison that found a difference, with nothing more to
// say.
type differentError struct{}

func (differentError) Error() string { return "there are differences" }

func groupFileFlag() cli.Flag {
	return &cli.StringFlag{Name: "file", Aliases: []string{"f"}, Usage: "`FILE` of YAML or JSON, as group show and group list write it, or - for stdin"}
}

func (e *env) diffCommand() *cli.Command {
	return &cli.Command{
		Name:        "diff",
		Usage:       fmt.Sprintf("say what other rules of a group, or of several, would change; exit code %d if anything", exitDifferent),
		ArgsUsage:   "[NAME] --vpc VPC --file FILE|-",
		Description: "edgenetctl group diff web --vpc blue --file -\nedgenetctl group diff --vpc blue --file -",
		Flags:       []cli.Flag{vpcFlag(), groupFileFlag()},
		Action:      e.action(diffGroups),
	}
}

func diffGroups(ctx context.Context, s *session) error {
	wanted, err := s.replacement()
	if err != nil {
		return err
	}
	answer, err := call(ctx, s.policies.DiffGroups, &edgenetv1.DiffGroupsRequest{Vpc: wanted.GetVpc(), Groups: wanted.GetGroups()})
	if err != nil {
		return failed("compare groups", err)
	}
	if err := s.printAnswer(answer, diffText(answer)); err != nil {
		return err
	}
	if len(answer.GetRules()) > 0 {
		return differentError{}
	}
	return nil
}

// diffText shows rules with a sign for each, then what they would do.
func diffText(a *edgenetv1.DiffGroupsResponse) string {
	if len(a.GetRules()) == 0 {
		return "no differences"
	}
	var b strings.Builder
	for _, c := range a.GetRules() {
		if c.GetBefore() != nil {
			fmt.Fprintf(&b, "- %s: %s\n", c.GetGroup(), printable(ruleLine(c.GetBefore())))
		}
		if c.GetAfter() != nil {
			fmt.Fprintf(&b, "+ %s: %s\n", c.GetGroup(), printable(ruleLine(c.GetAfter())))
		}
	}
	fmt.Fprintf(&b, "\nFlows that would pass, and do not: %s\nFlows that would be dropped, and pass: %s",
		kinds(a.GetAllowed()), kinds(a.GetDropped()))
	if len(a.GetSamples()) > 0 {
		b.WriteString("\n\n" + strings.TrimSuffix(table(a.GetSamples(), []column[*edgenetv1.FlowChange]{
			{"FROM", func(f *edgenetv1.FlowChange) string { return party(f.GetSourceEndpoint(), f.GetSource()) }},
			{"TO", func(f *edgenetv1.FlowChange) string { return party(f.GetDestinationEndpoint(), f.GetDestination()) }},
			{"FLOW", changedService},
			{"NOW", (*edgenetv1.FlowChange).GetBefore},
			{"THEN", (*edgenetv1.FlowChange).GetAfter},
			{"BECAUSE", (*edgenetv1.FlowChange).GetAfterWhy},
		}), "\n"))
	}
	if a.GetPartial() {
		b.WriteString("\n\nThere was too much to compare: the numbers are too low.")
	}
	for _, t := range a.GetBroken() {
		fmt.Fprintf(&b, "\n\nWould break the policy test %q: %s", printable(t.GetAssertion()), printable(t.GetWhy()))
	}
	return b.String()
}

// kinds is a number of kinds of flows.
func kinds(n uint64) string {
	switch n {
	case 0:
		return "none"
	case 1:
		return "1 kind"
	}
	return fmt.Sprintf("%d kinds", n)
}

// party is an endpoint and its address.
func party(name, address string) string {
	if name == "" {
		return address
	}
	return name + " (" + address + ")"
}

// service is a protocol and its port, as "tcp/80", or its type and code.
func service(protocol string, port uint32, icmp string) string {
	switch {
	case icmp != "":
		return protocol + "/" + icmp
	case port != 0:
		return protocol + "/" + strconv.FormatUint(uint64(port), 10)
	}
	return protocol
}

// changedService is the service of a change, or all that change alike.
func changedService(f *edgenetv1.FlowChange) string {
	text := service(f.GetProtocol(), f.GetPort(), f.GetIcmp())
	if f.GetLastPort() > f.GetPort() {
		text += fmt.Sprintf("-%d", f.GetLastPort())
	}
	return text
}

// ruleLine is a rule in one line.
func ruleLine(r *edgenetv1.Rule) string {
	words := []string{r.GetId(), r.GetDirection(), ruleAction(r), "priority", strconv.Itoa(int(r.GetPriority())), r.GetProtocol()}
	if ports := rulePorts(r); ports != "all" {
		words = append(words, ports)
	}
	words = append(words, map[string]string{"ingress": "from", "egress": "to"}[r.GetDirection()], rulePeer(r))
	if r.GetDescription() != "" {
		words = append(words, strconv.Quote(r.GetDescription()))
	}
	return strings.Join(words, " ")
}
