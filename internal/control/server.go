package control

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/user"
	"strconv"
	"time"

	"connectrpc.com/connect"
	"connectrpc.com/grpcreflect"

	"edgenet.dev/edgenet/api/edgenet/v1/edgenetv1connect"
	"edgenet.dev/edgenet/internal/daemon"
)

const (
	// maxRequest bounds a request's body in bytes.
	maxRequest = 1 << 20
	// socketGroup may use the control socket besides root, where it exists.
	socketGroup = "edgenet"
	// drain is how long calls may go on after a stop.
	drain = 2 * time.Second
)

// Handler serves the whole API.
func Handler(d *daemon.Daemon, log *slog.Logger) http.Handler {
	mux := http.NewServeMux()
	options := []connect.HandlerOption{
		connect.WithReadMaxBytes(maxRequest),
		connect.WithInterceptors(errorInterceptor{log}),
	}
	changes := &localChanges{daemon: d}
	mux.Handle(edgenetv1connect.NewMeshServiceHandler(meshService{d}, options...))
	mux.Handle(edgenetv1connect.NewNodeServiceHandler(nodeService{d}, options...))
	mux.Handle(edgenetv1connect.NewVPCServiceHandler(vpcService{d, changes}, options...))
	mux.Handle(edgenetv1connect.NewGroupServiceHandler(groupService{d, changes}, options...))
	mux.Handle(edgenetv1connect.NewEndpointServiceHandler(endpointService{d}, options...))
	mux.Handle(edgenetv1connect.NewWatchServiceHandler(watchService{d}, options...))
	reflector := grpcreflect.NewStaticReflector(
		edgenetv1connect.MeshServiceName, edgenetv1connect.NodeServiceName, edgenetv1connect.VPCServiceName,
		edgenetv1connect.GroupServiceName, edgenetv1connect.EndpointServiceName, edgenetv1connect.WatchServiceName,
	)
	mux.Handle(grpcreflect.NewHandlerV1(reflector))
	mux.Handle(grpcreflect.NewHandlerV1Alpha(reflector))
	return mux
}

// Server serves the API on a unix socket.
type Server struct {
	listener net.Listener
	http     *http.Server
}

// Listen takes the socket; a stale one of a daemon that was killed is replaced.
// The caller holds the run directory's lock, so that no live daemon uses it.
func Listen(path string, handler http.Handler) (*Server, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("remove stale control socket: %w", err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen on control socket: %w", err)
	}
	if err := protect(path); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	return &Server{listener: l, http: &http.Server{
		Handler:           handler,
		Protocols:         protocols,
		ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
	}}, nil
}

// protect gives the socket to root and, where there is one, to the group.
func protect(path string) error {
	if err := os.Chmod(path, 0o660); err != nil {
		return fmt.Errorf("protect control socket: %w", err)
	}
	g, err := user.LookupGroup(socketGroup)
	var unknown user.UnknownGroupError
	if errors.As(err, &unknown) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look up group %s: %w", socketGroup, err)
	}
	gid, err := strconv.Atoi(g.Gid)
	if err != nil {
		return fmt.Errorf("look up group %s: %w", socketGroup, err)
	}
	if err := os.Chown(path, 0, gid); err != nil {
		return fmt.Errorf("protect control socket: %w", err)
	}
	return nil
}

// Run serves until ctx ends, then lets running calls end.
func (s *Server) Run(ctx context.Context) error {
	streams, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	s.http.BaseContext = func(net.Listener) context.Context { return streams }
	done := make(chan error, 1)
	go func() { done <- s.http.Serve(s.listener) }()
	select {
	case err := <-done:
		return fmt.Errorf("serve control socket: %w", err)
	case <-ctx.Done():
	}
	// Watches have no end of their own.
	stop()
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
	defer cancel()
	err := s.http.Shutdown(limit)
	if errors.Is(err, context.DeadlineExceeded) {
		err = s.http.Close()
	}
	if served := <-done; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	if err != nil {
		return fmt.Errorf("stop control socket: %w", err)
	}
	return nil
}
