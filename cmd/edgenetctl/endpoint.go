package main

import (
	"context"
	"fmt"
	"strconv"

	"github.com/urfave/cli/v2"

	edgenetv1 "edgenet.dev/edgenet/api/edgenet/v1"
)

func (e *env) endpointCommand() *cli.Command {
	return &cli.Command{
		Name:        "endpoint",
		Usage:       "attach containers, VMs and devices to VPCs",
		Description: "edgenetctl endpoint list",
		Subcommands: []*cli.Command{
			e.attachCommand(),
			{
				Name:        "detach",
				Usage:       "remove an endpoint of this node",
				ArgsUsage:   "NAME --vpc VPC",
				Description: "edgenetctl endpoint detach web-1 --vpc blue",
				Flags:       []cli.Flag{vpcFlag()},
				Action:      e.action(detachEndpoint),
			},
			{
				Name:        "list",
				Usage:       "list the endpoints of the whole mesh",
				ArgsUsage:   "[--vpc VPC]",
				Description: "edgenetctl endpoint list --vpc blue",
				Flags:       []cli.Flag{filterByVPC()},
				Action:      e.action(listEndpoints),
			},
			{
				Name:        "show",
				Usage:       "show one endpoint; its counters only on its own node",
				ArgsUsage:   "NAME --vpc VPC",
				Description: "edgenetctl endpoint show web-1 --vpc blue",
				Flags:       []cli.Flag{vpcFlag()},
				Action:      e.action(showEndpoint),
			},
			e.statsCommand(),
		},
	}
}

func detachEndpoint(ctx context.Context, s *session) error {
	name, vpc, err := s.nameInVPC()
	if err != nil {
		return err
	}
	answer, err := call(ctx, s.endpoints.DetachEndpoint, &edgenetv1.DetachEndpointRequest{Name: name, Vpc: vpc})
	if err != nil {
		return failed("detach endpoint "+name, err)
	}
	return s.printAnswer(answer, fmt.Sprintf("endpoint %s of VPC %s detached", name, vpc))
}

func listEndpoints(ctx context.Context, s *session) error {
	if _, err := s.arguments(); err != nil {
		return err
	}
	answer, err := call(ctx, s.endpoints.ListEndpoints, &edgenetv1.ListEndpointsRequest{Vpc: s.flags.String("vpc")})
	if err != nil {
		return failed("list endpoints", err)
	}
	return printList(s, "endpoints", answer.GetEndpoints(), []column[*edgenetv1.Endpoint]{
		{"NAME", (*edgenetv1.Endpoint).GetName},
		{"VPC", (*edgenetv1.Endpoint).GetVpc},
		{"IP", func(p *edgenetv1.Endpoint) string { return list(ips(p)) }},
		{"GROUPS", func(p *edgenetv1.Endpoint) string { return list(p.GetGroups()) }},
		{"NODE", (*edgenetv1.Endpoint).GetNode},
		{"KIND", (*edgenetv1.Endpoint).GetKind},
		{"DEVICE", (*edgenetv1.Endpoint).GetDevice},
		{"ATTACHED", func(p *edgenetv1.Endpoint) string { return s.when(p.GetAttached()) }},
		{"STATE", endpointState},
	})
}

func showEndpoint(ctx context.Context, s *session) error {
	name, vpc, err := s.nameInVPC()
	if err != nil {
		return err
	}
	answer, err := call(ctx, s.endpoints.GetEndpoint, &edgenetv1.GetEndpointRequest{Name: name, Vpc: vpc})
	if err != nil {
		return failed("show endpoint "+name, err)
	}
	return s.printAnswer(answer.GetEndpoint(), s.endpointText(answer.GetEndpoint()))
}

func (s *session) endpointText(p *edgenetv1.Endpoint) string {
	lines := []detail{
		{"Name", p.GetName()},
		{"VPC", p.GetVpc()},
		{"IP", list(ips(p))},
		{"Prefixes", list(p.GetPrefixes())},
		{"Announced", list(p.GetAnnounced())},
		{"MAC", p.GetMac()},
		{"Groups", list(p.GetGroups())},
		{"Node", fmt.Sprintf("%s (%s)", p.GetNode(), p.GetNodeId())},
		{"Kind", p.GetKind()},
	}
	if p.GetNetns() != "" {
		lines = append(lines, detail{"Namespace", p.GetNetns()}, detail{"Interface", p.GetIfname()})
	}
	lines = append(lines,
		detail{"Device", p.GetDevice()},
		detail{"State", endpointState(p)},
		detail{"Attached", s.when(p.GetAttached())},
		detail{"Epoch", strconv.FormatUint(uint64(p.GetEpoch()), 10)},
	)
	c := p.GetCounters()
	if c == nil {
		return details(lines)
	}
	return details(append(lines,
		detail{"Received", traffic(c.GetRxPackets(), c.GetRxBytes())},
		detail{"Sent", traffic(c.GetTxPackets(), c.GetTxBytes())},
		detail{"New flows", strconv.FormatUint(c.GetFlows(), 10)},
		detail{"Dropped", drops(c)},
	))
}

// ips are an endpoint's own addresses; an older edgenetd tells of one only.
func ips(p *edgenetv1.Endpoint) []string {
	if len(p.GetIps()) == 0 && p.GetIp() != "" {
		return []string{p.GetIp()}
	}
	return p.GetIps()
}

// endpointState is the state, and why it is so where something is wrong.
func endpointState(p *edgenetv1.Endpoint) string {
	if p.GetMessage() == "" {
		return p.GetState()
	}
	return p.GetState() + ": " + p.GetMessage()
}

func traffic(packets, bytes uint64) string {
	return fmt.Sprintf("%d packets, %s", packets, size(bytes))
}
