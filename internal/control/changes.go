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

// localChanges carries changes of VPCs and groups out, or to an authority if
// this node is none, and then waits until they are known here.
type localChanges struct{ daemon *daemon.Daemon }

func forward[Req, Res any](ctx context.Context, d *daemon.Daemon, req *Req,
	call func(*http.Client, string) func(context.Context, *Req) (*Res, error),
) (*Res, error) {
	var res *Res
	err := d.Forward(ctx, func(ctx context.Context, client *http.Client, baseURL string) error {
		var err error
		res, err = call(client, baseURL)(ctx, req)
		return err
	}, unreachable)
	return res, err
}

func vpcClient(c *http.Client, url string) edgenetv1connect.VPCServiceClient {
	return edgenetv1connect.NewVPCServiceClient(c, url)
}

func groupClient(c *http.Client, url string) edgenetv1connect.GroupServiceClient {
	return edgenetv1connect.NewGroupServiceClient(c, url)
}

func (l *localChanges) CreateVPC(ctx context.Context, req *api.CreateVPCRequest) (*api.CreateVPCResponse, error) {
	if l.daemon.IsAuthority() {
		v, err := l.daemon.CreateVPC(ctx, req)
		return &api.CreateVPCResponse{Vpc: v}, err
	}
	res, err := forward(ctx, l.daemon, req, func(c *http.Client, url string) func(context.Context, *api.CreateVPCRequest) (*api.CreateVPCResponse, error) {
		return vpcClient(c, url).CreateVPC
	})
	if err == nil {
		l.daemon.AwaitVPC(ctx, req.GetName())
	}
	return res, err
}

func (l *localChanges) DeleteVPC(ctx context.Context, req *api.DeleteVPCRequest) (*api.DeleteVPCResponse, error) {
	if l.daemon.IsAuthority() {
		return &api.DeleteVPCResponse{}, l.daemon.DeleteVPC(ctx, req.GetName())
	}
	res, err := forward(ctx, l.daemon, req, func(c *http.Client, url string) func(context.Context, *api.DeleteVPCRequest) (*api.DeleteVPCResponse, error) {
		return vpcClient(c, url).DeleteVPC
	})
	if err == nil {
		l.daemon.AwaitVPCGone(ctx, req.GetName())
	}
	return res, err
}

func (l *localChanges) CreateGroup(ctx context.Context, req *api.CreateGroupRequest) (*api.CreateGroupResponse, error) {
	if l.daemon.IsAuthority() {
		g, err := l.daemon.CreateGroup(ctx, req.GetName(), req.GetVpc())
		return &api.CreateGroupResponse{Group: g}, err
	}
	res, err := forward(ctx, l.daemon, req, func(c *http.Client, url string) func(context.Context, *api.CreateGroupRequest) (*api.CreateGroupResponse, error) {
		return groupClient(c, url).CreateGroup
	})
	if err == nil {
		l.daemon.AwaitGroups(ctx, res.GetGroup())
	}
	return res, err
}

func (l *localChanges) DeleteGroup(ctx context.Context, req *api.DeleteGroupRequest) (*api.DeleteGroupResponse, error) {
	if l.daemon.IsAuthority() {
		return &api.DeleteGroupResponse{}, l.daemon.DeleteGroup(ctx, req.GetName(), req.GetVpc())
	}
	res, err := forward(ctx, l.daemon, req, func(c *http.Client, url string) func(context.Context, *api.DeleteGroupRequest) (*api.DeleteGroupResponse, error) {
		return groupClient(c, url).DeleteGroup
	})
	if err == nil {
		l.daemon.AwaitGroupGone(ctx, req.GetName(), req.GetVpc())
	}
	return res, err
}

func (l *localChanges) AddRule(ctx context.Context, req *api.AddRuleRequest) (*api.AddRuleResponse, error) {
	if l.daemon.IsAuthority() {
		g, err := l.daemon.AddRule(ctx, req)
		return &api.AddRuleResponse{Group: g}, err
	}
	res, err := forward(ctx, l.daemon, req, func(c *http.Client, url string) func(context.Context, *api.AddRuleRequest) (*api.AddRuleResponse, error) {
		return groupClient(c, url).AddRule
	})
	if err == nil {
		l.daemon.AwaitGroups(ctx, res.GetGroup())
	}
	return res, err
}

func (l *localChanges) RemoveRule(ctx context.Context, req *api.RemoveRuleRequest) (*api.RemoveRuleResponse, error) {
	if l.daemon.IsAuthority() {
		g, err := l.daemon.RemoveRule(ctx, req)
		return &api.RemoveRuleResponse{Group: g}, err
	}
	res, err := forward(ctx, l.daemon, req, func(c *http.Client, url string) func(context.Context, *api.RemoveRuleRequest) (*api.RemoveRuleResponse, error) {
		return groupClient(c, url).RemoveRule
	})
	if err == nil {
		l.daemon.AwaitGroups(ctx, res.GetGroup())
	}
	return res, err
}

func (l *localChanges) UpdateRule(ctx context.Context, req *api.UpdateRuleRequest) (*api.UpdateRuleResponse, error) {
	if l.daemon.IsAuthority() {
		g, err := l.daemon.UpdateRule(ctx, req)
		return &api.UpdateRuleResponse{Group: g}, err
	}
	res, err := forward(ctx, l.daemon, req, func(c *http.Client, url string) func(context.Context, *api.UpdateRuleRequest) (*api.UpdateRuleResponse, error) {
		return groupClient(c, url).UpdateRule
	})
	if err == nil {
		l.daemon.AwaitGroups(ctx, res.GetGroup())
	}
	return res, err
}

func (l *localChanges) ReplaceGroups(ctx context.Context, req *api.ReplaceGroupsRequest) (*api.ReplaceGroupsResponse, error) {
	if l.daemon.IsAuthority() {
		groups, err := l.daemon.ReplaceGroups(ctx, req)
		return &api.ReplaceGroupsResponse{Groups: groups}, err
	}
	res, err := forward(ctx, l.daemon, req, func(c *http.Client, url string) func(context.Context, *api.ReplaceGroupsRequest) (*api.ReplaceGroupsResponse, error) {
		return groupClient(c, url).ReplaceGroups
	})
	if err == nil {
		l.daemon.AwaitGroups(ctx, res.GetGroups()...)
	}
	return res, err
}

// PeerHandler serves what other nodes ask over the mesh: what this node alone
// knows, and changes, if it is an authority and lets the caller.
func PeerHandler(d *daemon.Daemon, handler http.Handler, log *slog.Logger) http.Handler {
	serve := http.NewServeMux()
	admitted := func(admit func(context.Context) error) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if err := admit(r.Context()); err != nil {
				if connect.NewErrorWriter().Write(w, r, withCode(err)) != nil {
					return // the caller has gone away
				}
				return
			}
			handler.ServeHTTP(w, r)
		})
	}
	for _, procedure := range []string{
		edgenetv1connect.VPCServiceCreateVPCProcedure, edgenetv1connect.VPCServiceDeleteVPCProcedure,
		edgenetv1connect.GroupServiceCreateGroupProcedure, edgenetv1connect.GroupServiceDeleteGroupProcedure,
		edgenetv1connect.GroupServiceAddRuleProcedure, edgenetv1connect.GroupServiceRemoveRuleProcedure,
		edgenetv1connect.GroupServiceUpdateRuleProcedure, edgenetv1connect.GroupServiceReplaceGroupsProcedure,
		edgenetv1connect.PolicyServiceAddTestProcedure, edgenetv1connect.PolicyServiceRemoveTestProcedure,
		edgenetv1connect.PolicyServiceApplyShadowProcedure, edgenetv1connect.PolicyServicePromoteShadowProcedure,
		edgenetv1connect.PolicyServiceDropShadowProcedure,
		edgenetv1connect.TunnelServiceSetTunnelRuleProcedure, edgenetv1connect.TunnelServiceRemoveTunnelRuleProcedure,
	} {
		serve.Handle(procedure, admitted(d.AdmitCaller))
	}
	for _, procedure := range []string{
		edgenetv1connect.GrantServiceCreateGrantProcedure, edgenetv1connect.GrantServiceDeleteGrantProcedure,
		edgenetv1connect.GrantServiceSetMeshSettingsProcedure,
	} {
		serve.Handle(procedure, admitted(d.AdmitTrusted))
	}
	serve.Handle(peerQuestions(d, log))
	return serve
}
