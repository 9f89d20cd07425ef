package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	edgenetv1 "edgenet.dev/edgenet/api/edgenet/v1"
	"edgenet.dev/edgenet/api/edgenet/v1/edgenetv1connect"
)

// asTool in the environment makes the test program the tool itself, for tests
// that need one to execute.
const asTool = "EDGENETCTL_TEST_AS_TOOL"

func TestMain(m *testing.M) {
	if os.Getenv(asTool) != "" {
		main()
	}
	goleak.VerifyTestMain(m)
}

var now = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

func number(n uint32) *uint32 { return &n }

func ago(d time.Duration) *timestamppb.Timestamp { return timestamppb.New(now.Add(-d)) }

// fake is an edgenetd that answers with what it was given and remembers what it
// was asked.
type fake struct {
	requests  []string
	err       error
	status    *edgenetv1.GetStatusResponse
	nodes     []*edgenetv1.Node
	vpcs      []*edgenetv1.VPC
	groups    []*edgenetv1.Group
	endpoints []*edgenetv1.Endpoint
	events    []*edgenetv1.WatchResponse
	tests     []*edgenetv1.PolicyTest
	diff      *edgenetv1.DiffGroupsResponse
	health    *edgenetv1.GetHealthResponse
	// hold keeps a watch open after its events. cut, once, ends one after the event of
	// this revision.
	hold bool
	cut  string
}

// ask notes a request as "Method {json}".
func (f *fake) ask(request proto.Message) error {
	name := strings.TrimSuffix(string(request.ProtoReflect().Descriptor().Name()), "Request")
	// protojson puts random spaces into its output on purpose.
	text, err := protojson.MarshalOptions{}.Marshal(request)
	if err != nil {
		return err
	}
	f.requests = append(f.requests, name+" "+strings.ReplaceAll(string(text), " ", ""))
	return f.err
}

func find[T interface{ GetName() string }](items []T, name string) (found T, err error) {
	for _, item := range items {
		if item.GetName() == name {
			return item, nil
		}
	}
	return found, connect.NewError(connect.CodeNotFound, fmt.Errorf("no %q", name))
}

func (f *fake) Init(_ context.Context, r *edgenetv1.InitRequest) (*edgenetv1.InitResponse, error) {
	return &edgenetv1.InitResponse{MeshId: "beef", Node: f.nodes[0]}, f.ask(r)
}

func (f *fake) CreateToken(_ context.Context, r *edgenetv1.CreateTokenRequest) (*edgenetv1.CreateTokenResponse, error) {
	expires := timestamppb.New(now.Add(time.Duration(r.GetTtlSeconds()) * time.Second))
	return &edgenetv1.CreateTokenResponse{Token: "edgenet1.c2VjcmV0", Expires: expires}, f.ask(r)
}

func (f *fake) Join(_ context.Context, r *edgenetv1.JoinRequest) (*edgenetv1.JoinResponse, error) {
	return &edgenetv1.JoinResponse{MeshId: "beef", Node: f.nodes[1]}, f.ask(r)
}

func (f *fake) Leave(_ context.Context, r *edgenetv1.LeaveRequest) (*edgenetv1.LeaveResponse, error) {
	return &edgenetv1.LeaveResponse{}, f.ask(r)
}

func (f *fake) EvictNode(_ context.Context, r *edgenetv1.EvictNodeRequest) (*edgenetv1.EvictNodeResponse, error) {
	return &edgenetv1.EvictNodeResponse{Node: f.nodes[1], Already: r.GetName() == "gone"}, f.ask(r)
}

func (f *fake) RotateGossipKey(_ context.Context, r *edgenetv1.RotateGossipKeyRequest) (*edgenetv1.RotateGossipKeyResponse, error) {
	return &edgenetv1.RotateGossipKeyResponse{Generation: 3}, f.ask(r)
}

func (f *fake) BackupAuthority(_ context.Context, r *edgenetv1.BackupAuthorityRequest) (*edgenetv1.BackupAuthorityResponse, error) {
	return &edgenetv1.BackupAuthorityResponse{Backup: []byte("age-encryption.org/v1\nbackup")}, f.ask(r)
}

func (f *fake) RestoreAuthority(_ context.Context, r *edgenetv1.RestoreAuthorityRequest) (*edgenetv1.RestoreAuthorityResponse, error) {
	return &edgenetv1.RestoreAuthorityResponse{MeshId: "beef", Node: f.nodes[0]}, f.ask(r)
}

func (f *fake) GetStatus(_ context.Context, r *edgenetv1.GetStatusRequest) (*edgenetv1.GetStatusResponse, error) {
	return f.status, f.ask(r)
}

func (f *fake) ListNodes(_ context.Context, r *edgenetv1.ListNodesRequest) (*edgenetv1.ListNodesResponse, error) {
	return &edgenetv1.ListNodesResponse{Nodes: f.nodes}, f.ask(r)
}

func (f *fake) GetNode(_ context.Context, r *edgenetv1.GetNodeRequest) (*edgenetv1.GetNodeResponse, error) {
	node, err := find(f.nodes, r.GetName())
	for _, n := range f.nodes {
		if n.GetId() == r.GetName() {
			node, err = n, nil
		}
	}
	return &edgenetv1.GetNodeResponse{Node: node}, errors.Join(f.ask(r), err)
}

func (f *fake) CreateVPC(_ context.Context, r *edgenetv1.CreateVPCRequest) (*edgenetv1.CreateVPCResponse, error) {
	vpc := &edgenetv1.VPC{Name: r.GetName(), Vni: 4711, Cidrs: r.GetCidrs(), Gateways: []string{"10.0.0.1"}, Created: ago(0)}
	return &edgenetv1.CreateVPCResponse{Vpc: vpc}, f.ask(r)
}

func (f *fake) ListVPCs(_ context.Context, r *edgenetv1.ListVPCsRequest) (*edgenetv1.ListVPCsResponse, error) {
	return &edgenetv1.ListVPCsResponse{Vpcs: f.vpcs}, f.ask(r)
}

func (f *fake) GetVPC(_ context.Context, r *edgenetv1.GetVPCRequest) (*edgenetv1.GetVPCResponse, error) {
	vpc, err := find(f.vpcs, r.GetName())
	if err := f.ask(r); err != nil {
		return nil, err
	}
	return &edgenetv1.GetVPCResponse{Vpc: vpc}, err
}

func (f *fake) DeleteVPC(_ context.Context, r *edgenetv1.DeleteVPCRequest) (*edgenetv1.DeleteVPCResponse, error) {
	return &edgenetv1.DeleteVPCResponse{}, f.ask(r)
}

func (f *fake) CreateGroup(_ context.Context, r *edgenetv1.CreateGroupRequest) (*edgenetv1.CreateGroupResponse, error) {
	return &edgenetv1.CreateGroupResponse{Group: &edgenetv1.Group{Name: r.GetName(), Vpc: r.GetVpc()}}, f.ask(r)
}

func (f *fake) ListGroups(_ context.Context, r *edgenetv1.ListGroupsRequest) (*edgenetv1.ListGroupsResponse, error) {
	return &edgenetv1.ListGroupsResponse{Groups: f.groups}, f.ask(r)
}

func (f *fake) GetGroup(_ context.Context, r *edgenetv1.GetGroupRequest) (*edgenetv1.GetGroupResponse, error) {
	group, err := find(f.groups, r.GetName())
	if err := f.ask(r); err != nil {
		return nil, err
	}
	return &edgenetv1.GetGroupResponse{Group: group}, err
}

func (f *fake) DeleteGroup(_ context.Context, r *edgenetv1.DeleteGroupRequest) (*edgenetv1.DeleteGroupResponse, error) {
	return &edgenetv1.DeleteGroupResponse{}, f.ask(r)
}

func (f *fake) AddRule(_ context.Context, r *edgenetv1.AddRuleRequest) (*edgenetv1.AddRuleResponse, error) {
	group := &edgenetv1.Group{Name: r.GetGroup(), Vpc: r.GetVpc(), Rules: []*edgenetv1.Rule{r.GetRule()}}
	return &edgenetv1.AddRuleResponse{Group: group}, f.ask(r)
}

func (f *fake) RemoveRule(_ context.Context, r *edgenetv1.RemoveRuleRequest) (*edgenetv1.RemoveRuleResponse, error) {
	group := &edgenetv1.Group{Name: r.GetGroup(), Vpc: r.GetVpc()}
	return &edgenetv1.RemoveRuleResponse{Group: group}, f.ask(r)
}

func (f *fake) UpdateRule(_ context.Context, r *edgenetv1.UpdateRuleRequest) (*edgenetv1.UpdateRuleResponse, error) {
	return &edgenetv1.UpdateRuleResponse{Group: &edgenetv1.Group{Name: r.GetGroup(), Vpc: r.GetVpc()}}, f.ask(r)
}

func (f *fake) ReplaceGroups(_ context.Context, r *edgenetv1.ReplaceGroupsRequest) (*edgenetv1.ReplaceGroupsResponse, error) {
	var groups []*edgenetv1.Group
	for _, g := range r.GetGroups() {
		groups = append(groups, &edgenetv1.Group{Name: g.GetName(), Vpc: r.GetVpc(), Rules: g.GetRules()})
	}
	return &edgenetv1.ReplaceGroupsResponse{Groups: groups}, f.ask(r)
}

func (f *fake) AttachEndpoint(_ context.Context, r *edgenetv1.AttachEndpointRequest) (*edgenetv1.AttachEndpointResponse, error) {
	p := &edgenetv1.Endpoint{Name: r.GetName(), Vpc: r.GetVpc(), Ip: r.GetIp(), Ips: append([]string{r.GetIp()}, r.GetIps()...), Mac: r.GetMac(), Device: "env0", State: "ready"}
	return &edgenetv1.AttachEndpointResponse{Endpoint: p}, f.ask(r)
}

func (f *fake) DetachEndpoint(_ context.Context, r *edgenetv1.DetachEndpointRequest) (*edgenetv1.DetachEndpointResponse, error) {
	return &edgenetv1.DetachEndpointResponse{}, f.ask(r)
}

func (f *fake) ListEndpoints(_ context.Context, r *edgenetv1.ListEndpointsRequest) (*edgenetv1.ListEndpointsResponse, error) {
	return &edgenetv1.ListEndpointsResponse{Endpoints: f.endpoints}, f.ask(r)
}

func (f *fake) GetEndpoint(_ context.Context, r *edgenetv1.GetEndpointRequest) (*edgenetv1.GetEndpointResponse, error) {
	p, err := find(f.endpoints, r.GetName())
	if err := f.ask(r); err != nil {
		return nil, err
	}
	return &edgenetv1.GetEndpointResponse{Endpoint: p}, err
}

func (f *fake) Watch(ctx context.Context, r *edgenetv1.WatchRequest, stream *connect.ServerStream[edgenetv1.WatchResponse]) error {
	if err := f.ask(r); err != nil {
		return err
	}
	for _, event := range f.events {
		if r.GetResumeFrom() != "" && event.GetRevision() != "" && event.GetRevision() <= r.GetResumeFrom() {
			continue
		}
		if err := stream.Send(event); err != nil {
			return err
		}
		if f.cut == event.GetRevision() && f.cut != "" {
			f.cut = ""
			return nil
		}
	}
	if r.GetResumeFrom() != "" && !f.hold {
		return connect.NewError(connect.CodeOutOfRange, errors.New("it is forgotten"))
	}
	if f.hold {
		<-ctx.Done()
	}
	return nil
}

// serve puts the fake behind a real unix socket and returns its path.
func (f *fake) serve(t *testing.T) string {
	t.Helper()
	mux := http.NewServeMux()
	mux.Handle(edgenetv1connect.NewMeshServiceHandler(f))
	mux.Handle(edgenetv1connect.NewNodeServiceHandler(f))
	mux.Handle(edgenetv1connect.NewVPCServiceHandler(f))
	mux.Handle(edgenetv1connect.NewGroupServiceHandler(f))
	mux.Handle(edgenetv1connect.NewEndpointServiceHandler(f))
	mux.Handle(edgenetv1connect.NewPolicyServiceHandler(f))
	mux.Handle(edgenetv1connect.NewFlowServiceHandler(f))
	mux.Handle(edgenetv1connect.NewTunnelServiceHandler(f))
	mux.Handle(edgenetv1connect.NewGrantServiceHandler(f))
	mux.Handle(edgenetv1connect.NewWatchServiceHandler(f))
	mux.Handle(edgenetv1connect.NewHealthServiceHandler(f))
	return serve(t, mux)
}

func serve(t *testing.T, handler http.Handler) string {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "edgenetd.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: time.Minute}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(listener) // ends with ErrServerClosed
	}()
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		<-done
	})
	return socket
}

// result is what a run of the tool left.
type result struct {
	stdout, stderr string
	code           int
}

// tool runs the tool once against a socket.
func tool(ctx context.Context, socket, stdin string, args ...string) result {
	var stdout, stderr bytes.Buffer
	code := run(ctx, &env{
		stdin:  strings.NewReader(stdin),
		stdout: &stdout,
		stderr: &stderr,
		getenv: func(name string) string {
			return map[string]string{"EDGENET_SOCKET": socket}[name]
		},
		dial: func(ctx context.Context, socket string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
		now:     func() time.Time { return now },
		examine: examineFake,
	}, args)
	return result{stdout: stdout.String(), stderr: stderr.String(), code: code}
}

// edge1 is the whole id of a node.
const edge1 = "bb000000020123456789abcdef0123456789abcd"

// mesh is a fake with a bit of everything.
func mesh() *fake {
	return &fake{
		health: &edgenetv1.GetHealthResponse{Healthy: true, Node: "cloud-1", NodesAlive: 3, NodesTotal: 3, Asked: 2, Answered: 2},
		status: &edgenetv1.GetStatusResponse{
			Name: "cloud-1", Id: "aa00000001", MeshId: "beef", Roles: []string{"authority", "cloud"}, Version: "v1",
			Started: ago(3 * time.Hour), NodesAlive: 2, NodesTotal: 3, TunnelsUp: 1, EndpointsLocal: 4,
		},
		nodes: []*edgenetv1.Node{
			{
				Name: "cloud-1", Id: "aa00000001", Roles: []string{"authority", "cloud"}, State: "alive", Local: true,
				Links:  []*edgenetv1.Link{{Address: "198.18.0.1"}},
				Prefix: "fdbe:efaa:0:1::/64", Address: "fdbe:efaa:0:1::1", Version: "v1",
			}, {
				Name: "edge-1", Id: edge1, Roles: []string{"edge"}, State: "alive",
				Links:              []*edgenetv1.Link{{Address: "198.18.0.2", Carrier: "telecom"}, {Address: "198.18.1.2", Carrier: "mobile"}},
				Prefix:             "fdbe:efbb:0:2::/64",
				Address:            "fdbe:efbb:0:2::1",
				CertificateExpires: ago(-365 * 24 * time.Hour),
				Wireguard:          &edgenetv1.WireGuardEnd{PublicKey: "cHVibGlj", Port: 51820},
				Ipsec:              &edgenetv1.IPsecEnd{Id: "@#bb00000002", PublicKey: "PEM", Port: 51821},
				Tunnel: &edgenetv1.Tunnel{
					Driver: "wireguard-userspace", Device: "enaa00000001w", State: "up", Endpoint: "198.18.0.2:51820", Mtu: 1420,
					RttMs: 1.234, LastHandshake: ago(12 * time.Second), RxBytes: 1536, TxBytes: 1 << 40,
					PathMtu: 1216, PathMtuBasis: "confirmed", PathMtuConfirmed: ago(3 * time.Second),
					Cipher: "chacha20-poly1305", SessionSince: ago(12 * time.Second), Rekeys: 30, Probes: 100, ProbesLost: 3,
					RttVariationMs: 0.25, LastAnswer: ago(time.Second), Since: ago(time.Hour),
				},
			}, {
				Name: "edge-2", Id: "cc00000003", Roles: []string{"edge"}, State: "dead",
				Tunnel: &edgenetv1.Tunnel{State: "connecting"},
			},
		},
		vpcs: []*edgenetv1.VPC{
			{Name: "blue", Vni: 1, Cidrs: []string{"10.0.0.0/24", "10.1.0.0/24"}, Gateways: []string{"10.0.0.1", "10.1.0.1"}, Created: ago(90 * time.Minute), Endpoints: 2},
			{Name: "green", Vni: 16777215, Cidrs: []string{"10.0.0.0/24"}, Gateways: []string{"10.0.0.1"}, Created: ago(72 * time.Hour)},
		},
		groups: []*edgenetv1.Group{
			{Name: "db", Vpc: "blue", Created: ago(time.Minute)},
			{Name: "web", Vpc: "blue", Created: ago(time.Minute), Rules: []*edgenetv1.Rule{
				{Id: "000000000001", Direction: "ingress", Action: "allow", Priority: number(1000), Protocol: "tcp", Ports: []string{"80", "8000-8100"}, Peer: "any"},
				{Id: "000000000002", Direction: "egress", Action: "allow", Priority: number(1000), Protocol: "icmp", Icmp: "3/4", Peer: "group:db"},
				{
					Id: "000000000003", Direction: "ingress", Action: "deny", Priority: number(1000), Protocol: "any", Peer: "10.0.0.0/8",
					Except: []string{"10.1.0.0/16", "10.2.0.0/16"}, Description: "the \x1b lab",
				},
				{Id: "000000000004", Direction: "ingress", Action: "allow", Priority: number(0), Protocol: "icmp", Icmp: "8", Peer: "any", Disabled: true},
			}},
		},
		endpoints: []*edgenetv1.Endpoint{
			{
				Name: "web-1", Vpc: "blue", Ip: "10.0.0.7", Mac: "02:00:00:00:00:07", Groups: []string{"db", "web"},
				Node: "cloud-1", NodeId: "aa00000001", Kind: "netns", Netns: "/run/netns/web-1", Ifname: "eth0", Device: "env0",
				State: "ready", Attached: ago(5 * time.Second),
				Ips: []string{"10.0.0.7", "fd00:1::7"}, Prefixes: []string{"10.0.0.100/32"}, Announced: []string{"10.0.0.100"}, Epoch: 2,
				Counters: &edgenetv1.Counters{RxPackets: 3, RxBytes: 300, TxPackets: 1 << 53, TxBytes: 1 << 63, Flows: 12, ShadowAllows: 1, ShadowDrops: 2, Drops: map[string]uint64{"no-ingress-rule": 7, "fragment": 7, "spoofed-mac": 9}},
			},
			{Name: "web-2", Vpc: "blue", Ip: "10.0.0.8", Node: "edge-1", Kind: "tap", Device: "tap0", State: "failed", Message: "no such\ndevice \x1b[31m"},
		},
	}
}
