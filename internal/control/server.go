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
	"golang.org/x/sys/unix"

	"edgenet.dev/edgenet/api/edgenet/v1/edgenetv1connect"
	"edgenet.dev/edgenet/internal/daemon"
)

const (
	// maxRequest bounds a request's body in bytes: all rules that a VPC may have.
	maxRequest = 8 << 20
	// socketGroup may use the control socket besides root, where it exists.
	socketGroup = "edgenet"
	// drain is how long calls may go on after a stop.
	drain = 2 * time.Second
)

// leastCompressed is the length in bytes from which answers are compressed. What
// fits a packet gains nothing by it.
const leastCompressed = 1024

// Handler serves the whole API. Observers see each call and the code of its error.
func Handler(d *daemon.Daemon, log *slog.Logger, observers ...connect.Interceptor) http.Handler {
	mux := http.NewServeMux()
	options := []connect.HandlerOption{
		connect.WithReadMaxBytes(maxRequest),
		connect.WithCompressMinBytes(leastCompressed),
		connect.WithInterceptors(append(observers, errorInterceptor{log})...),
	}
	changes := &localChanges{daemon: d}
	mux.Handle(edgenetv1connect.NewMeshServiceHandler(meshService{d}, options...))
	mux.Handle(edgenetv1connect.NewNodeServiceHandler(nodeService{d}, options...))
	mux.Handle(edgenetv1connect.NewVPCServiceHandler(vpcService{d, changes}, options...))
	mux.Handle(edgenetv1connect.NewGroupServiceHandler(groupService{d, changes}, options...))
	mux.Handle(edgenetv1connect.NewEndpointServiceHandler(endpointService{d}, options...))
	mux.Handle(edgenetv1connect.NewPolicyServiceHandler(policyService{d}, options...))
	mux.Handle(edgenetv1connect.NewFlowServiceHandler(flowService{d}, options...))
	mux.Handle(edgenetv1connect.NewTunnelServiceHandler(tunnelService{d}, options...))
	mux.Handle(edgenetv1connect.NewGrantServiceHandler(grantService{d}, options...))
	mux.Handle(edgenetv1connect.NewWatchServiceHandler(watchService{d}, options...))
	mux.Handle(edgenetv1connect.NewHealthServiceHandler(healthService{d}, options...))
	reflector := grpcreflect.NewStaticReflector(
		edgenetv1connect.MeshServiceName, edgenetv1connect.NodeServiceName, edgenetv1connect.VPCServiceName,
		edgenetv1connect.GroupServiceName, edgenetv1connect.EndpointServiceName, edgenetv1connect.PolicyServiceName,
		edgenetv1connect.FlowServiceName, edgenetv1connect.TunnelServiceName, edgenetv1connect.WatchServiceName,
		edgenetv1connect.HealthServiceName,
		edgenetv1connect.GrantServiceName,
	)
	mux.Handle(grpcreflect.NewHandlerV1(reflector))
	mux.Handle(grpcreflect.NewHandlerV1Alpha(reflector))
	return mux
}

// Server serves the API on a unix socket.
type Server struct {
	listener net.Listener
	http     *http.Server
	// endWatches ends the calls that have no end of their own.
	endWatches context.CancelFunc
}

// Listen takes the socket; a stale one of a daemon that was killed is replaced.
// The caller holds the run directory's lock, so that no live daemon uses it.
func Listen(path string, handler http.Handler) (*Server, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("remove stale control socket: %w", err)
	}
	// Nobody else may connect before the socket has its owner.
	umask := unix.Umask(0o177)
	l, err := net.Listen("unix", path)
	unix.Umask(umask)
	if err != nil {
		return nil, fmt.Errorf("listen on control socket: %w", err)
	}
	if err := protect(path); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	watches, end := context.WithCancel(context.Background())
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	return &Server{listener: l, endWatches: end, http: &http.Server{
		Handler:           endWith(watches, handler),
		Protocols:         protocols,
		ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		ConnContext:       withCaller,
	}}, nil
}

// endWith serves watches until ctx ends at most.
func endWith(ctx context.Context, handler http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case edgenetv1connect.WatchServiceWatchProcedure, edgenetv1connect.FlowServiceWatchDropsProcedure,
			edgenetv1connect.TunnelServiceWatchTunnelsProcedure:
			watch, cancel := context.WithCancel(r.Context())
			defer cancel()
			defer context.AfterFunc(ctx, cancel)()
			r = r.WithContext(watch)
		}
		handler.ServeHTTP(w, r)
	})
}

// protect gives the socket to the daemon's user and, where there is one, to the
// group.
func protect(path string) error {
	gid := -1 // as it is
	g, err := user.LookupGroup(socketGroup)
	var unknown user.UnknownGroupError
	switch {
	case errors.As(err, &unknown):
	case err != nil:
		return fmt.Errorf("look up group %s: %w", socketGroup, err)
	default:
		if gid, err = strconv.Atoi(g.Gid); err != nil {
			return fmt.Errorf("look up group %s: %w", socketGroup, err)
		}
	}
	if err := os.Chown(path, -1, gid); err != nil {
		return fmt.Errorf("give control socket to group %s: %w", socketGroup, err)
	}
	// Only now: before, the group was the daemon's own.
	if err := os.Chmod(path, 0o660); err != nil {
		return fmt.Errorf("protect control socket: %w", err)
	}
	return nil
}

// Run serves until ctx ends, then lets running calls end.
func (s *Server) Run(ctx context.Context) error {
	defer s.endWatches()
	done := make(chan error, 1)
	go func() { done <- s.http.Serve(s.listener) }()
	select {
	case err := <-done:
		return fmt.Errorf("serve control socket: %w", err)
	case <-ctx.Done():
	}
	s.endWatches()
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
