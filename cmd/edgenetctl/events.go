package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"connectrpc.com/connect"
	"github.com/urfave/cli/v2"
	"google.golang.org/protobuf/types/known/timestamppb"

	edgenetv1 "edgenet.dev/edgenet/api/edgenet/v1"
	"edgenet.dev/edgenet/internal/events"
)

// reconnectDelay is how long a daemon that is gone is left alone.
const reconnectDelay = 500 * time.Millisecond

func (e *env) eventsCommand() *cli.Command {
	return &cli.Command{
		Name:        "events",
		Usage:       "show what has happened, as far as this node keeps it, and with --follow what happens, until interrupted",
		ArgsUsage:   "[--follow] [--since REVISION|DURATION] [--kind KIND]...",
		Description: "edgenetctl events --since 1h --kind node-dead,node-back\nedgenetctl events --follow --kind node,endpoint -o json",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "follow", Usage: "go on with what happens, also across restarts of edgenetd"},
			&cli.StringFlag{Name: "since", Usage: "only what came after a `REVISION` as -o json shows it, or in the last time, as 90s or 2h"},
			&cli.StringSliceFlag{Name: "kind", Usage: "only of this `KIND`: node, vpc, group, endpoint, tunnel, or an event as node-dead; repeatable"},
		},
		Action: e.action(showEvents),
	}
}

func showEvents(ctx context.Context, s *session) error {
	if _, err := s.arguments(); err != nil {
		return err
	}
	kinds, err := s.eventKinds()
	if err != nil {
		return err
	}
	request := &edgenetv1.WatchRequest{Kinds: kinds}
	if err := s.since(request); err != nil {
		return err
	}
	f := &follower{session: s, request: request, follows: s.flags.Bool("follow")}
	for {
		err := f.show(ctx)
		if f.done {
			return nil
		}
		switch {
		case err == nil:
			err = errors.New("edgenetd ended the stream")
		case f.failed || answered(err):
			return failed("show events", inWords(err))
		}
		if !f.follows || !f.received {
			return failed("show events", inWords(err))
		}
		f.complain(err)
		select {
		case <-time.After(reconnectDelay):
		case <-ctx.Done():
			return nil
		}
	}
}

// answered tells whether edgenetd itself has said that something is wrong, which the
// same question will not mend.
func answered(err error) bool {
	code := connect.CodeOf(err)
	return connect.IsWireError(err) && code != connect.CodeUnavailable && code != connect.CodeCanceled
}

// eventKinds are the values of --kind.
func (s *session) eventKinds() ([]string, error) {
	kinds := s.flags.StringSlice("kind")
	if _, unknown := events.NewFilter(kinds); unknown != "" {
		return nil, usagef("unknown kind %q: write node, vpc, group, endpoint, tunnel, or an event as %s", unknown, events.NodeDead)
	}
	return kinds, nil
}

// since asks for what has happened since --since; without it for all there is.
func (s *session) since(request *edgenetv1.WatchRequest) error {
	text := s.flags.String("since")
	if text == "" {
		request.Since = &timestamppb.Timestamp{}
		return nil
	}
	if age, err := time.ParseDuration(text); err == nil {
		if age < 0 {
			return usagef("--since %s: a time in the future", text)
		}
		request.Since = timestamppb.New(s.now().Add(-age))
		return nil
	}
	if _, err := events.ParseRevision(text); err != nil {
		return usagef("--since %q: write a duration, as 90s or 2h, or a revision that -o json has shown", text)
	}
	request.ResumeFrom = text
	return nil
}

// follower shows events, and goes on where it was when edgenetd is there again.
type follower struct {
	*session
	request *edgenetv1.WatchRequest
	// follows is true if it goes on after what there was, done that it need not: the
	// person has seen enough, or there is no more.
	follows, done bool
	// received is true once there is something to go on from, failed that nothing can be
	// shown any more.
	received, failed bool
	// complained is true once somebody was told that edgenetd is gone.
	complained bool
}

// show shows events until the stream ends.
func (f *follower) show(ctx context.Context) error {
	stream, err := f.watcher.Watch(ctx, f.request)
	if err != nil {
		f.done = ctx.Err() != nil
		return err
	}
	defer func() { _ = stream.Close() }() // there is nothing left to lose
	for stream.Receive() {
		m := stream.Msg()
		f.complained = false
		if m.GetType() == events.Synced && !f.follows {
			f.done = true
			return nil
		}
		if events.ObjectOf(m) != "" {
			if err := f.printHappened(m); err != nil {
				f.failed = true
				return err
			}
		}
		if at := m.GetRevision(); at != "" {
			f.request, f.received = &edgenetv1.WatchRequest{Kinds: f.request.GetKinds(), ResumeFrom: at}, true
		}
	}
	f.done = ctx.Err() != nil
	return stream.Err()
}

// complain says once that edgenetd is gone.
func (f *follower) complain(err error) {
	if f.complained {
		return
	}
	f.complained = true
	_, _ = fmt.Fprintf(f.stderr, "%s: show events: %s; trying again\n", program, printable(inWords(err).Error())) // nobody may be there to read
}

// printHappened shows one event: a line, one JSON object to a line, or one YAML
// document.
func (s *session) printHappened(e *edgenetv1.WatchResponse) error {
	if s.format != formatTable {
		return s.printMessage(e)
	}
	_, name, _ := eventWords(e)
	line := fmt.Sprintf("%s  %-19s  %-20s  %s", e.GetTime().AsTime().Format("2006-01-02T15:04:05.000Z"), e.GetEvent(), name, e.GetMessage())
	_, err := fmt.Fprintln(s.stdout, strings.TrimRight(printable(line), " "))
	return err
}
