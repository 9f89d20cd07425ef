package main

import (
	"context"
	"io"
	"net"
	"time"

	"github.com/urfave/cli/v2"

	edgenetv1 "edgenet.dev/edgenet/api/edgenet/v1"
	"edgenet.dev/edgenet/api/edgenet/v1/edgenetv1connect"
)

// defaultSocket is where edgenetd listens unless it is told otherwise.
const defaultSocket = "/run/edgenet/edgenetd.sock"

// env is all that the tool has of the world, so that tests can give it another.
type env struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	getenv         func(string) string
	// dial connects to the control socket at a path.
	dial func(ctx context.Context, socket string) (net.Conn, error)
	now  func() time.Time
	// examine looks at this host.
	examine func(context.Context) (*edgenetv1.DoctorReport, error)
}

// socket is the control socket's path if no flag names it.
func (e *env) socket() string {
	if path := e.getenv("EDGENET_SOCKET"); path != "" {
		return path
	}
	return defaultSocket
}

// session is one command at work: its flags and arguments, and the clients to
// carry it out with.
type session struct {
	*env
	flags  *cli.Context
	format format

	mesh      edgenetv1connect.MeshServiceClient
	nodes     edgenetv1connect.NodeServiceClient
	vpcs      edgenetv1connect.VPCServiceClient
	groups    edgenetv1connect.GroupServiceClient
	endpoints edgenetv1connect.EndpointServiceClient
	policies  edgenetv1connect.PolicyServiceClient
	flows     edgenetv1connect.FlowServiceClient
	tunnels   edgenetv1connect.TunnelServiceClient
	grants    edgenetv1connect.GrantServiceClient
	watcher   edgenetv1connect.WatchServiceClient
	health    edgenetv1connect.HealthServiceClient
}

// action makes what urfave/cli calls from what a command does.
func (e *env) action(do func(context.Context, *session) error) cli.ActionFunc {
	return func(c *cli.Context) error {
		form, err := parseFormat(c.String("output"))
		if err != nil {
			return err
		}
		s := &session{env: e, flags: c, format: form}
		disconnect := s.connect(c.String("socket"))
		defer disconnect()
		return do(c.Context, s)
	}
}

// arguments checks that there is one argument for each name and returns them.
func (s *session) arguments(names ...string) ([]string, error) {
	given := s.flags.Args().Slice()
	switch {
	case len(given) < len(names):
		return nil, usagef("%s is missing", names[len(given)])
	case len(given) > len(names):
		return nil, usagef("%q is one argument too many", given[len(names)])
	}
	return given, nil
}

// required is the value of a flag that must be given.
func (s *session) required(flag string) (string, error) {
	value := s.flags.String(flag)
	if value == "" {
		return "", usagef("--%s is missing", flag)
	}
	return value, nil
}
