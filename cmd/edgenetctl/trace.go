package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	edgenetv1 "edgenet.dev/edgenet/api/edgenet/v1"
)

func (e *env) traceCommand() *cli.Command {
	return &cli.Command{
		Name:  "trace",
		Usage: "say what becomes of a packet, by the rules and by the programs that run on both hosts",
		ArgsUsage: "--vpc VPC --from ENDPOINT --to ENDPOINT|ADDRESS --proto tcp|udp|sctp|icmp|icmpv6|NUMBER " +
			"[--port PORT [--source-port PORT]] [--icmp-type NUMBER [--icmp-code NUMBER]]",
		Description: "edgenetctl trace --vpc blue --from web-1 --to db-1 --proto tcp --port 5432\n" +
			"edgenetctl trace --vpc blue --from web-1 --to 10.0.0.9 --proto icmp",
		Flags: []cli.Flag{
			vpcFlag(),
			&cli.StringFlag{Name: "from", Usage: "`ENDPOINT` that sends it, or its address"},
			&cli.StringFlag{Name: "to", Usage: "`ENDPOINT` that it is for, or any address"},
			&cli.StringFlag{Name: "proto", Usage: "`PROTOCOL`: tcp, udp, sctp, icmp, icmpv6 or a number"},
			&cli.StringFlag{Name: "port", Usage: "destination `PORT` of tcp, udp or sctp"},
			&cli.StringFlag{Name: "source-port", Usage: "source `PORT` (default one that clients use)"},
			&cli.StringFlag{Name: "icmp-type", Usage: "`NUMBER` of the message of icmp or icmpv6 (default an echo request)"},
			&cli.StringFlag{Name: "icmp-code", Usage: "`NUMBER` of the code of that type (default 0)"},
		},
		Action: e.action(trace),
	}
}

func trace(ctx context.Context, s *session) error {
	request, err := s.traceRequest()
	if err != nil {
		return err
	}
	answer, err := call(ctx, s.flows.Trace, request)
	if err != nil {
		return failed("trace", err)
	}
	return s.printAnswer(answer, traceText(answer))
}

func (s *session) traceRequest() (*edgenetv1.TraceRequest, error) {
	vpc, err := s.onlyVPC()
	if err != nil {
		return nil, err
	}
	request := &edgenetv1.TraceRequest{Vpc: vpc}
	for flag, into := range map[string]*string{"from": &request.From, "to": &request.To, "proto": &request.Protocol} {
		if *into, err = s.required(flag); err != nil {
			return nil, err
		}
	}
	if request.Port, err = s.number("port", 1<<16-1); err != nil {
		return nil, err
	}
	if request.SourcePort, err = s.number("source-port", 1<<16-1); err != nil {
		return nil, err
	}
	if request.IcmpCode, err = s.number("icmp-code", 1<<8-1); err != nil {
		return nil, err
	}
	kind, err := s.number("icmp-type", 1<<8-1)
	if s.flags.IsSet("icmp-type") {
		request.IcmpType = &kind
	}
	switch request.GetProtocol() {
	case "tcp", "udp", "sctp":
		if request.GetPort() == 0 && err == nil {
			err = usagef("--port is missing")
		}
	}
	return request, err
}

// number is the value of a flag, 0 if it is not given.
func (s *session) number(flag string, limit uint64) (uint32, error) {
	text := s.flags.String(flag)
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil || n > limit {
		return 0, usagef("--%s %q: write a number up to %d", flag, text, limit)
	}
	return uint32(n), nil
}

// traceText follows the packet from one end to the other.
func traceText(a *edgenetv1.TraceResponse) string {
	p := a.GetPacket()
	verdict := a.GetVerdict()
	if a.GetReason() != "" {
		verdict += " (" + a.GetReason() + ")"
	}
	lines := []detail{
		{"Packet", fmt.Sprintf("%s from %s to %s", service(p.GetProtocol(), p.GetPort(), p.GetIcmp()), p.GetSource(), p.GetDestination())},
		{"Verdict", verdict},
	}
	lines = append(lines, sideLines(a.GetSource())...)
	lines = append(lines, detail{"Route", routeText(a.GetRoute())})
	lines = append(lines, sideLines(a.GetDestination())...)
	for _, problem := range a.GetProblems() {
		lines = append(lines, detail{"Problem", problem})
	}
	return details(lines)
}

func sideLines(side *edgenetv1.TraceSide) []detail {
	if side == nil {
		return nil
	}
	word := strings.ToUpper(side.GetDirection()[:1]) + side.GetDirection()[1:]
	lines := []detail{
		{word, fmt.Sprintf("%s on %s", party(side.GetEndpoint(), side.GetAddress()), side.GetNode())},
		{"  by the rules", decisionText(side.GetRecords())},
	}
	if side.GetProgram() == nil {
		return append(lines, detail{"  as it runs", "not known: " + side.GetMissing()})
	}
	return append(lines, detail{"  as it runs", decisionText(side.GetProgram())})
}

func decisionText(d *edgenetv1.Decision) string {
	word := "dropped"
	if d.GetPasses() {
		word = "passes"
	}
	return word + ": " + d.GetWhy()
}

func routeText(r *edgenetv1.Route) string {
	switch r.GetKind() {
	case "node":
		return fmt.Sprintf("to node %s, tunnel %s", r.GetNode(), r.GetTunnel())
	case "local":
		return "to an endpoint of the same node"
	case "gateway":
		return "to the gateway"
	default:
		return r.GetKind()
	}
}
