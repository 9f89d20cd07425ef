package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/urfave/cli/v2"

	edgenetv1 "edgenet.dev/edgenet/api/edgenet/v1"
)

// flowFilterUsage is how flows are chosen.
const flowFilterUsage = "[--vpc VPC [--endpoint NAME]] [--proto PROTOCOL] [--port PORT] [--remote ADDRESS|CIDR] [--state STATE]"

func flowFilterFlags() []cli.Flag {
	return []cli.Flag{
		filterByVPC(),
		&cli.StringFlag{Name: "endpoint", Usage: "only those of the endpoint `NAME` of the VPC"},
		&cli.StringFlag{Name: "proto", Usage: "only those of this `PROTOCOL`: tcp, udp, sctp, icmp, icmpv6 or a number"},
		&cli.StringFlag{Name: "port", Usage: "only those with this `PORT` on either side"},
		&cli.StringFlag{Name: "remote", Usage: "only those with this `ADDRESS` or CIDR on the other side"},
		&cli.StringFlag{Name: "state", Usage: "only those in this `STATE`, for instance tcp-established"},
	}
}

func (e *env) flowCommand() *cli.Command {
	return &cli.Command{
		Name:        "flow",
		Usage:       "see and forget the flows of this node's endpoints",
		Description: "edgenetctl flow list --vpc blue",
		Subcommands: []*cli.Command{
			{
				Name:      "list",
				Usage:     "list flows, all unless flags say which",
				ArgsUsage: flowFilterUsage + " [--limit NUMBER]",
				Description: "edgenetctl flow list --vpc blue --endpoint web-1\n" +
					"edgenetctl flow list --proto tcp --port 5432 --state tcp-established --limit 20",
				Flags:  append(flowFilterFlags(), &cli.StringFlag{Name: "limit", Usage: "at most this `NUMBER` of flows (default all)"}),
				Action: e.action(listFlows),
			}, {
				Name:  "flush",
				Usage: "forget flows, so that the rules judge their next packets anew",
				// What is forgotten by mistake cannot be had back.
				ArgsUsage:   flowFilterUsage + " | --all",
				Description: "edgenetctl flow flush --vpc blue --remote 10.0.0.0/28\nedgenetctl flow flush --all",
				Flags:       append(flowFilterFlags(), &cli.BoolFlag{Name: "all", Usage: "forget all flows of this node"}),
				Action:      e.action(flushFlows),
			},
		},
	}
}

// flowFilter reads which flows are meant; given is false if nothing says so.
func (s *session) flowFilter() (filter *edgenetv1.FlowFilter, given bool, err error) {
	if _, err := s.arguments(); err != nil {
		return nil, false, err
	}
	filter = &edgenetv1.FlowFilter{
		Vpc: s.flags.String("vpc"), Endpoint: s.flags.String("endpoint"), Protocol: s.flags.String("proto"),
		Remote: s.flags.String("remote"), State: s.flags.String("state"),
	}
	if filter.Port, err = s.number("port", 1<<16-1); err != nil {
		return nil, false, err
	}
	if filter.GetEndpoint() != "" && filter.GetVpc() == "" {
		return nil, false, usagef("--endpoint goes with --vpc only")
	}
	for _, flag := range []string{"vpc", "endpoint", "proto", "port", "remote", "state"} {
		given = given || s.flags.String(flag) != ""
	}
	return filter, given, nil
}

func listFlows(ctx context.Context, s *session) error {
	filter, _, err := s.flowFilter()
	if err != nil {
		return err
	}
	limit, err := s.number("limit", 1<<32-1)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	stream, err := s.flows.ListFlows(ctx, &edgenetv1.ListFlowsRequest{Filter: filter, Limit: limit})
	if err != nil {
		return failed("list flows", inWords(err))
	}
	defer func() { _ = stream.Close() }() // there is nothing left to lose
	var flows []*edgenetv1.Flow
	for stream.Receive() {
		flows = append(flows, stream.Msg().GetFlows()...)
	}
	if err := stream.Err(); err != nil {
		return failed("list flows", inWords(err))
	}
	return printList(s, "flows", flows, []column[*edgenetv1.Flow]{
		{"VPC", (*edgenetv1.Flow).GetVpc},
		{"ENDPOINT", (*edgenetv1.Flow).GetEndpoint},
		{"PROTOCOL", (*edgenetv1.Flow).GetProtocol},
		{"LOCAL", func(f *edgenetv1.Flow) string { return withPort(f.GetLocal(), f.GetLocalPort()) }},
		{"REMOTE", func(f *edgenetv1.Flow) string { return withPort(f.GetRemote(), f.GetRemotePort()) }},
		{"STATE", (*edgenetv1.Flow).GetState},
		{"ORIGIN", (*edgenetv1.Flow).GetOrigin},
		{"IDLE", func(f *edgenetv1.Flow) string { return seconds(f.GetIdleSeconds()) }},
		{"EXPIRES", func(f *edgenetv1.Flow) string { return "in " + seconds(f.GetExpiresSeconds()) }},
		{"RULE", func(f *edgenetv1.Flow) string { return ruleName(f.GetGroup(), f.GetRule()) }},
	})
}

func withPort(address string, port uint32) string {
	if port == 0 {
		return address
	}
	return address + " " + strconv.FormatUint(uint64(port), 10)
}

func seconds(n float64) string { return span(time.Duration(max(n, 0) * float64(time.Second))) }

// ruleName is a rule as people name it.
func ruleName(group, rule string) string {
	if group == "" {
		return "default"
	}
	return group + "/" + rule
}

func flushFlows(ctx context.Context, s *session) error {
	filter, given, err := s.flowFilter()
	if err != nil {
		return err
	}
	all := s.flags.Bool("all")
	if given == all {
		return usagef("say which flows are to be forgotten, or --all")
	}
	answer, err := call(ctx, s.flows.FlushFlows, &edgenetv1.FlushFlowsRequest{Filter: filter, All: all})
	if err != nil {
		return failed("flush flows", err)
	}
	return s.printAnswer(answer, fmt.Sprintf("%s forgotten", plural(int(answer.GetFlushed()), "flow", "flows")))
}
