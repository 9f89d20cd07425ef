package control

import (
	"context"

	api "edgenet.dev/edgenet/api/edgenet/v1"
	"edgenet.dev/edgenet/internal/daemon"
)

type healthService struct{ daemon *daemon.Daemon }

func (s healthService) GetHealth(ctx context.Context, req *api.GetHealthRequest) (*api.GetHealthResponse, error) {
	return s.daemon.GetHealth(ctx, req)
}

func (s peerService) ReportHealth(context.Context, *api.ReportHealthRequest) (*api.ReportHealthResponse, error) {
	return s.daemon.ReportHealth(), nil
}
