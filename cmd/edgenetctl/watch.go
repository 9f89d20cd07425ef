package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/urfave/cli/v2"
	"google.golang.org/protobuf/proto"

	edgenetv1 "edgenet.dev/edgenet/api/edgenet/v1"
	"edgenet.dev/edgenet/internal/events"
)

func (e *env) watchCommand() *cli.Command {
	return &cli.Command{
		Name:        "watch",
		Usage:       "show what there is, then every change as it happens, until interrupted",
		ArgsUsage:   "[--kind KIND]...",
		Description: "edgenetctl watch --kind node --kind endpoint\nedgenetctl watch -o json | jq -r .type",
		Flags: []cli.Flag{
			&cli.StringSliceFlag{Name: "kind", Usage: "only this `KIND`: node, vpc, group, endpoint, tunnel, or an event as node-dead; repeatable"},
		},
		Action: e.action(watch),
	}
}

func watch(ctx context.Context, s *session) error {
	if _, err := s.arguments(); err != nil {
		return err
	}
	kinds, err := s.eventKinds()
	if err != nil {
		return err
	}
	stream, err := s.watcher.Watch(ctx, &edgenetv1.WatchRequest{Kinds: kinds})
	if err != nil {
		return fmt.Errorf("watch: %w", inWords(err))
	}
	defer func() { _ = stream.Close() }() // there is nothing left to lose
	for stream.Receive() {
		if stream.Msg().GetType() == events.Progress && s.format == formatTable {
			continue
		}
		if err := s.printEvent(stream.Msg()); err != nil {
			return fmt.Errorf("watch: %w", err)
		}
	}
	switch {
	case ctx.Err() != nil:
		return nil // the person has seen enough
	case stream.Err() != nil:
		return fmt.Errorf("watch: %w", inWords(stream.Err()))
	default:
		return errors.New("watch: edgenetd ended the stream")
	}
}

// printEvent shows one event: a line, one JSON object to a line, or one YAML
// document.
func (s *session) printEvent(event *edgenetv1.WatchResponse) error {
	if s.format != formatTable {
		return s.printMessage(event)
	}
	kind, name, about := eventWords(event)
	line := fmt.Sprintf("%s  %-8s  %-8s  %-20s  %s", s.now().Format("15:04:05"), event.GetType(), kind, name, about)
	_, err := fmt.Fprintln(s.stdout, strings.TrimRight(printable(line), " "))
	return err
}

// printMessage shows a message of a stream for programs: one JSON object to a
// line, or one YAML document.
func (s *session) printMessage(m proto.Message) error {
	value := fromMessage(m.ProtoReflect())
	if s.format == formatYAML {
		text, err := yaml.Marshal(toYAML(value))
		if err != nil {
			return fmt.Errorf("encode event: %w", err)
		}
		_, err = fmt.Fprintf(s.stdout, "---\n%s", text)
		return err
	}
	text, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("encode event: %w", err)
	}
	_, err = fmt.Fprintf(s.stdout, "%s\n", text)
	return err
}

// eventWords is an event's object in three words.
func eventWords(event *edgenetv1.WatchResponse) (kind, name, about string) {
	switch o := event.GetObject().(type) {
	case *edgenetv1.WatchResponse_Node:
		return "node", o.Node.GetName(), fmt.Sprintf("%s, tunnel %s", o.Node.GetState(), tunnelState(o.Node))
	case *edgenetv1.WatchResponse_Vpc:
		return "vpc", o.Vpc.GetName(), fmt.Sprintf("VNI %d, %s", o.Vpc.GetVni(), list(o.Vpc.GetCidrs()))
	case *edgenetv1.WatchResponse_Group:
		return "group", o.Group.GetVpc() + "/" + o.Group.GetName(), plural(len(o.Group.GetRules()), "rule", "rules")
	case *edgenetv1.WatchResponse_Endpoint:
		p := o.Endpoint
		return "endpoint", p.GetVpc() + "/" + p.GetName(), fmt.Sprintf("%s on %s, %s", list(ips(p)), p.GetNode(), endpointState(p))
	default:
		return "", "", ""
	}
}
