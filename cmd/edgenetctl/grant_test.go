package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	edgenetv1 "edgenet.dev/edgenet/api/edgenet/v1"
)

func (f *fake) CreateGrant(_ context.Context, r *edgenetv1.CreateGrantRequest) (*edgenetv1.CreateGrantResponse, error) {
	g := &edgenetv1.Grant{
		Name: r.GetName(), Vpc: r.GetVpc(), Node: r.GetNode(), NodeId: edge1, Ips: r.GetIps(), Prefixes: r.GetPrefixes(),
		Groups: r.GetGroups(), Created: ago(0), State: "unused",
	}
	if ttl := r.GetTtlSeconds(); ttl > 0 {
		g.Expires = ago(-time.Duration(ttl) * time.Second)
	}
	return &edgenetv1.CreateGrantResponse{Grant: g}, f.ask(r)
}

func (f *fake) ListGrants(_ context.Context, r *edgenetv1.ListGrantsRequest) (*edgenetv1.ListGrantsResponse, error) {
	if len(f.nodes) == 0 {
		return &edgenetv1.ListGrantsResponse{}, f.ask(r)
	}
	return &edgenetv1.ListGrantsResponse{Grants: []*edgenetv1.Grant{
		{
			Name: "web-1", Vpc: "blue", Node: "edge-1", NodeId: edge1, Ips: []string{"10.0.0.7", "fd00:1::7"}, Prefixes: []string{"10.0.0.100/32"},
			Groups: []string{"web"}, Created: ago(time.Hour), Expires: ago(-12 * time.Hour), State: "used",
		},
		{Name: "web-2", Vpc: "blue", Node: "edge-2", Ips: []string{"10.0.0.8"}, Created: ago(time.Hour), State: "unused"},
	}}, f.ask(r)
}

func (f *fake) DeleteGrant(_ context.Context, r *edgenetv1.DeleteGrantRequest) (*edgenetv1.DeleteGrantResponse, error) {
	return &edgenetv1.DeleteGrantResponse{}, f.ask(r)
}

func (f *fake) GetMeshSettings(_ context.Context, r *edgenetv1.GetMeshSettingsRequest) (*edgenetv1.GetMeshSettingsResponse, error) {
	return &edgenetv1.GetMeshSettingsResponse{Settings: &edgenetv1.MeshSettings{RequireGrants: true, Grants: 2, Ungranted: 1}}, f.ask(r)
}

func (f *fake) SetMeshSettings(_ context.Context, r *edgenetv1.SetMeshSettingsRequest) (*edgenetv1.SetMeshSettingsResponse, error) {
	answer := &edgenetv1.SetMeshSettingsResponse{Settings: &edgenetv1.MeshSettings{RequireGrants: r.GetRequireGrants()}}
	if r.GetGrantExisting() {
		answer.Granted, answer.Settings.RequiredFrom = 1, ago(-5*time.Second)
	}
	return answer, f.ask(r)
}

func TestGrants(t *testing.T) {
	for _, tt := range []struct {
		args, request, want string
	}{
		{
			"grant create web-1 --vpc blue --node edge-1 --ip 10.0.0.7 --ip fd00:1:0::7 --prefix 10.0.0.100/32 --group web --ttl 12h",
			`CreateGrant {"name":"web-1","vpc":"blue","node":"edge-1","ips":["10.0.0.7","fd00:1::7"],"prefixes":["10.0.0.100/32"],"groups":["web"],"ttlSeconds":"43200"}`,
			"node edge-1 may attach endpoint web-1 to VPC blue: 10.0.0.7,fd00:1::7, for 12h\n",
		},
		{
			"grant create web-1 --vpc blue --node edge-1 --ip 10.0.0.7",
			`CreateGrant {"name":"web-1","vpc":"blue","node":"edge-1","ips":["10.0.0.7"]}`,
			"node edge-1 may attach endpoint web-1 to VPC blue: 10.0.0.7\n",
		},
		{"grant list --node edge-1 --vpc blue", `ListGrants {"node":"edge-1","vpc":"blue"}`, `NAME   VPC   NODE    IP                  PREFIXES       GROUPS  CREATED  EXPIRES  STATE
web-1  blue  edge-1  10.0.0.7,fd00:1::7  10.0.0.100/32  web     1h ago   in 12h   used
web-2  blue  edge-2  10.0.0.8            -              -       1h ago   -        unused
`},
		{
			"grant delete web-1 --vpc blue --node edge-1", `DeleteGrant {"name":"web-1","vpc":"blue","node":"edge-1"}`,
			"node edge-1 may not attach endpoint web-1 to VPC blue any more\n",
		},
		{"mesh show", `GetMeshSettings {}`, "Require grants:  on\nGrants:          2\nNot granted:     1 claim, in force nowhere\n"},
		{"mesh set require-grants off", `SetMeshSettings {"requireGrants":false}`, "require-grants: off\n"},
		{
			"mesh set require-grants on --grant-existing", `SetMeshSettings {"requireGrants":true,"grantExisting":true}`,
			"require-grants: on, in 5s; 1 grant made for what is attached\n",
		},
		{"mesh set require-grants on --force", `SetMeshSettings {"requireGrants":true,"force":true}`, "require-grants: on\n"},
	} {
		f := mesh()
		got := tool(t.Context(), f.serve(t), "", strings.Fields(tt.args)...)
		if got.stdout != tt.want || got.code != exitOK || !slices.Equal(f.requests, []string{tt.request}) {
			t.Errorf("%s: %+v, asked %q; want %q, asked %q", tt.args, got, tt.want, f.requests, tt.request)
		}
	}
	if got := tool(t.Context(), new(fake).serve(t), "", "grant", "list"); got.stdout != "no grants\n" {
		t.Errorf("%+v", got)
	}
	f := mesh()
	f.err = connect.NewError(connect.CodeFailedPrecondition, errors.New("set mesh: it would cut off 3 endpoints"))
	if got := tool(t.Context(), f.serve(t), "", "mesh", "set", "require-grants", "on"); got.code != 1 || got.stderr != "edgenetctl: set require-grants: set mesh: it would cut off 3 endpoints\n" {
		t.Errorf("%+v", got)
	}
}
