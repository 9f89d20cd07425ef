package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	edgenetv1 "edgenet.dev/edgenet/api/edgenet/v1"
)

func (e *env) statsCommand() *cli.Command {
	return &cli.Command{
		Name:        "stats",
		Usage:       "show what the endpoints of this node received, sent and had dropped",
		ArgsUsage:   "[NAME --vpc VPC | --vpc VPC]",
		Description: "edgenetctl endpoint stats\nedgenetctl endpoint stats web-1 --vpc blue",
		Flags:       []cli.Flag{filterByVPC()},
		Action:      e.action(endpointStats),
	}
}

// statsColumns are the counters of an endpoint. Programs get them under the
// API's names.
var statsColumns = []column[*edgenetv1.Endpoint]{
	{"NAME", (*edgenetv1.Endpoint).GetName},
	{"VPC", (*edgenetv1.Endpoint).GetVpc},
	{"RX PACKETS", counter((*edgenetv1.Counters).GetRxPackets)},
	{"RX BYTES", func(p *edgenetv1.Endpoint) string { return size(p.GetCounters().GetRxBytes()) }},
	{"TX PACKETS", counter((*edgenetv1.Counters).GetTxPackets)},
	{"TX BYTES", func(p *edgenetv1.Endpoint) string { return size(p.GetCounters().GetTxBytes()) }},
	{"FLOWS", counter((*edgenetv1.Counters).GetFlows)},
	{"DROPPED", func(p *edgenetv1.Endpoint) string { return drops(p.GetCounters()) }},
}

func counter(of func(*edgenetv1.Counters) uint64) func(*edgenetv1.Endpoint) string {
	return func(p *edgenetv1.Endpoint) string { return strconv.FormatUint(of(p.GetCounters()), 10) }
}

func endpointStats(ctx context.Context, s *session) error {
	if s.flags.NArg() > 0 {
		return oneEndpointStats(ctx, s)
	}
	answer, err := call(ctx, s.endpoints.ListEndpoints, &edgenetv1.ListEndpointsRequest{Vpc: s.flags.String("vpc")})
	if err != nil {
		return failed("read counters", err)
	}
	counted := slices.DeleteFunc(answer.GetEndpoints(), func(p *edgenetv1.Endpoint) bool { return p.GetCounters() == nil })
	if s.format == formatTable {
		return printList(s, "endpoints here", counted, statsColumns)
	}
	values := make([]any, 0, len(counted))
	for _, p := range counted {
		values = append(values, stats(p))
	}
	return s.encode(values)
}

func oneEndpointStats(ctx context.Context, s *session) error {
	name, vpc, err := s.nameInVPC()
	if err != nil {
		return err
	}
	answer, err := call(ctx, s.endpoints.GetEndpoint, &edgenetv1.GetEndpointRequest{Name: name, Vpc: vpc})
	if err != nil {
		return failed("read counters", err)
	}
	p := answer.GetEndpoint()
	c := p.GetCounters()
	if c == nil {
		return fmt.Errorf("read counters: endpoint %s of VPC %s is on node %s: ask there", name, vpc, p.GetNode())
	}
	if s.format != formatTable {
		return s.encode(stats(p))
	}
	lines := []detail{
		{"Name", p.GetName()},
		{"VPC", p.GetVpc()},
		{"Received", traffic(c.GetRxPackets(), c.GetRxBytes())},
		{"Sent", traffic(c.GetTxPackets(), c.GetTxBytes())},
		{"New flows", strconv.FormatUint(c.GetFlows(), 10)},
		{"Dropped", drops(c)},
	}
	if c.GetShadowAllows()+c.GetShadowDrops() > 0 {
		lines = append(lines, detail{"Candidate rules", fmt.Sprintf("would allow %d, would drop %d", c.GetShadowAllows(), c.GetShadowDrops())})
	}
	_, err = fmt.Fprintln(s.stdout, details(lines))
	return err
}

// stats is an endpoint's name and its counters, for programs.
func stats(p *edgenetv1.Endpoint) object {
	return object{
		{"name", p.GetName()},
		{"vpc", p.GetVpc()},
		{"counters", fromMessage(p.GetCounters().ProtoReflect())},
	}
}

// drops are the dropped packets by reason, the most frequent first.
func drops(c *edgenetv1.Counters) string {
	if len(c.GetDrops()) == 0 {
		return "none"
	}
	return byReason(c.GetDrops())
}

// byReason lists counts, the largest first.
func byReason(counts map[string]uint64) string {
	reasons := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b))
	})
	var words []string
	for _, reason := range reasons {
		words = append(words, fmt.Sprintf("%d %s", counts[reason], reason))
	}
	return strings.Join(words, ", ")
}
