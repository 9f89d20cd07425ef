package control

import (
	"context"
	"net/http"

	api "edgenet.dev/edgenet/api/edgenet/v1"
	"edgenet.dev/edgenet/api/edgenet/v1/edgenetv1connect"
	"edgenet.dev/edgenet/internal/daemon"
)

// policyService reads here and changes where changes may be made.
type policyService struct{ daemon *daemon.Daemon }

type policyClient = edgenetv1connect.PolicyServiceClient

// carry makes a change here, or asks an authority for it if this node is none
// and then waits until it is known here.
func carry[Req, Res any](ctx context.Context, d *daemon.Daemon, req *Req,
	here func(context.Context, *Req) (*Res, error),
	there func(policyClient) func(context.Context, *Req) (*Res, error),
	await func(*Res),
) (*Res, error) {
	return carryTo(ctx, d, req, here, func(c *http.Client, url string) func(context.Context, *Req) (*Res, error) {
		return there(edgenetv1connect.NewPolicyServiceClient(c, url))
	}, await)
}

// carryTo is carry for a service of any kind.
func carryTo[Req, Res any](ctx context.Context, d *daemon.Daemon, req *Req,
	here func(context.Context, *Req) (*Res, error),
	there func(*http.Client, string) func(context.Context, *Req) (*Res, error),
	await func(*Res),
) (*Res, error) {
	if d.IsAuthority() {
		return here(ctx, req)
	}
	res, err := forward(ctx, d, req, there)
	if err == nil {
		await(res)
	}
	return res, err
}

func (s policyService) AddTest(ctx context.Context, req *api.AddTestRequest) (*api.AddTestResponse, error) {
	return carry(ctx, s.daemon, req, func(ctx context.Context, req *api.AddTestRequest) (*api.AddTestResponse, error) {
		t, err := s.daemon.AddTest(ctx, req)
		return &api.AddTestResponse{Test: t}, err
	}, func(c policyClient) func(context.Context, *api.AddTestRequest) (*api.AddTestResponse, error) {
		return c.AddTest
	}, func(res *api.AddTestResponse) {
		s.daemon.AwaitTest(ctx, req.GetVpc(), res.GetTest().GetAssertion(), daemon.Present)
	})
}

func (s policyService) RemoveTest(ctx context.Context, req *api.RemoveTestRequest) (*api.RemoveTestResponse, error) {
	return carry(ctx, s.daemon, req, func(ctx context.Context, req *api.RemoveTestRequest) (*api.RemoveTestResponse, error) {
		return &api.RemoveTestResponse{}, s.daemon.RemoveTest(ctx, req)
	}, func(c policyClient) func(context.Context, *api.RemoveTestRequest) (*api.RemoveTestResponse, error) {
		return c.RemoveTest
	}, func(*api.RemoveTestResponse) {
		s.daemon.AwaitTest(ctx, req.GetVpc(), req.GetAssertion(), daemon.Absent)
	})
}

func (s policyService) ListTests(_ context.Context, req *api.ListTestsRequest) (*api.ListTestsResponse, error) {
	tests, err := s.daemon.ListTests(req.GetVpc())
	return &api.ListTestsResponse{Tests: tests}, err
}

func (s policyService) RunTests(_ context.Context, req *api.RunTestsRequest) (*api.RunTestsResponse, error) {
	tests, err := s.daemon.RunTests(req.GetVpc())
	return &api.RunTestsResponse{Tests: tests}, err
}

func (s policyService) DiffGroups(_ context.Context, req *api.DiffGroupsRequest) (*api.DiffGroupsResponse, error) {
	return s.daemon.DiffGroups(req)
}

func (s policyService) ApplyShadow(ctx context.Context, req *api.ApplyShadowRequest) (*api.ApplyShadowResponse, error) {
	return carry(ctx, s.daemon, req, s.daemon.ApplyShadow, func(c policyClient) func(context.Context, *api.ApplyShadowRequest) (*api.ApplyShadowResponse, error) {
		return c.ApplyShadow
	}, func(res *api.ApplyShadowResponse) { s.daemon.AwaitShadow(ctx, req.GetVpc(), res.GetCreated()) })
}

func (s policyService) GetShadow(ctx context.Context, req *api.GetShadowRequest) (*api.GetShadowResponse, error) {
	return s.daemon.GetShadow(ctx, req.GetVpc())
}

func (s policyService) PromoteShadow(ctx context.Context, req *api.PromoteShadowRequest) (*api.PromoteShadowResponse, error) {
	return carry(ctx, s.daemon, req, func(ctx context.Context, req *api.PromoteShadowRequest) (*api.PromoteShadowResponse, error) {
		groups, err := s.daemon.PromoteShadow(ctx, req)
		return &api.PromoteShadowResponse{Groups: groups}, err
	}, func(c policyClient) func(context.Context, *api.PromoteShadowRequest) (*api.PromoteShadowResponse, error) {
		return c.PromoteShadow
	}, func(res *api.PromoteShadowResponse) {
		s.daemon.AwaitGroups(ctx, res.GetGroups()...)
		s.daemon.AwaitShadow(ctx, req.GetVpc(), nil)
	})
}

func (s policyService) DropShadow(ctx context.Context, req *api.DropShadowRequest) (*api.DropShadowResponse, error) {
	return carry(ctx, s.daemon, req, func(ctx context.Context, req *api.DropShadowRequest) (*api.DropShadowResponse, error) {
		return &api.DropShadowResponse{}, s.daemon.DropShadow(ctx, req.GetVpc())
	}, func(c policyClient) func(context.Context, *api.DropShadowRequest) (*api.DropShadowResponse, error) {
		return c.DropShadow
	}, func(*api.DropShadowResponse) { s.daemon.AwaitShadow(ctx, req.GetVpc(), nil) })
}

func (s policyService) ListAudit(context.Context, *api.ListAuditRequest) (*api.ListAuditResponse, error) {
	entries, err := s.daemon.ListAudit()
	return &api.ListAuditResponse{Entries: entries}, err
}
