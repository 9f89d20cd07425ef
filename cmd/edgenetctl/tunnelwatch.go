package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	edgenetv1 "edgenet.dev/edgenet/api/edgenet/v1"
)

func watchTunnels(ctx context.Context, s *session) error {
	if _, err := s.arguments(); err != nil {
		return err
	}
	request := &edgenetv1.WatchTunnelsRequest{}
	for _, name := range s.flags.StringSlice("node") {
		id, err := s.longID(ctx, name)
		if err != nil {
			return failed("watch tunnels", err)
		}
		request.Nodes = append(request.Nodes, id)
	}
	stream, err := s.tunnels.WatchTunnels(ctx, request)
	if err != nil {
		return failed("watch tunnels", inWords(err))
	}
	defer func() { _ = stream.Close() }() // there is nothing left to lose
	for stream.Receive() {
		if err := s.printTunnelEvent(stream.Msg()); err != nil {
			return fmt.Errorf("watch tunnels: %w", err)
		}
	}
	switch {
	case ctx.Err() != nil:
		return nil // the person has seen enough
	case stream.Err() != nil:
		return failed("watch tunnels", inWords(stream.Err()))
	default:
		return errors.New("watch tunnels: edgenetd ended the stream")
	}
}

// printTunnelEvent shows one event, or how many were left out: a line, one JSON
// object to a line, or one YAML document.
func (s *session) printTunnelEvent(m *edgenetv1.WatchTunnelsResponse) error {
	if s.format != formatTable {
		return s.printMessage(m)
	}
	if n := m.GetLeftOut(); n > 0 {
		_, err := fmt.Fprintf(s.stdout, "%s not shown; this is how tunnels are now\n", plural(int(n), "event was", "events were"))
		return err
	}
	e := m.GetEvent()
	line := fmt.Sprintf("%s  %-12s  %-16s  %s", e.GetTime().AsTime().Format("15:04:05.000"), e.GetType(), e.GetNode(), eventText(e))
	_, err := fmt.Fprintln(s.stdout, strings.TrimRight(printable(line), " "))
	return err
}

// eventText is what has changed: "from A to B: why".
func eventText(e *edgenetv1.TunnelEvent) string {
	text := e.GetIs()
	switch {
	case e.GetWas() != "" && text != "":
		text = "from " + e.GetWas() + " to " + text
	case e.GetWas() != "":
		text = "was " + e.GetWas()
	}
	if t := e.GetTunnel(); t.GetTunnel().GetEndpoint() != "" {
		text += " by " + t.GetTunnel().GetDriver()
	}
	if e.GetWhy() == "" {
		return text
	}
	return text + ": " + e.GetWhy()
}
