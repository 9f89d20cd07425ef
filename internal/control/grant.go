package control

import (
	"context"
	"net/http"

	api "edgenet.dev/edgenet/api/edgenet/v1"
	"edgenet.dev/edgenet/api/edgenet/v1/edgenetv1connect"
	"edgenet.dev/edgenet/internal/daemon"
)

// grantService reads here and changes where changes may be made.
type grantService struct{ daemon *daemon.Daemon }

func (s grantService) ListGrants(_ context.Context, req *api.ListGrantsRequest) (*api.ListGrantsResponse, error) {
	grants, err := s.daemon.ListGrants(req)
	return &api.ListGrantsResponse{Grants: grants}, err
}

func (s grantService) CreateGrant(ctx context.Context, req *api.CreateGrantRequest) (*api.CreateGrantResponse, error) {
	return carryTo(ctx, s.daemon, req, func(ctx context.Context, req *api.CreateGrantRequest) (*api.CreateGrantResponse, error) {
		g, err := s.daemon.CreateGrant(ctx, req)
		return &api.CreateGrantResponse{Grant: g}, err
	}, func(c *http.Client, url string) func(context.Context, *api.CreateGrantRequest) (*api.CreateGrantResponse, error) {
		return edgenetv1connect.NewGrantServiceClient(c, url).CreateGrant
	}, func(res *api.CreateGrantResponse) {
		s.daemon.AwaitGrant(ctx, req.GetName(), req.GetVpc(), req.GetNode(), res.GetGrant())
	})
}

func (s grantService) DeleteGrant(ctx context.Context, req *api.DeleteGrantRequest) (*api.DeleteGrantResponse, error) {
	return carryTo(ctx, s.daemon, req, func(ctx context.Context, req *api.DeleteGrantRequest) (*api.DeleteGrantResponse, error) {
		return &api.DeleteGrantResponse{}, s.daemon.DeleteGrant(ctx, req)
	}, func(c *http.Client, url string) func(context.Context, *api.DeleteGrantRequest) (*api.DeleteGrantResponse, error) {
		return edgenetv1connect.NewGrantServiceClient(c, url).DeleteGrant
	}, func(*api.DeleteGrantResponse) {
		s.daemon.AwaitGrant(ctx, req.GetName(), req.GetVpc(), req.GetNode(), nil)
	})
}

func (s grantService) GetMeshSettings(context.Context, *api.GetMeshSettingsRequest) (*api.GetMeshSettingsResponse, error) {
	now, err := s.daemon.MeshSettings()
	return &api.GetMeshSettingsResponse{Settings: now}, err
}

func (s grantService) SetMeshSettings(ctx context.Context, req *api.SetMeshSettingsRequest) (*api.SetMeshSettingsResponse, error) {
	return carryTo(ctx, s.daemon, req, func(ctx context.Context, req *api.SetMeshSettingsRequest) (*api.SetMeshSettingsResponse, error) {
		granted, err := s.daemon.SetMeshSettings(ctx, req)
		if err != nil {
			return nil, err
		}
		now, err := s.daemon.MeshSettings()
		return &api.SetMeshSettingsResponse{Settings: now, Granted: granted}, err
	}, func(c *http.Client, url string) func(context.Context, *api.SetMeshSettingsRequest) (*api.SetMeshSettingsResponse, error) {
		return edgenetv1connect.NewGrantServiceClient(c, url).SetMeshSettings
	}, func(res *api.SetMeshSettingsResponse) { s.daemon.AwaitMeshSettings(ctx, res.GetSettings()) })
}
