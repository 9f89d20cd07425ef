package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	edgenetv1 "edgenet.dev/edgenet/api/edgenet/v1"
)

func (e *env) dropsCommand() *cli.Command {
	return &cli.Command{
		Name:        "drops",
		Usage:       "see what is dropped on this node",
		Description: "edgenetctl drops watch --vpc blue",
		Subcommands: []*cli.Command{{
			Name:      "watch",
			Usage:     "show packets as they are dropped, a sample in a flood, until interrupted",
			ArgsUsage: "[--vpc VPC [--endpoint NAME]] [--reason REASON] [--count NUMBER]",
			Description: "edgenetctl drops watch --vpc blue --endpoint db-1\n" +
				"edgenetctl drops watch --reason no-ingress-rule --count 1 -o json",
			Flags: []cli.Flag{
				filterByVPC(),
				&cli.StringFlag{Name: "endpoint", Usage: "only those of the endpoint `NAME` of the VPC"},
				&cli.StringFlag{Name: "reason", Usage: "only those with this `REASON`, for instance no-ingress-rule"},
				&cli.StringFlag{Name: "count", Usage: "end after this `NUMBER` of drops (default never)"},
			},
			Action: e.action(watchDrops),
		}},
	}
}

func watchDrops(ctx context.Context, s *session) error {
	if _, err := s.arguments(); err != nil {
		return err
	}
	count, err := s.number("count", 1<<32-1)
	if err != nil {
		return err
	}
	request := &edgenetv1.WatchDropsRequest{Vpc: s.flags.String("vpc"), Endpoint: s.flags.String("endpoint"), Reason: s.flags.String("reason")}
	if request.GetEndpoint() != "" && request.GetVpc() == "" {
		return usagef("--endpoint goes with --vpc only")
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := s.flows.WatchDrops(ctx, request)
	if err != nil {
		return failed("watch drops", inWords(err))
	}
	defer func() { _ = stream.Close() }() // there is nothing left to lose
	shown := uint32(0)
	for stream.Receive() {
		if err := s.printDrop(stream.Msg()); err != nil {
			return fmt.Errorf("watch drops: %w", err)
		}
		if stream.Msg().GetDrop() == nil {
			continue
		}
		if shown++; shown == count {
			return nil
		}
	}
	switch {
	case ctx.Err() != nil:
		return nil // the person has seen enough
	case stream.Err() != nil:
		return failed("watch drops", inWords(stream.Err()))
	default:
		return errors.New("watch drops: edgenetd ended the stream")
	}
}

// printDrop shows one drop and how many were left out before it: a line, one JSON
// object to a line, or one YAML document.
func (s *session) printDrop(event *edgenetv1.WatchDropsResponse) error {
	if s.format != formatTable {
		return s.printMessage(event)
	}
	if n := event.GetLeftOut(); n > 0 {
		if _, err := fmt.Fprintf(s.stdout, "%s not shown\n", plural(int(n), "more drop is", "more drops are")); err != nil {
			return err
		}
	}
	d := event.GetDrop()
	if d == nil {
		return nil
	}
	whose := "-"
	if d.GetEndpoint() != "" {
		whose = d.GetVpc() + "/" + d.GetEndpoint()
	}
	line := fmt.Sprintf("%s  %-20s  %-20s  %-7s  %s", d.GetTime().AsTime().Format("15:04:05.000"), d.GetReason(), whose, d.GetDirection(), dropText(d))
	_, err := fmt.Fprintln(s.stdout, strings.TrimRight(printable(line), " "))
	return err
}

// dropText is the packet as far as it could be read.
func dropText(d *edgenetv1.Drop) string {
	if d.GetSource() == "" {
		return fmt.Sprintf("%d bytes", d.GetLength())
	}
	return fmt.Sprintf("%s %s to %s, %d bytes", service(d.GetProtocol(), d.GetPort(), ""), d.GetSource(), d.GetDestination(), d.GetLength())
}
