package main

import (
	"context"
	"fmt"

	"github.com/urfave/cli/v2"

	edgenetv1 "edgenet.dev/edgenet/api/edgenet/v1"
)

// shortIDLength is 40 bits in hexadecimal digits: no two nodes of a mesh have
// them in common, since their addresses come from them.
const shortIDLength = 10

func (e *env) nodeCommand() *cli.Command {
	return &cli.Command{
		Name:        "node",
		Usage:       "read the nodes of the mesh, and take one out",
		Description: "edgenetctl node list",
		Subcommands: []*cli.Command{
			{
				Name:        "list",
				Usage:       "list every known node, with the tunnel from this one",
				Description: "edgenetctl node list\nedgenetctl node list -o json | jq -r '.[] | select(.state != \"alive\").name'",
				Action:      e.action(listNodes),
			}, {
				Name:        "show",
				Usage:       "show one node",
				ArgsUsage:   "NAME|ID",
				Description: "edgenetctl node show edge-1",
				Action:      e.action(showNode),
			}, {
				Name:        "evict",
				Usage:       "take a node out of the mesh for good, also one that is stolen or away; only an authority can",
				ArgsUsage:   "NAME|ID",
				Description: "edgenetctl node evict edge-1",
				Action:      e.action(evictNode),
			},
		},
	}
}

func listNodes(ctx context.Context, s *session) error {
	if _, err := s.arguments(); err != nil {
		return err
	}
	answer, err := call(ctx, s.nodes.ListNodes, &edgenetv1.ListNodesRequest{})
	if err != nil {
		return failed("list nodes", err)
	}
	return printList(s, "nodes", answer.GetNodes(), []column[*edgenetv1.Node]{
		{"NAME", (*edgenetv1.Node).GetName},
		{"ID", func(n *edgenetv1.Node) string { return shortID(n.GetId()) }},
		{"ROLES", func(n *edgenetv1.Node) string { return list(n.GetRoles()) }},
		{"STATE", (*edgenetv1.Node).GetState},
		{"LINKS", links},
		{"TUNNEL", tunnelState},
		{"RTT", func(n *edgenetv1.Node) string { return milliseconds(n.GetTunnel().GetRttMs()) }},
		{"HANDSHAKE", s.handshake},
		{"RECEIVED", received},
		{"SENT", sent},
	})
}

func showNode(ctx context.Context, s *session) error {
	args, err := s.arguments("NAME")
	if err != nil {
		return err
	}
	name, err := s.longID(ctx, args[0])
	if err != nil {
		return failed("show node "+args[0], err)
	}
	answer, err := call(ctx, s.nodes.GetNode, &edgenetv1.GetNodeRequest{Name: name})
	if err != nil {
		return failed("show node "+args[0], err)
	}
	return s.printAnswer(answer.GetNode(), s.nodeText(answer.GetNode()))
}

func evictNode(ctx context.Context, s *session) error {
	args, err := s.arguments("NAME")
	if err != nil {
		return err
	}
	name, err := s.longID(ctx, args[0])
	if err != nil {
		return failed("evict node "+args[0], err)
	}
	answer, err := call(ctx, s.mesh.EvictNode, &edgenetv1.EvictNodeRequest{Name: name})
	if err != nil {
		return failed("evict node "+args[0], err)
	}
	text := fmt.Sprintf("node %s (%s) is evicted; the gossip key is replaced", answer.GetNode().GetName(), answer.GetNode().GetId())
	if answer.GetAlready() {
		text = fmt.Sprintf("node %s (%s) was evicted already", answer.GetNode().GetName(), answer.GetNode().GetId())
	}
	return s.printAnswer(answer, printable(text))
}

func (e *env) gossipKeyCommand() *cli.Command {
	return &cli.Command{
		Name:        "gossip-key",
		Usage:       "replace the key that all nodes encrypt gossip with",
		Description: "edgenetctl gossip-key rotate",
		Subcommands: []*cli.Command{{
			Name:        "rotate",
			Usage:       "replace it, without a loss; nodes that are away get it when they come back; only an authority can",
			Description: "edgenetctl gossip-key rotate",
			Action:      e.action(rotateGossipKey),
		}},
	}
}

func rotateGossipKey(ctx context.Context, s *session) error {
	if _, err := s.arguments(); err != nil {
		return err
	}
	answer, err := call(ctx, s.mesh.RotateGossipKey, &edgenetv1.RotateGossipKeyRequest{})
	if err != nil {
		return failed("rotate gossip key", err)
	}
	return s.printAnswer(answer, fmt.Sprintf("the gossip key is replaced; it is number %d after the first", answer.GetGeneration()))
}

func (s *session) nodeText(n *edgenetv1.Node) string {
	lines := []detail{
		{"Name", n.GetName()},
		{"ID", n.GetId()},
		{"Roles", list(n.GetRoles())},
		{"State", n.GetState()},
		{"Links", links(n)},
		{"Address", n.GetAddress()},
		{"Prefix", n.GetPrefix()},
		{"Version", n.GetVersion()},
		{"Certificate", s.expiry(n)},
	}
	if w := n.GetWireguard(); w != nil {
		lines = append(lines, detail{"WireGuard", fmt.Sprintf("key %s, UDP port %d", w.GetPublicKey(), w.GetPort())})
	}
	if i := n.GetIpsec(); i != nil {
		lines = append(lines, detail{"IPsec", fmt.Sprintf("id %s, UDP port %d", i.GetId(), i.GetPort())})
	}
	state := tunnelState(n)
	if state == "resting" {
		state += ", since " + s.when(n.GetTunnel().GetSince())
	}
	lines = append(lines, detail{"Tunnel", state})
	t := n.GetTunnel()
	if t == nil {
		return details(lines)
	}
	return details(append(lines,
		detail{"Driver", t.GetDriver()},
		detail{"Device", t.GetDevice()},
		detail{"Peer", t.GetEndpoint()},
		detail{"MTU", fmt.Sprintf("%d B", t.GetMtu())},
		detail{"Path MTU", s.pathMTU(t)},
		detail{"Cipher", t.GetCipher()},
		detail{"RTT", milliseconds(t.GetRttMs())},
		detail{"Loss", probesLost(t)},
		detail{"Handshake", s.handshake(n)},
		detail{"Received", received(n)},
		detail{"Sent", sent(n)},
	))
}

// shortID is enough of a node's id to tell nodes apart: the part that its
// addresses and the names of its tunnels have, too.
func shortID(id string) string { return id[:min(len(id), shortIDLength)] }

// longID turns what lists show of an id into the whole of it. Everything else
// stays as it is, also a name that happens to look like an id.
func (s *session) longID(ctx context.Context, name string) (string, error) {
	if len(name) != shortIDLength {
		return name, nil
	}
	answer, err := call(ctx, s.nodes.ListNodes, &edgenetv1.ListNodesRequest{})
	if err != nil {
		return "", err
	}
	found := name
	for _, n := range answer.GetNodes() {
		if n.GetName() == name {
			return name, nil
		}
		if shortID(n.GetId()) == name {
			found = n.GetId()
		}
	}
	return found, nil
}

// links are the underlay addresses, with their carriers.
func links(n *edgenetv1.Node) string {
	var words []string
	for _, l := range n.GetLinks() {
		word := l.GetAddress()
		if l.GetCarrier() != "" {
			word += "(" + l.GetCarrier() + ")"
		}
		words = append(words, word)
	}
	return list(words)
}

func tunnelState(n *edgenetv1.Node) string {
	switch {
	case n.GetTunnel() != nil:
		return n.GetTunnel().GetState()
	case n.GetLocal():
		return "this node"
	default:
		return "none"
	}
}

func (s *session) handshake(n *edgenetv1.Node) string {
	if n.GetTunnel() != nil && n.GetTunnel().GetLastHandshake() == nil {
		return "never"
	}
	return s.when(n.GetTunnel().GetLastHandshake())
}

// pathMTU is how large packets to a node may be, and how that is known.
func (s *session) pathMTU(t *edgenetv1.Tunnel) string {
	if t.GetPathMtu() == 0 {
		return ""
	}
	text := fmt.Sprintf("%d B, %s", t.GetPathMtu(), t.GetPathMtuBasis())
	if t.GetPathMtuConfirmed() != nil {
		text += " " + s.when(t.GetPathMtuConfirmed())
	}
	return text
}

func (s *session) expiry(n *edgenetv1.Node) string {
	end := n.GetCertificateExpires()
	switch {
	case end == nil:
		return ""
	case end.AsTime().Before(s.now()):
		return "expired " + s.when(end)
	default:
		return "expires " + s.when(end)
	}
}

func received(n *edgenetv1.Node) string {
	if n.GetTunnel() == nil {
		return ""
	}
	return size(n.GetTunnel().GetRxBytes())
}

func sent(n *edgenetv1.Node) string {
	if n.GetTunnel() == nil {
		return ""
	}
	return size(n.GetTunnel().GetTxBytes())
}
