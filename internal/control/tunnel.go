package control

import (
	"context"
	"net/http"

	"connectrpc.com/connect"

	api "edgenet.dev/edgenet/api/edgenet/v1"
	"edgenet.dev/edgenet/api/edgenet/v1/edgenetv1connect"
	"edgenet.dev/edgenet/internal/daemon"
)

// tunnelService reads here and changes where changes may be made.
type tunnelService struct{ daemon *daemon.Daemon }

func (s tunnelService) ListTunnels(context.Context, *api.ListTunnelsRequest) (*api.ListTunnelsResponse, error) {
	return &api.ListTunnelsResponse{Tunnels: s.daemon.ListTunnels()}, nil
}

func (s tunnelService) GetTunnel(_ context.Context, req *api.GetTunnelRequest) (*api.GetTunnelResponse, error) {
	t, err := s.daemon.GetTunnel(req.GetNode())
	return &api.GetTunnelResponse{Tunnel: t}, err
}

func (s tunnelService) WatchTunnels(ctx context.Context, req *api.WatchTunnelsRequest, stream *connect.ServerStream[api.WatchTunnelsResponse]) error {
	return s.daemon.WatchTunnels(ctx, req, stream.Send)
}

func (s tunnelService) RotateKeys(ctx context.Context, _ *api.RotateKeysRequest) (*api.RotateKeysResponse, error) {
	return s.daemon.RotateKeys(ctx)
}

func (s tunnelService) GetTunnelPolicy(context.Context, *api.GetTunnelPolicyRequest) (*api.GetTunnelPolicyResponse, error) {
	rules, err := s.daemon.TunnelPolicy()
	return &api.GetTunnelPolicyResponse{Rules: rules}, err
}

func (s tunnelService) SetTunnelRule(ctx context.Context, req *api.SetTunnelRuleRequest) (*api.SetTunnelRuleResponse, error) {
	return carryTo(ctx, s.daemon, req, func(ctx context.Context, req *api.SetTunnelRuleRequest) (*api.SetTunnelRuleResponse, error) {
		rule, err := s.daemon.SetTunnelRule(ctx, req)
		return &api.SetTunnelRuleResponse{Rule: rule}, err
	}, func(c *http.Client, url string) func(context.Context, *api.SetTunnelRuleRequest) (*api.SetTunnelRuleResponse, error) {
		return edgenetv1connect.NewTunnelServiceClient(c, url).SetTunnelRule
	}, func(res *api.SetTunnelRuleResponse) { s.daemon.AwaitTunnelRule(ctx, res.GetRule()) })
}

func (s tunnelService) RemoveTunnelRule(ctx context.Context, req *api.RemoveTunnelRuleRequest) (*api.RemoveTunnelRuleResponse, error) {
	return carryTo(ctx, s.daemon, req, func(ctx context.Context, req *api.RemoveTunnelRuleRequest) (*api.RemoveTunnelRuleResponse, error) {
		return &api.RemoveTunnelRuleResponse{}, s.daemon.RemoveTunnelRule(ctx, req)
	}, func(c *http.Client, url string) func(context.Context, *api.RemoveTunnelRuleRequest) (*api.RemoveTunnelRuleResponse, error) {
		return edgenetv1connect.NewTunnelServiceClient(c, url).RemoveTunnelRule
	}, func(*api.RemoveTunnelRuleResponse) {
		s.daemon.AwaitTunnelRule(ctx, &api.TunnelRule{Between: req.GetBetween()})
	})
}
