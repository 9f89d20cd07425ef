package control

import (
	"context"

	"connectrpc.com/connect"

	api "edgenet.dev/edgenet/api/edgenet/v1"
	"edgenet.dev/edgenet/internal/daemon"
)

type meshService struct{ daemon *daemon.Daemon }

func (s meshService) Init(ctx context.Context, _ *api.InitRequest) (*api.InitResponse, error) {
	return s.daemon.Init(ctx)
}

func (s meshService) CreateToken(ctx context.Context, req *api.CreateTokenRequest) (*api.CreateTokenResponse, error) {
	return s.daemon.CreateToken(ctx, req)
}

func (s meshService) Join(ctx context.Context, req *api.JoinRequest) (*api.JoinResponse, error) {
	return s.daemon.Join(ctx, req.GetToken())
}

func (s meshService) Leave(ctx context.Context, _ *api.LeaveRequest) (*api.LeaveResponse, error) {
	// A caller that goes away must not stop a node halfway out.
	return &api.LeaveResponse{}, s.daemon.Leave(context.WithoutCancel(ctx))
}

func (s meshService) EvictNode(ctx context.Context, req *api.EvictNodeRequest) (*api.EvictNodeResponse, error) {
	return s.daemon.EvictNode(ctx, req.GetName())
}

func (s meshService) RotateGossipKey(ctx context.Context, _ *api.RotateGossipKeyRequest) (*api.RotateGossipKeyResponse, error) {
	return s.daemon.RotateGossipKey(ctx)
}

func (s meshService) BackupAuthority(ctx context.Context, req *api.BackupAuthorityRequest) (*api.BackupAuthorityResponse, error) {
	return s.daemon.BackupAuthority(ctx, req.GetPassphrase())
}

func (s meshService) RestoreAuthority(ctx context.Context, req *api.RestoreAuthorityRequest) (*api.RestoreAuthorityResponse, error) {
	return s.daemon.RestoreAuthority(ctx, req.GetBackup(), req.GetPassphrase())
}

func (s meshService) GetStatus(context.Context, *api.GetStatusRequest) (*api.GetStatusResponse, error) {
	return s.daemon.Status(), nil
}

type nodeService struct{ daemon *daemon.Daemon }

func (s nodeService) ListNodes(context.Context, *api.ListNodesRequest) (*api.ListNodesResponse, error) {
	return &api.ListNodesResponse{Nodes: s.daemon.ListNodes()}, nil
}

func (s nodeService) GetNode(_ context.Context, req *api.GetNodeRequest) (*api.GetNodeResponse, error) {
	n, err := s.daemon.GetNode(req.GetName())
	return &api.GetNodeResponse{Node: n}, err
}

// vpcService reads here and changes where changes may be made.
type vpcService struct {
	daemon *daemon.Daemon
	*localChanges
}

func (s vpcService) ListVPCs(context.Context, *api.ListVPCsRequest) (*api.ListVPCsResponse, error) {
	return &api.ListVPCsResponse{Vpcs: s.daemon.ListVPCs()}, nil
}

func (s vpcService) GetVPC(_ context.Context, req *api.GetVPCRequest) (*api.GetVPCResponse, error) {
	v, err := s.daemon.GetVPC(req.GetName())
	return &api.GetVPCResponse{Vpc: v}, err
}

type groupService struct {
	daemon *daemon.Daemon
	*localChanges
}

func (s groupService) ListGroups(_ context.Context, req *api.ListGroupsRequest) (*api.ListGroupsResponse, error) {
	groups, err := s.daemon.ListGroups(req.GetVpc())
	return &api.ListGroupsResponse{Groups: groups}, err
}

func (s groupService) GetGroup(_ context.Context, req *api.GetGroupRequest) (*api.GetGroupResponse, error) {
	g, err := s.daemon.GetGroup(req.GetName(), req.GetVpc())
	return &api.GetGroupResponse{Group: g}, err
}

type endpointService struct{ daemon *daemon.Daemon }

func (s endpointService) AttachEndpoint(ctx context.Context, req *api.AttachEndpointRequest) (*api.AttachEndpointResponse, error) {
	e, err := s.daemon.AttachEndpoint(ctx, req)
	return &api.AttachEndpointResponse{Endpoint: e}, err
}

func (s endpointService) DetachEndpoint(ctx context.Context, req *api.DetachEndpointRequest) (*api.DetachEndpointResponse, error) {
	return &api.DetachEndpointResponse{}, s.daemon.DetachEndpoint(ctx, req.GetName(), req.GetVpc())
}

func (s endpointService) ListEndpoints(ctx context.Context, req *api.ListEndpointsRequest) (*api.ListEndpointsResponse, error) {
	endpoints, err := s.daemon.ListEndpoints(ctx, req.GetVpc())
	return &api.ListEndpointsResponse{Endpoints: endpoints}, err
}

func (s endpointService) GetEndpoint(ctx context.Context, req *api.GetEndpointRequest) (*api.GetEndpointResponse, error) {
	e, err := s.daemon.GetEndpoint(ctx, req.GetName(), req.GetVpc())
	return &api.GetEndpointResponse{Endpoint: e}, err
}

type watchService struct{ daemon *daemon.Daemon }

func (s watchService) Watch(ctx context.Context, req *api.WatchRequest, stream *connect.ServerStream[api.WatchResponse]) error {
	return s.daemon.Watch(ctx, req, stream.Send)
}
