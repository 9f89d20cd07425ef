package main

import (
	"context"
	"fmt"

	"github.com/urfave/cli/v2"

	edgenetv1 "edgenet.dev/edgenet/api/edgenet/v1"
	"edgenet.dev/edgenet/pkg/tunnel"
)

func (e *env) tunnelCommand() *cli.Command {
	force := &cli.BoolFlag{Name: "force", Usage: "make the change even if it leaves nodes without a tunnel"}
	return &cli.Command{
		Name:        "tunnel",
		Usage:       "see what encrypts between nodes, and say what has to",
		Description: "edgenetctl tunnel list",
		Subcommands: []*cli.Command{
			{
				Name:        "list",
				Usage:       "list the tunnel to every other node: what it is and why, or what is wrong with it",
				Description: "edgenetctl tunnel list\nedgenetctl tunnel list -o json | jq -r '.[] | select(.driver == \"\") | .node + \": \" + .why'",
				Action:      e.action(listTunnels),
			}, {
				Name:        "show",
				Usage:       "show all that is known of the tunnel to one node",
				ArgsUsage:   "NAME|ID",
				Description: "edgenetctl tunnel show edge-1\nedgenetctl tunnel show edge-1 -o json | jq -r '.tunnel.problems[].message'",
				Action:      e.action(showTunnel),
			}, {
				Name:        "watch",
				Usage:       "show how each tunnel is, then every change as it happens, until interrupted",
				ArgsUsage:   "[--node NAME|ID]...",
				Description: "edgenetctl tunnel watch --node edge-1\nedgenetctl tunnel watch -o json | jq -r 'select(.event.type == \"down\") | .event.node + \": \" + .event.why'",
				Flags:       []cli.Flag{&cli.StringSliceFlag{Name: "node", Usage: "only the tunnel to `NAME`; repeatable"}},
				Action:      e.action(watchTunnels),
			}, {
				Name:  "rotate",
				Usage: "replace the keys of this node's tunnels, without a loss, and wait for that",
				Description: "edgenetctl tunnel rotate\n" +
					"edgenetctl tunnel rotate -o json | jq -e '.silent == []'",
				Action: e.action(rotateKeys),
			}, {
				Name:        "policy",
				Usage:       "say what pairs of nodes have to use; others use the fastest that both have",
				Description: "edgenetctl tunnel policy show",
				Subcommands: []*cli.Command{
					{
						Name:        "show",
						Usage:       "list the rules in the order in which they are looked at",
						Description: "edgenetctl tunnel policy show",
						Action:      e.action(showTunnelPolicy),
					}, {
						Name:      "set",
						Usage:     "have pairs of nodes use one technology, and none other",
						ArgsUsage: "any|ROLE-ROLE|node:NAME,node:NAME wireguard|ipsec [--force]",
						Description: "edgenetctl tunnel policy set cloud-edge ipsec\n" +
							"edgenetctl tunnel policy set node:edge-1,node:edge-2 wireguard\nedgenetctl tunnel policy set any wireguard",
						Flags:  []cli.Flag{force},
						Action: e.action(setTunnelRule),
					}, {
						Name:        "remove",
						Usage:       "remove a rule",
						ArgsUsage:   "any|ROLE-ROLE|node:NAME,node:NAME [--force]",
						Description: "edgenetctl tunnel policy remove cloud-edge",
						Flags:       []cli.Flag{force},
						Action:      e.action(removeTunnelRule),
					},
				},
			},
		},
	}
}

func rotateKeys(ctx context.Context, s *session) error {
	if _, err := s.arguments(); err != nil {
		return err
	}
	answer, err := call(ctx, s.tunnels.RotateKeys, &edgenetv1.RotateKeysRequest{})
	if err != nil {
		return failed("rotate tunnel keys", err)
	}
	lines := []detail{{"WireGuard key", answer.GetKey().GetPublicKey()}, {"Age", s.keyAge(answer.GetKey())}}
	if n := answer.GetIkeSas(); n > 0 {
		lines = append(lines, detail{"IPsec", fmt.Sprintf("%d IKE SAs and their children have new keys", n)})
	}
	for _, node := range answer.GetSilent() {
		lines = append(lines, detail{"Not confirmed", node})
	}
	for _, problem := range answer.GetProblems() {
		lines = append(lines, detail{"Problem", problem})
	}
	return s.printAnswer(answer, details(lines))
}

// keyAge says how old a key is, and what becomes of it.
func (s *session) keyAge(k *edgenetv1.TunnelKey) string {
	text := "made " + s.when(k.GetMade())
	if k.GetExpires() != nil {
		text += ", is replaced " + s.when(k.GetExpires())
	}
	if k.GetRotation() != "" {
		text += "; being replaced: " + k.GetRotation()
	}
	return text
}

func showTunnelPolicy(ctx context.Context, s *session) error {
	if _, err := s.arguments(); err != nil {
		return err
	}
	answer, err := call(ctx, s.tunnels.GetTunnelPolicy, &edgenetv1.GetTunnelPolicyRequest{})
	if err != nil {
		return failed("show tunnel policy", err)
	}
	return printList(s, "rules: all pairs of nodes use the fastest that both have", answer.GetRules(), []column[*edgenetv1.TunnelRule]{
		{"BETWEEN", (*edgenetv1.TunnelRule).GetBetween},
		{"TECHNOLOGY", (*edgenetv1.TunnelRule).GetTechnology},
	})
}

func setTunnelRule(ctx context.Context, s *session) error {
	args, err := s.arguments("which nodes", "wireguard or ipsec")
	if err != nil {
		return err
	}
	between, err := tunnel.ParseSelector(args[0])
	if err != nil {
		return asUsage(err)
	}
	technology, err := tunnel.ParseTechnology(args[1])
	if err != nil {
		return asUsage(err)
	}
	answer, err := call(ctx, s.tunnels.SetTunnelRule, &edgenetv1.SetTunnelRuleRequest{
		Rule:  &edgenetv1.TunnelRule{Between: between.String(), Technology: string(technology)},
		Force: s.flags.Bool("force"),
	})
	if err != nil {
		return failed("set tunnel policy", err)
	}
	rule := answer.GetRule()
	return s.printAnswer(rule, printable(fmt.Sprintf("tunnel policy set: %s: %s", rule.GetBetween(), rule.GetTechnology())))
}

func removeTunnelRule(ctx context.Context, s *session) error {
	args, err := s.arguments("which nodes")
	if err != nil {
		return err
	}
	between, err := tunnel.ParseSelector(args[0])
	if err != nil {
		return asUsage(err)
	}
	answer, err := call(ctx, s.tunnels.RemoveTunnelRule, &edgenetv1.RemoveTunnelRuleRequest{Between: between.String(), Force: s.flags.Bool("force")})
	if err != nil {
		return failed("remove tunnel policy", err)
	}
	return s.printAnswer(answer, fmt.Sprintf("tunnel policy removed: %s", between))
}
