package main

import (
	"errors"

	"github.com/urfave/cli/v2"

	edgenetv1 "edgenet.dev/edgenet/api/edgenet/v1"
	"edgenet.dev/edgenet/pkg/policy"
)

// ruleSynopsis is how a rule is written as flags.
const ruleSynopsis = "--direction ingress|egress [--action allow|deny] [--priority NUMBER] --proto tcp|udp|sctp|icmp|icmpv6|any [--ports LIST] " +
	"[--icmp-type NUMBER [--icmp-code NUMBER]] --from|--to CIDR|group:NAME|any [--except CIDR]..."

// contentFlags say what a rule is about.
func contentFlags() []cli.Flag {
	return []cli.Flag{
		vpcFlag(),
		&cli.StringFlag{Name: "direction", Usage: "`DIRECTION` as the endpoint sees it: ingress or egress"},
		&cli.StringFlag{Name: "action", Usage: "`ACTION`: allow or deny (default allow)"},
		&cli.StringFlag{Name: "priority", Usage: "`NUMBER` from 0, which decides first, to 65535; of equal ones deny decides (default 1000)"},
		&cli.StringFlag{Name: "proto", Usage: "`PROTOCOL`: tcp, udp, sctp, icmp, icmpv6 or any"},
		&cli.StringFlag{Name: "ports", Usage: "`LIST` of destination ports of tcp, udp or sctp, as 80,8000-8100 (default all)"},
		&cli.StringFlag{Name: "icmp-type", Usage: "`NUMBER` of the message of icmp or icmpv6, 0 to 255 (default all)"},
		&cli.StringFlag{Name: "icmp-code", Usage: "`NUMBER` of the code of that type, 0 to 255 (default all)"},
		&cli.StringFlag{Name: "from", Usage: "`PEER` that ingress comes from: a CIDR, an address, group:NAME or any"},
		&cli.StringFlag{Name: "to", Usage: "`PEER` that egress goes to: a CIDR, an address, group:NAME or any"},
		&cli.StringSliceFlag{Name: "except", Usage: "`CIDR` inside that of --from or --to that is not meant; repeatable"},
	}
}

// rule reads a rule from the flags; every error is one of usage.
func (s *session) rule() (policy.Rule, error) {
	text := policy.RuleText{
		Action: s.flags.String("action"), Priority: s.flags.String("priority"), Except: s.flags.StringSlice("except"),
		Description: s.flags.String("description"), Disabled: s.flags.Bool("disabled"),
	}
	var err error
	if text.Direction, err = s.required("direction"); err != nil {
		return policy.Rule{}, err
	}
	direction, err := policy.ParseDirection(text.Direction)
	if err != nil {
		return policy.Rule{}, asUsage(err)
	}
	if text.Protocol, err = s.required("proto"); err != nil {
		return policy.Rule{}, err
	}
	if text.Peer, err = s.peer(direction); err != nil {
		return policy.Rule{}, asUsage(err)
	}
	if s.flags.IsSet("ports") {
		text.Ports = []string{s.flags.String("ports")}
	}
	if text.ICMP, err = s.icmp(); err != nil {
		return policy.Rule{}, err
	}
	rule, err := policy.ParseRule(text)
	return rule, asUsage(err)
}

// icmp is type and code as a rule has them.
func (s *session) icmp() (string, error) {
	kind, code := s.flags.String("icmp-type"), s.flags.String("icmp-code")
	switch {
	case code == "":
		return kind, nil
	case kind == "":
		return "", usagef("--icmp-code goes with --icmp-type only")
	}
	return kind + "/" + code, nil
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

// fromRule is a rule as the API writes it. What is as it is by default is left
// out.
func fromRule(r policy.Rule) *edgenetv1.Rule {
	t := r.Text()
	rule := &edgenetv1.Rule{
		Direction: t.Direction, Action: t.Action, Protocol: t.Protocol, Ports: t.Ports, Icmp: t.ICMP,
		Peer: t.Peer, Except: t.Except, Description: t.Description, Disabled: t.Disabled,
	}
	if t.Priority != "" {
		priority := uint32(r.Priority.Number())
		rule.Priority = &priority
	}
	return rule
}
