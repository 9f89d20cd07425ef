package control

import (
	"context"
	"log/slog"
	"net/http"

	"connectrpc.com/connect"

	api "edgenet.dev/edgenet/api/edgenet/v1"
	"edgenet.dev/edgenet/api/edgenet/v1/edgenetv1connect"
	"edgenet.dev/edgenet/internal/daemon"
)

type flowService struct{ daemon *daemon.Daemon }

func (s flowService) Trace(ctx context.Context, req *api.TraceRequest) (*api.TraceResponse, error) {
	return s.daemon.Trace(ctx, req)
}

func (s flowService) ListFlows(ctx context.Context, req *api.ListFlowsRequest, stream *connect.ServerStream[api.ListFlowsResponse]) error {
	return s.daemon.ListFlows(ctx, req, stream.Send)
}

func (s flowService) FlushFlows(ctx context.Context, req *api.FlushFlowsRequest) (*api.FlushFlowsResponse, error) {
	return s.daemon.FlushFlows(ctx, req)
}

func (s flowService) WatchDrops(ctx context.Context, req *api.WatchDropsRequest, stream *connect.ServerStream[api.WatchDropsResponse]) error {
	return s.daemon.WatchDrops(ctx, req, stream.Send)
}

// peerService answers what other nodes ask over the mesh. It only reads.
type peerService struct{ daemon *daemon.Daemon }

func (s peerService) TraceSide(ctx context.Context, req *api.TraceSideRequest) (*api.TraceSideResponse, error) {
	return s.daemon.TraceSide(ctx, req)
}

func (s peerService) CountShadow(ctx context.Context, req *api.CountShadowRequest) (*api.CountShadowResponse, error) {
	return s.daemon.CountShadow(ctx, req.GetVpc())
}

const (
	// maxQuestion bounds a question of another node, in bytes.
	maxQuestion = 16 << 10
	// maxQuestions bounds those that are answered at once; more wait.
	maxQuestions = 8
)

// peerQuestions serves PeerService, and its path.
func peerQuestions(d *daemon.Daemon, log *slog.Logger) (string, http.Handler) {
	path, handler := edgenetv1connect.NewPeerServiceHandler(peerService{d},
		connect.WithReadMaxBytes(maxQuestion), connect.WithInterceptors(errorInterceptor{log}))
	turns := make(chan struct{}, maxQuestions)
	return path, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case turns <- struct{}{}:
		case <-r.Context().Done():
			return
		}
		defer func() { <-turns }()
		handler.ServeHTTP(w, r)
	})
}
