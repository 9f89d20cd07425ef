package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"syscall"
	"time"

	"connectrpc.com/connect"

	"edgenet.dev/edgenet/api/edgenet/v1/edgenetv1connect"
)

const (
	// baseURL has a host only because HTTP wants one: the socket is the address.
	baseURL = "http://edgenet"
	// callTimeout ends calls that nobody answers. A join, which takes longest,
	// talks to a node that may be far away.
	callTimeout = time.Minute
)

// connect sets up the clients; the socket is dialled by the first call. The
// returned function lets go of the connection.
func (s *session) connect(socket string) (disconnect func()) {
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			conn, err := s.dial(ctx, socket)
			if err != nil {
				return nil, &dialError{socket: socket, err: err}
			}
			return conn, nil
		},
	}
	client := &http.Client{Transport: transport}
	s.mesh = edgenetv1connect.NewMeshServiceClient(client, baseURL)
	s.nodes = edgenetv1connect.NewNodeServiceClient(client, baseURL)
	s.vpcs = edgenetv1connect.NewVPCServiceClient(client, baseURL)
	s.groups = edgenetv1connect.NewGroupServiceClient(client, baseURL)
	s.endpoints = edgenetv1connect.NewEndpointServiceClient(client, baseURL)
	s.policies = edgenetv1connect.NewPolicyServiceClient(client, baseURL)
	s.flows = edgenetv1connect.NewFlowServiceClient(client, baseURL)
	s.tunnels = edgenetv1connect.NewTunnelServiceClient(client, baseURL)
	s.health = edgenetv1connect.NewHealthServiceClient(client, baseURL)
	s.grants = edgenetv1connect.NewGrantServiceClient(client, baseURL)
	s.watcher = edgenetv1connect.NewWatchServiceClient(client, baseURL)
	return transport.CloseIdleConnections
}

// call makes one call and puts its error into words for people.
func call[Req, Res any](ctx context.Context, method func(context.Context, *Req) (*Res, error), request *Req) (*Res, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	response, err := method(ctx, request)
	if err != nil {
		return nil, inWords(err)
	}
	return response, nil
}

// dialError is a control socket that cannot be connected to.
type dialError struct {
	socket string
	err    error
}

func (e *dialError) Error() string {
	const advice = "name another socket with --socket or EDGENET_SOCKET"
	switch {
	case errors.Is(e.err, fs.ErrNotExist):
		return fmt.Sprintf("no socket at %s: start edgenetd, or %s", e.socket, advice)
	case errors.Is(e.err, syscall.ECONNREFUSED):
		return fmt.Sprintf("nothing listens at %s: start edgenetd, or %s", e.socket, advice)
	case errors.Is(e.err, fs.ErrPermission):
		return fmt.Sprintf("no permission for %s: be root or a member of the socket's group", e.socket)
	default:
		return fmt.Sprintf("connect to %s: %v", e.socket, e.err)
	}
}

func (e *dialError) Unwrap() error { return e.err }

// inWords takes the protocol's noise off an error of a call.
func inWords(err error) error {
	var (
		unreachable *dialError
		answer      *connect.Error
	)
	switch {
	case errors.As(err, &unreachable):
		return unreachable
	case errors.Is(err, context.Canceled):
		return errors.New("interrupted")
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("edgenetd did not answer within %s", callTimeout)
	case !errors.As(err, &answer):
		return err
	case answer.Code() == connect.CodeUnimplemented:
		return errors.New("edgenetd does not know this call: it is older than this tool, or something else listens at the socket")
	case connect.IsWireError(err):
		return errors.New(answer.Message())
	default:
		return fmt.Errorf("edgenetd broke off: %s", answer.Message())
	}
}
