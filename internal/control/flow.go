package control

import (
	"context"

	"connectrpc.com/connect"

	api "edgenet.dev/edgenet/api/edgenet/v1"
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

// peerService answers what other nodes ask over the mesh. It changes nothing but
// whose turn it is.
type peerService struct{ daemon *daemon.Daemon }

func (s peerService) TraceSide(ctx context.Context, req *api.TraceSideRequest) (*api.TraceSideResponse, error) {
	return s.daemon.TraceSide(ctx, req)
}

func (s peerService) CountShadow(ctx context.Context, req *api.CountShadowRequest) (*api.CountShadowResponse, error) {
	return s.daemon.CountShadow(ctx, req.GetVpc())
}

func (s peerService) KnowKey(ctx context.Context, req *api.KnowKeyRequest) (*api.KnowKeyResponse, error) {
	return s.daemon.KnowKey(ctx, req)
}
