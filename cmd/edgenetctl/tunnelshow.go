package main

import (
	"context"
	"fmt"
	"strings"

	edgenetv1 "edgenet.dev/edgenet/api/edgenet/v1"
)

// tableWidth is how many characters a line of tunnel list has at most: what is more
// is left off its last column, and shown by tunnel show.
const tableWidth = 120

func listTunnels(ctx context.Context, s *session) error {
	if _, err := s.arguments(); err != nil {
		return err
	}
	answer, err := call(ctx, s.tunnels.ListTunnels, &edgenetv1.ListTunnelsRequest{})
	if err != nil {
		return failed("list tunnels", err)
	}
	columns := []column[*edgenetv1.PeerTunnel]{
		{"NODE", (*edgenetv1.PeerTunnel).GetNode},
		{"STATE", func(t *edgenetv1.PeerTunnel) string { return t.GetTunnel().GetState() }},
		{"DRIVER", carries},
		{"RTT", func(t *edgenetv1.PeerTunnel) string { return milliseconds(t.GetTunnel().GetRttMs()) }},
		{"LOSS", func(t *edgenetv1.PeerTunnel) string { return loss(t.GetTunnel()) }},
		{"MTU", func(t *edgenetv1.PeerTunnel) string { return bytesOrNone(t.GetTunnel().GetPathMtu()) }},
		{"HANDSHAKE", func(t *edgenetv1.PeerTunnel) string { return s.handshake(&edgenetv1.Node{Tunnel: t.GetTunnel()}) }},
		{"WHY", why},
	}
	if s.format != formatTable || len(answer.GetTunnels()) == 0 {
		return printList(s, "other nodes", answer.GetTunnels(), columns)
	}
	_, err = fmt.Fprint(s.stdout, cut(table(answer.GetTunnels(), columns), tableWidth))
	return err
}

// carries is what packets go by, or what they are to go by.
func carries(t *edgenetv1.PeerTunnel) string {
	if t.GetTunnel().GetEndpoint() != "" {
		return t.GetTunnel().GetDriver()
	}
	return t.GetDriver()
}

// why is what is wrong with a tunnel, or else what it is and why.
func why(t *edgenetv1.PeerTunnel) string {
	for _, p := range t.GetTunnel().GetProblems() {
		return p.GetMessage()
	}
	return t.GetWhy()
}

// cut shortens the lines of a text.
func cut(text string, width int) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if runes := []rune(line); len(runes) > width {
			lines[i] = strings.TrimRight(string(runes[:width-1]), " ") + "…"
		}
	}
	return strings.Join(lines, "\n")
}

// loss is the share of probes that were not answered; empty while there were none.
func loss(t *edgenetv1.Tunnel) string {
	if t.GetProbes() == 0 {
		return ""
	}
	return fmt.Sprintf("%.0f%%", 100*float64(t.GetProbesLost())/float64(t.GetProbes()))
}

func bytesOrNone(n uint32) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("%d B", n)
}

func showTunnel(ctx context.Context, s *session) error {
	args, err := s.arguments("NODE")
	if err != nil {
		return err
	}
	name, err := s.longID(ctx, args[0])
	if err != nil {
		return failed("show tunnel to "+args[0], err)
	}
	answer, err := call(ctx, s.tunnels.GetTunnel, &edgenetv1.GetTunnelRequest{Node: name})
	if err != nil {
		return failed("show tunnel to "+args[0], err)
	}
	return s.printAnswer(answer.GetTunnel(), s.tunnelText(answer.GetTunnel()))
}

// tunnelText is all that is known of a tunnel.
func (s *session) tunnelText(p *edgenetv1.PeerTunnel) string {
	t := p.GetTunnel()
	state := t.GetState()
	if t.GetSince() != nil {
		state += ", since " + s.when(t.GetSince())
	}
	lines := []detail{
		{"Node", p.GetNode()},
		{"ID", p.GetNodeId()},
		{"State", state},
		{"Why", p.GetWhy()},
		{"Chosen driver", p.GetDriver()},
		{"Peer's driver", p.GetPeerDriver()},
	}
	if t.GetEndpoint() != "" {
		lines = append(lines,
			detail{"Packets go by", t.GetDriver()},
			detail{"Device", t.GetDevice()},
			detail{"Endpoint", t.GetEndpoint()},
			detail{"Cipher", t.GetCipher()},
			detail{"Handshake", s.keys(t)},
			detail{"Session since", s.when(t.GetSessionSince())},
			detail{"Received", size(t.GetRxBytes())},
			detail{"Sent", size(t.GetTxBytes())},
			detail{"RTT", s.roundTrip(t)},
			detail{"Loss", probesLost(t)},
			detail{"Device MTU", bytesOrNone(t.GetMtu())},
			detail{"Path MTU", s.pathMTU(t)},
			detail{"Dropped", fmt.Sprintf("%s replayed, %d forged", plural(int(t.GetReplayedPackets()), "packet", "packets"), t.GetForgedPackets())},
		)
	}
	title := "Problems"
	for _, problem := range t.GetProblems() {
		lines = append(lines, detail{title, fmt.Sprintf("%s, %s: %s", problem.GetKind(), s.when(problem.GetSince()), problem.GetMessage())})
		title = "and"
	}
	if len(t.GetProblems()) == 0 {
		lines = append(lines, detail{title, "none"})
	}
	return details(lines)
}

// keys is when keys were made, and how often since edgenetd knows the peer.
func (s *session) keys(t *edgenetv1.Tunnel) string {
	if t.GetLastHandshake() == nil {
		return "never"
	}
	return fmt.Sprintf("%s; keys were replaced %s", s.when(t.GetLastHandshake()), plural(int(t.GetRekeys()), "time", "times"))
}

func (s *session) roundTrip(t *edgenetv1.Tunnel) string {
	switch {
	case t.GetRttMs() > 0:
		return fmt.Sprintf("%s, varies by %s, last answer %s", milliseconds(t.GetRttMs()), milliseconds(t.GetRttVariationMs()), s.when(t.GetLastAnswer()))
	case t.GetLastAnswer() != nil:
		return "no answers; the last one was " + s.when(t.GetLastAnswer())
	}
	return ""
}

func probesLost(t *edgenetv1.Tunnel) string {
	if t.GetProbes() == 0 {
		return ""
	}
	return fmt.Sprintf("%s: %d of the last %s", loss(t), t.GetProbesLost(), plural(int(t.GetProbes()), "probe", "probes"))
}
