package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/urfave/cli/v2"

	edgenetv1 "edgenet.dev/edgenet/api/edgenet/v1"
	"edgenet.dev/edgenet/pkg/policy"
)

// contentFlags are the flags that say what a rule permits.
var contentFlags = []string{"direction", "proto", "ports", "from", "to"}

func (e *env) ruleCommand() *cli.Command {
	const content = "--direction ingress|egress --proto tcp|udp|icmp|any [--ports LIST] --from|--to CIDR|group:NAME|any"
	flags := func() []cli.Flag {
		return []cli.Flag{
			vpcFlag(),
			&cli.StringFlag{Name: "direction", Usage: "`DIRECTION` as the endpoint sees it: ingress or egress"},
			&cli.StringFlag{Name: "proto", Usage: "`PROTOCOL`: tcp, udp, icmp or any"},
			&cli.StringFlag{Name: "ports", Usage: "`LIST` of destination ports of tcp or udp, as 80,8000-8100 (default all)"},
			&cli.StringFlag{Name: "from", Usage: "`PEER` that ingress comes from: a CIDR, an address, group:NAME or any"},
			&cli.StringFlag{Name: "to", Usage: "`PEER` that egress goes to: a CIDR, an address, group:NAME or any"},
		}
	}
	return &cli.Command{
		Name:        "rule",
		Usage:       "add and remove the rules of a group",
		Description: "edgenetctl group rule add web --vpc blue --direction ingress --proto tcp --ports 80 --from any",
		Subcommands: []*cli.Command{
			{
				Name:      "add",
				Usage:     "permit traffic; in force at once on every host",
				ArgsUsage: "NAME --vpc VPC " + content,
				Description: "edgenetctl group rule add web --vpc blue --direction ingress --proto tcp --ports 80,8000-8100 --from any\n" +
					"edgenetctl group rule add db --vpc blue --direction ingress --proto tcp --ports 5432 --from group:web\n" +
					"edgenetctl group rule add db --vpc blue --direction egress --proto any --to 10.0.0.0/24",
				Flags:  flags(),
				Action: e.action(addRule),
			}, {
				Name:      "remove",
				Usage:     "remove a rule, named by its id or by what it says",
				ArgsUsage: "NAME --vpc VPC (--id ID | " + content + ")",
				Description: "edgenetctl group rule remove web --vpc blue --id ed85265da606\n" +
					"edgenetctl group rule remove web --vpc blue --direction ingress --proto tcp --ports 80,8000-8100 --from any",
				Flags:  append(flags(), &cli.StringFlag{Name: "id", Usage: "`ID` of the rule, from group show"}),
				Action: e.action(removeRule),
			},
		},
	}
}

func addRule(ctx context.Context, s *session) error {
	group, vpc, err := s.nameInVPC()
	if err != nil {
		return err
	}
	rule, err := s.rule()
	if err != nil {
		return err
	}
	answer, err := call(ctx, s.groups.AddRule, &edgenetv1.AddRuleRequest{Group: group, Vpc: vpc, Rule: fromRule(rule)})
	if err != nil {
		return failed("add rule to group "+group, err)
	}
	return s.printAnswer(answer.GetGroup(), fmt.Sprintf("group %s: rule %s added: %s", group, rule.ID(), rule))
}

func removeRule(ctx context.Context, s *session) error {
	group, vpc, err := s.nameInVPC()
	if err != nil {
		return err
	}
	wanted, text, err := s.ruleToRemove()
	if err != nil {
		return err
	}
	answer, err := call(ctx, s.groups.RemoveRule, &edgenetv1.RemoveRuleRequest{Group: group, Vpc: vpc, Rule: wanted})
	if err != nil {
		return failed("remove rule from group "+group, err)
	}
	return s.printAnswer(answer.GetGroup(), fmt.Sprintf("group %s: rule %s removed", group, text))
}

// ruleToRemove is a rule by its id or by its content, and the same in words.
func (s *session) ruleToRemove() (*edgenetv1.Rule, string, error) {
	id := s.flags.String("id")
	if id == "" {
		rule, err := s.rule()
		if err != nil {
			return nil, "", err
		}
		return fromRule(rule), fmt.Sprintf("%s (%s)", rule.ID(), rule), nil
	}
	for _, flag := range contentFlags {
		if s.flags.IsSet(flag) {
			return nil, "", usagef("--id and --%s exclude each other", flag)
		}
	}
	return &edgenetv1.Rule{Id: id}, id, nil
}

// rule reads a rule from the flags; every error is one of usage.
func (s *session) rule() (policy.Rule, error) {
	text, err := s.required("direction")
	if err != nil {
		return policy.Rule{}, err
	}
	direction, err := policy.ParseDirection(text)
	if err != nil {
		return policy.Rule{}, asUsage(err)
	}
	protocol, err := s.required("proto")
	if err != nil {
		return policy.Rule{}, err
	}
	peer, err := s.peer(direction)
	if err != nil {
		return policy.Rule{}, asUsage(err)
	}
	var ports []string
	if s.flags.IsSet("ports") {
		ports = []string{s.flags.String("ports")}
	}
	rule, err := policy.ParseRule(policy.RuleText{Direction: text, Protocol: protocol, Ports: ports, Peer: peer})
	return rule, asUsage(err)
}

// peer is the other side, from the flag that goes with the direction.
func (s *session) peer(direction policy.Direction) (string, error) {
	from, to := s.flags.IsSet("from"), s.flags.IsSet("to")
	switch {
	case from && to:
		return "", errors.New("--from and --to exclude each other: --from is for ingress, --to for egress")
	case direction == policy.Ingress && to:
		return "", errors.New("--to is for egress: write --from for ingress")
	case direction == policy.Egress && from:
		return "", errors.New("--from is for ingress: write --to for egress")
	case direction == policy.Ingress && !from:
		return "", errors.New("--from is missing")
	case direction == policy.Egress && !to:
		return "", errors.New("--to is missing")
	}
	return s.flags.String("from") + s.flags.String("to"), nil
}

// fromRule is a rule as the API writes it.
func fromRule(r policy.Rule) *edgenetv1.Rule {
	rule := &edgenetv1.Rule{
		Direction: r.Direction.String(),
		Protocol:  r.Protocol.String(),
		Peer:      r.Peer.String(),
	}
	for _, p := range r.Ports {
		rule.Ports = append(rule.Ports, p.String())
	}
	return rule
}
