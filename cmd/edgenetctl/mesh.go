package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"

	edgenetv1 "edgenet.dev/edgenet/api/edgenet/v1"
)

// maxToken bounds what is read as a token from stdin.
const maxToken = 64 << 10

func (e *env) initCommand() *cli.Command {
	return &cli.Command{
		Name:        "init",
		Usage:       "make a mesh on this node, which becomes its authority",
		Description: "edgenetctl init",
		Action: e.action(func(ctx context.Context, s *session) error {
			if _, err := s.arguments(); err != nil {
				return err
			}
			answer, err := call(ctx, s.mesh.Init, &edgenetv1.InitRequest{})
			if err != nil {
				return failed("make mesh", err)
			}
			return s.printAnswer(answer, printable(fmt.Sprintf("mesh %s made; node %s (%s) is its authority, address %s",
				answer.GetMeshId(), answer.GetNode().GetName(), answer.GetNode().GetId(), answer.GetNode().GetAddress())))
		}),
	}
}

func (e *env) joinCommand() *cli.Command {
	return &cli.Command{
		Name:      "join",
		Usage:     "make this node a member of the mesh that a token names",
		ArgsUsage: "TOKEN|-",
		Description: "edgenetctl join edgenet1.Zm9vYmFy...\n" +
			"edgenetctl join - < token.txt     # keeps the token out of the process list",
		Action: e.action(func(ctx context.Context, s *session) error {
			args, err := s.arguments("TOKEN")
			if err != nil {
				return err
			}
			token := args[0]
			if token == "-" {
				if token, err = readToken(s.stdin); err != nil {
					return err
				}
			}
			answer, err := call(ctx, s.mesh.Join, &edgenetv1.JoinRequest{Token: token})
			if err != nil {
				return failed("join mesh", err)
			}
			return s.printAnswer(answer, printable(fmt.Sprintf("node %s (%s) joined mesh %s as %s, address %s",
				answer.GetNode().GetName(), answer.GetNode().GetId(), answer.GetMeshId(),
				list(answer.GetNode().GetRoles()), answer.GetNode().GetAddress())))
		}),
	}
}

func readToken(r io.Reader) (string, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxToken))
	if err != nil {
		return "", fmt.Errorf("read token from stdin: %w", err)
	}
	token := strings.TrimSpace(string(text))
	if token == "" {
		return "", usagef("stdin has no token")
	}
	return token, nil
}

func (e *env) leaveCommand() *cli.Command {
	return &cli.Command{
		Name:        "leave",
		Usage:       "detach all endpoints of this node, leave the mesh and forget it; the last authority takes the right to admit nodes with it",
		Description: "edgenetctl leave",
		Action: e.action(func(ctx context.Context, s *session) error {
			if _, err := s.arguments(); err != nil {
				return err
			}
			answer, err := call(ctx, s.mesh.Leave, &edgenetv1.LeaveRequest{})
			if err != nil {
				return failed("leave", err)
			}
			return s.printAnswer(answer, "left the mesh")
		}),
	}
}

func (e *env) statusCommand() *cli.Command {
	return &cli.Command{
		Name:        "status",
		Usage:       "tell how this node stands",
		Description: "edgenetctl status\nedgenetctl status -o json",
		Action: e.action(func(ctx context.Context, s *session) error {
			if _, err := s.arguments(); err != nil {
				return err
			}
			answer, err := call(ctx, s.mesh.GetStatus, &edgenetv1.GetStatusRequest{})
			if err != nil {
				return failed("get status", err)
			}
			return s.printAnswer(answer, s.statusText(answer))
		}),
	}
}

func (s *session) statusText(status *edgenetv1.GetStatusResponse) string {
	lines := []detail{
		{"Name", status.GetName()},
		{"ID", status.GetId()},
		{"Mesh", status.GetMeshId()},
		{"Roles", list(status.GetRoles())},
		{"Version", status.GetVersion()},
		{"Started", s.when(status.GetStarted())},
		{"Nodes", fmt.Sprintf("%d of %d alive", status.GetNodesAlive(), status.GetNodesTotal())},
		{"Tunnels", fmt.Sprintf("%d up", status.GetTunnelsUp())},
		{"Endpoints", fmt.Sprintf("%d here", status.GetEndpointsLocal())},
	}
	if status.GetMeshId() == "" {
		lines[2].value = "none: make one with init, or join one"
	}
	if k := status.GetTunnelKey(); k != nil {
		lines = append(lines, detail{"Tunnel key", s.keyAge(k)})
	}
	if d := status.GetDrops(); len(d) > 0 {
		lines = append(lines, detail{"Dropped", byReason(d)})
	}
	if r := status.GetRefusals(); len(r) > 0 {
		lines = append(lines, detail{"Refused", byReason(r)})
	}
	if len(status.GetProblems()) == 0 {
		return details(append(lines, detail{"Problems", "none"}))
	}
	for _, problem := range status.GetProblems() {
		lines = append(lines, detail{"Problem", problem})
	}
	return details(lines)
}
