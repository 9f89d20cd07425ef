package main

import (
	"context"
	"fmt"

	"github.com/urfave/cli/v2"

	edgenetv1 "edgenet.dev/edgenet/api/edgenet/v1"
)

func (e *env) ruleCommand() *cli.Command {
	id := func() cli.Flag { return &cli.StringFlag{Name: "id", Usage: "`ID` of the rule, from group show"} }
	return &cli.Command{
		Name:        "rule",
		Usage:       "add, remove and change the rules of a group",
		Description: "edgenetctl group rule add web --vpc blue --direction ingress --proto tcp --ports 80 --from any",
		Subcommands: []*cli.Command{
			{
				Name:      "add",
				Usage:     "allow or deny traffic; in force at once on every host",
				ArgsUsage: "NAME --vpc VPC " + ruleSynopsis + " [--description TEXT] [--disabled] [--force]",
				Description: "edgenetctl group rule add web --vpc blue --direction ingress --proto tcp --ports 80,8000-8100 --from any\n" +
					"edgenetctl group rule add db --vpc blue --direction ingress --proto tcp --ports 5432 --from group:web\n" +
					"edgenetctl group rule add db --vpc blue --direction egress --proto any --to 10.0.0.0/24 --except 10.0.0.64/26\n" +
					"edgenetctl group rule add web --vpc blue --direction ingress --action deny --priority 10 --proto any --from 10.0.0.66\n" +
					"edgenetctl group rule add web --vpc blue --direction ingress --proto icmp --icmp-type 8 --from any",
				Flags: append(contentFlags(),
					&cli.StringFlag{Name: "description", Usage: "`TEXT` for people, at most 255 bytes"},
					&cli.BoolFlag{Name: "disabled", Usage: "add it as one that does not count"},
					forceFlag()),
				Action: e.action(addRule),
			}, {
				Name:      "remove",
				Usage:     "remove a rule, named by its id or by what it says",
				ArgsUsage: "NAME --vpc VPC (--id ID | " + ruleSynopsis + ") [--force]",
				Description: "edgenetctl group rule remove web --vpc blue --id ed85265da606\n" +
					"edgenetctl group rule remove web --vpc blue --direction ingress --proto tcp --ports 80,8000-8100 --from any",
				Flags:  append(contentFlags(), id(), forceFlag()),
				Action: e.action(removeRule),
			}, {
				Name:        "disable",
				Usage:       "let a rule count no longer, and keep it",
				ArgsUsage:   "NAME --vpc VPC --id ID [--force]",
				Description: "edgenetctl group rule disable web --vpc blue --id ed85265da606",
				Flags:       []cli.Flag{vpcFlag(), id(), forceFlag()},
				Action:      e.action(func(ctx context.Context, s *session) error { return setDisabled(ctx, s, "disabled", true) }),
			}, {
				Name:        "enable",
				Usage:       "let a disabled rule count again",
				ArgsUsage:   "NAME --vpc VPC --id ID [--force]",
				Description: "edgenetctl group rule enable web --vpc blue --id ed85265da606",
				Flags:       []cli.Flag{vpcFlag(), id(), forceFlag()},
				Action:      e.action(func(ctx context.Context, s *session) error { return setDisabled(ctx, s, "enabled", false) }),
			}, {
				Name:        "describe",
				Usage:       "change what people are told of a rule",
				ArgsUsage:   "NAME --vpc VPC --id ID --description TEXT",
				Description: "edgenetctl group rule describe web --vpc blue --id ed85265da606 --description ticket-4711",
				Flags: []cli.Flag{
					vpcFlag(), id(),
					&cli.StringFlag{Name: "description", Usage: "`TEXT` for people, at most 255 bytes; empty removes it"},
				},
				Action: e.action(describeRule),
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
	answer, err := call(ctx, s.groups.AddRule, &edgenetv1.AddRuleRequest{Group: group, Vpc: vpc, Rule: fromRule(rule), Force: s.flags.Bool("force")})
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
	answer, err := call(ctx, s.groups.RemoveRule, &edgenetv1.RemoveRuleRequest{Group: group, Vpc: vpc, Rule: wanted, Force: s.flags.Bool("force")})
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
	for _, flag := range contentFlags() {
		if name := flag.Names()[0]; name != "vpc" && s.flags.IsSet(name) {
			return nil, "", usagef("--id and --%s exclude each other", name)
		}
	}
	return &edgenetv1.Rule{Id: id}, id, nil
}

func setDisabled(ctx context.Context, s *session, word string, disabled bool) error {
	request, err := s.ruleUpdate()
	if err != nil {
		return err
	}
	request.Disabled = &disabled
	return updateRule(ctx, s, request, word)
}

func describeRule(ctx context.Context, s *session) error {
	request, err := s.ruleUpdate()
	if err != nil {
		return err
	}
	if !s.flags.IsSet("description") {
		return usagef("--description is missing")
	}
	text := s.flags.String("description")
	request.Description = &text
	return updateRule(ctx, s, request, "described")
}

// ruleUpdate names the rule that is to be changed.
func (s *session) ruleUpdate() (*edgenetv1.UpdateRuleRequest, error) {
	group, vpc, err := s.nameInVPC()
	if err != nil {
		return nil, err
	}
	id, err := s.required("id")
	return &edgenetv1.UpdateRuleRequest{Group: group, Vpc: vpc, Id: id, Force: s.flags.Bool("force")}, err
}

func updateRule(ctx context.Context, s *session, request *edgenetv1.UpdateRuleRequest, word string) error {
	answer, err := call(ctx, s.groups.UpdateRule, request)
	if err != nil {
		return failed("change rule of group "+request.GetGroup(), err)
	}
	return s.printAnswer(answer.GetGroup(), fmt.Sprintf("group %s: rule %s %s", request.GetGroup(), request.GetId(), word))
}
