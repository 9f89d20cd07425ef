package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/goccy/go-yaml"
	"github.com/urfave/cli/v2"

	edgenetv1 "edgenet.dev/edgenet/api/edgenet/v1"
	"edgenet.dev/edgenet/pkg/policy"
)

func (e *env) replaceCommand() *cli.Command {
	return &cli.Command{
		Name:      "replace",
		Usage:     "give a group, or several at once, all new rules from a file",
		ArgsUsage: "[NAME] --vpc VPC --file FILE|- [--force]",
		Description: "edgenetctl group replace web --vpc blue --file -\n" +
			"edgenetctl group replace --vpc blue --file -",
		Flags:  []cli.Flag{vpcFlag(), groupFileFlag(), forceFlag()},
		Action: e.action(replaceGroups),
	}
}

// groupFile is a group as group show writes it. What does not say what the group
// is to be is read over.
type groupFile struct {
	Name    string     `yaml:"name"`
	VPC     string     `yaml:"vpc"`
	Rules   []ruleFile `yaml:"rules"`
	Created any        `yaml:"created"`
}

// ruleFile is a rule as group show writes it.
type ruleFile struct {
	ID          string   `yaml:"id"`
	Direction   string   `yaml:"direction"`
	Action      string   `yaml:"action"`
	Priority    *uint16  `yaml:"priority"`
	Protocol    string   `yaml:"protocol"`
	Ports       []string `yaml:"ports"`
	ICMP        string   `yaml:"icmp"`
	Peer        string   `yaml:"peer"`
	Except      []string `yaml:"except"`
	Description string   `yaml:"description"`
	Disabled    bool     `yaml:"disabled"`
}

func replaceGroups(ctx context.Context, s *session) error {
	request, err := s.replacement()
	if err != nil {
		return err
	}
	request.Force = s.flags.Bool("force")
	answer, err := call(ctx, s.groups.ReplaceGroups, request)
	if err != nil {
		return failed("replace rules", err)
	}
	rules := 0
	for _, g := range request.GetGroups() {
		rules += len(g.GetRules())
	}
	if s.flags.NArg() == 1 {
		return s.printAnswer(answer.GetGroups()[0], fmt.Sprintf("group %s has %s now", request.GetGroups()[0].GetName(), plural(rules, "rule", "rules")))
	}
	if s.format == formatTable {
		_, err := fmt.Fprintf(s.stdout, "%s of VPC %s have %s now\n",
			plural(len(request.GetGroups()), "group", "groups"), request.GetVpc(), plural(rules, "rule", "rules"))
		return err
	}
	return printList(s, "groups", answer.GetGroups(), nil)
}

// replacement reads the command line and the file.
func (s *session) replacement() (*edgenetv1.ReplaceGroupsRequest, error) {
	vpc, err := s.required("vpc")
	if err == nil {
		err = asUsage(policy.ValidateName(vpc))
	}
	if err != nil {
		return nil, err
	}
	path, err := s.required("file")
	if err != nil {
		return nil, err
	}
	name := ""
	if s.flags.NArg() > 0 {
		if name, err = s.name(); err != nil {
			return nil, err
		}
	}
	text, err := s.readFile(path)
	if err != nil {
		return nil, err
	}
	groups, err := parseGroupFile(text, name)
	if err != nil {
		return nil, asUsage(fmt.Errorf("%s: %w", path, err))
	}
	request := &edgenetv1.ReplaceGroupsRequest{Vpc: vpc}
	for _, g := range groups {
		if g.VPC != "" && g.VPC != vpc {
			return nil, usagef("%s: group %s is of VPC %s, not of %s", path, g.Name, g.VPC, vpc)
		}
		rules, err := g.rules()
		if err != nil {
			return nil, usagef("%s: group %s: %v", path, g.Name, err)
		}
		request.Groups = append(request.Groups, rules)
	}
	return request, nil
}

// readFile reads a file, or stdin if it is named "-".
func (s *session) readFile(path string) ([]byte, error) {
	if path != "-" {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("read rules: %w", err)
		}
		return text, nil
	}
	text, err := io.ReadAll(s.stdin)
	if err != nil {
		return nil, fmt.Errorf("read rules from stdin: %w", err)
	}
	return text, nil
}

// parseGroupFile reads one group if name is given: a list of rules, or an object
// with rules. Else it reads a list of such objects.
func parseGroupFile(text []byte, name string) ([]groupFile, error) {
	strict := func(into any) error {
		if err := yaml.UnmarshalWithOptions(text, into, yaml.Strict()); err != nil {
			return errors.New(yaml.FormatError(err, false, false))
		}
		return nil
	}
	if name == "" {
		var groups []groupFile
		err := strict(&groups)
		if err == nil && len(groups) == 0 {
			err = errors.New("it has no group: write a list of objects with name and rules, or name a group and write its rules")
		}
		for _, g := range groups {
			if err == nil && g.Rules == nil {
				err = fmt.Errorf("group %q: %w", g.Name, errNoRules)
			}
		}
		return groups, err
	}
	var form any
	if err := strict(&form); err != nil {
		return nil, err
	}
	g := groupFile{Name: name}
	switch form.(type) {
	case []any:
		err := strict(&g.Rules)
		return []groupFile{g}, err
	case map[string]any:
		err := strict(&g)
		if err == nil && g.Name != name {
			err = fmt.Errorf("it is of group %s, not of %s", g.Name, name)
		}
		if err == nil && g.Rules == nil {
			err = errNoRules
		}
		return []groupFile{g}, err
	default:
		return nil, errNoRules
	}
}

// errNoRules refuses a file that says nothing of rules. To take it for an empty
// list would close the group.
var errNoRules = errors.New("it has no rules: write a list of rules; [] is none")

// rules are the rules as the API has them.
func (g *groupFile) rules() (*edgenetv1.GroupRules, error) {
	out := &edgenetv1.GroupRules{Name: g.Name}
	for i, r := range g.Rules {
		text := policy.RuleText{
			Direction: r.Direction, Action: r.Action, Protocol: r.Protocol, Ports: r.Ports, ICMP: r.ICMP,
			Peer: r.Peer, Except: r.Except, Description: r.Description, Disabled: r.Disabled,
		}
		if r.Priority != nil {
			text.Priority = fmt.Sprint(*r.Priority)
		}
		rule, err := policy.ParseRule(text)
		if err != nil {
			return nil, fmt.Errorf("rule %d: %w", i+1, err)
		}
		out.Rules = append(out.Rules, fromRule(rule))
	}
	return out, nil
}
