package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	edgenetv1 "edgenet.dev/edgenet/api/edgenet/v1"
)

func (f *fake) ListTunnels(_ context.Context, r *edgenetv1.ListTunnelsRequest) (*edgenetv1.ListTunnelsResponse, error) {
	var err error
	if r != nil { // asked by the tool
		err = f.ask(r)
	}
	if len(f.nodes) == 0 {
		return &edgenetv1.ListTunnelsResponse{}, err
	}
	return &edgenetv1.ListTunnelsResponse{Tunnels: []*edgenetv1.PeerTunnel{
		{
			Node: "edge-1", NodeId: edge1, Technology: "wireguard", Driver: "wireguard-userspace", PeerDriver: "wireguard-kernel",
			Why: "the fastest that both have: WireGuard, in userspace on cloud-1", Tunnel: f.nodes[1].GetTunnel(),
		},
		{Node: "edge-2", NodeId: "cc00000003", Why: "tunnel policy any: ipsec: not possible on edge-2", Tunnel: &edgenetv1.Tunnel{
			State: "down", Problems: []*edgenetv1.TunnelProblem{
				{Kind: "impossible", Message: "tunnel policy any: ipsec: not possible on edge-2, which has not what it takes", Since: ago(time.Hour)},
				{Kind: "no-answer", Message: "does not answer", Since: ago(time.Minute)},
			},
		}},
	}}, err
}

func (f *fake) GetTunnel(ctx context.Context, r *edgenetv1.GetTunnelRequest) (*edgenetv1.GetTunnelResponse, error) {
	all, err := f.ListTunnels(ctx, nil)
	if err != nil {
		return nil, err
	}
	for _, t := range all.GetTunnels() {
		if t.GetNode() == r.GetNode() || t.GetNodeId() == r.GetNode() {
			return &edgenetv1.GetTunnelResponse{Tunnel: t}, f.ask(r)
		}
	}
	return nil, connect.NewError(connect.CodeNotFound, fmt.Errorf("no %q", r.GetNode()))
}

func (f *fake) WatchTunnels(ctx context.Context, r *edgenetv1.WatchTunnelsRequest, stream *connect.ServerStream[edgenetv1.WatchTunnelsResponse]) error {
	if err := f.ask(r); err != nil {
		return err
	}
	all, err := f.ListTunnels(ctx, nil)
	if err != nil {
		return err
	}
	event := func(e *edgenetv1.TunnelEvent) *edgenetv1.WatchTunnelsResponse {
		e.Time = ago(0)
		return &edgenetv1.WatchTunnelsResponse{Event: e}
	}
	for _, m := range []*edgenetv1.WatchTunnelsResponse{
		event(&edgenetv1.TunnelEvent{Type: "present", Node: "edge-1", Is: "up", Why: "the fastest", Tunnel: all.GetTunnels()[0]}),
		event(&edgenetv1.TunnelEvent{Type: "synced"}),
		event(&edgenetv1.TunnelEvent{Type: "moved", Node: "edge-1", Was: "wireguard-kernel", Is: "ipsec-kernel", Why: "tunnel policy any: ipsec"}),
		event(&edgenetv1.TunnelEvent{Type: "problem-over", Node: "edge-1", Was: "no-answer"}),
		{LeftOut: 2},
	} {
		if err := stream.Send(m); err != nil {
			return err
		}
	}
	return nil
}

func (f *fake) GetTunnelPolicy(_ context.Context, r *edgenetv1.GetTunnelPolicyRequest) (*edgenetv1.GetTunnelPolicyResponse, error) {
	if len(f.nodes) == 0 {
		return &edgenetv1.GetTunnelPolicyResponse{}, f.ask(r)
	}
	return &edgenetv1.GetTunnelPolicyResponse{Rules: []*edgenetv1.TunnelRule{
		{Between: "node:edge-1,node:edge-2", Technology: "wireguard"}, {Between: "cloud-edge", Technology: "ipsec"},
	}}, f.ask(r)
}

func (f *fake) SetTunnelRule(_ context.Context, r *edgenetv1.SetTunnelRuleRequest) (*edgenetv1.SetTunnelRuleResponse, error) {
	return &edgenetv1.SetTunnelRuleResponse{Rule: r.GetRule()}, f.ask(r)
}

func (f *fake) RemoveTunnelRule(_ context.Context, r *edgenetv1.RemoveTunnelRuleRequest) (*edgenetv1.RemoveTunnelRuleResponse, error) {
	return &edgenetv1.RemoveTunnelRuleResponse{}, f.ask(r)
}

func (f *fake) RotateKeys(_ context.Context, r *edgenetv1.RotateKeysRequest) (*edgenetv1.RotateKeysResponse, error) {
	out := &edgenetv1.RotateKeysResponse{Key: &edgenetv1.TunnelKey{PublicKey: "AAAA", Made: ago(time.Second)}}
	if len(f.nodes) > 0 {
		out.Silent, out.IkeSas, out.Problems = []string{"edge-2: it has not set up the key"}, 2, []string{"keys of 1 IKE SAs were not replaced"}
		out.Key.Expires, out.Key.Rotation = ago(-48*time.Hour), "peers are told of the next key"
	}
	return out, f.ask(r)
}

func TestTunnels(t *testing.T) {
	for _, tt := range []struct {
		empty               bool
		args, request, want string
	}{
		{false, "tunnel list", "ListTunnels {}", `
NODE    STATE  DRIVER               RTT      LOSS  MTU     HANDSHAKE  WHY
edge-1  up     wireguard-userspace  1.23 ms  3%    1216 B  12s ago    the fastest that both have: WireGuard, in userspa…
edge-2  down   -                    -        -     -       never      tunnel policy any: ipsec: not possible on edge-2,…
`},
		{false, "tunnel show edge-1", `GetTunnel {"node":"edge-1"}`, `
Node:           edge-1
ID:             ` + edge1 + `
State:          up, since 1h ago
Why:            the fastest that both have: WireGuard, in userspace on cloud-1
Chosen driver:  wireguard-userspace
Peer's driver:  wireguard-kernel
Packets go by:  wireguard-userspace
Device:         enaa00000001w
Endpoint:       198.18.0.2:51820
Cipher:         chacha20-poly1305
Handshake:      12s ago; keys were replaced 30 times
Session since:  12s ago
Received:       1.5 KiB
Sent:           1.0 TiB
RTT:            1.23 ms, varies by 0.25 ms, last answer 1s ago
Loss:           3%: 3 of the last 100 probes
Device MTU:     1420 B
Path MTU:       1216 B, confirmed 3s ago
Dropped:        0 packets replayed, 0 forged
Problems:       none
`},
		{false, "tunnel show edge-2", `GetTunnel {"node":"edge-2"}`, `
Node:           edge-2
ID:             cc00000003
State:          down
Why:            tunnel policy any: ipsec: not possible on edge-2
Chosen driver:  -
Peer's driver:  -
Problems:       impossible, 1h ago: tunnel policy any: ipsec: not possible on edge-2, which has not what it takes
and:            no-answer, 1m ago: does not answer
`},
		{true, "tunnel list", "ListTunnels {}", "\nno other nodes\n"},
		{false, "tunnel rotate", "RotateKeys {}", `
WireGuard key:  AAAA
Age:            made 1s ago, is replaced in 2d; being replaced: peers are told of the next key
IPsec:          2 IKE SAs and their children have new keys
Not confirmed:  edge-2: it has not set up the key
Problem:        keys of 1 IKE SAs were not replaced
`},
		{true, "tunnel rotate", "RotateKeys {}", `
WireGuard key:  AAAA
Age:            made 1s ago
`},
		{true, "tunnel list -o json", "ListTunnels {}", "\n[]\n"},
		{false, "tunnel policy show", "GetTunnelPolicy {}", `
BETWEEN                  TECHNOLOGY
node:edge-1,node:edge-2  wireguard
cloud-edge               ipsec
`},
		{true, "tunnel policy show", "GetTunnelPolicy {}", "\nno rules: all pairs of nodes use the fastest that both have\n"},
		{true, "tunnel policy show -o json", "GetTunnelPolicy {}", "\n[]\n"},
		{
			false, "tunnel policy set edge-cloud ipsec", `SetTunnelRule {"rule":{"between":"cloud-edge","technology":"ipsec"}}`,
			"\ntunnel policy set: cloud-edge: ipsec\n",
		},
		{
			false, "tunnel policy set node:b,node:a wireguard --force",
			`SetTunnelRule {"rule":{"between":"node:a,node:b","technology":"wireguard"},"force":true}`, "\ntunnel policy set: node:a,node:b: wireguard\n",
		},
		{false, "tunnel policy remove any", `RemoveTunnelRule {"between":"any"}`, "\ntunnel policy removed: any\n"},
	} {
		f := mesh()
		if tt.empty {
			f = &fake{}
		}
		got := tool(t.Context(), f.serve(t), "", strings.Fields(tt.args)...)
		if got.stdout != tt.want[1:] || got.stderr != "" || got.code != exitOK {
			t.Errorf("%s: got %d, stderr %q, stdout\n%s\nwant\n%s", tt.args, got.code, got.stderr, got.stdout, tt.want[1:])
		}
		if !slices.Equal(f.requests, []string{tt.request}) {
			t.Errorf("%s: asked %v, want %s", tt.args, f.requests, tt.request)
		}
	}
}

func TestTunnelsAreWatched(t *testing.T) {
	f := mesh()
	socket := f.serve(t)
	got := tool(t.Context(), socket, "", "tunnel", "watch", "--node", "edge-1", "--node", edge1[:10])
	want := result{code: exitError, stderr: "edgenetctl: watch tunnels: edgenetd ended the stream\n", stdout: `
12:00:00.000  present       edge-1            up by wireguard-userspace: the fastest
12:00:00.000  synced
12:00:00.000  moved         edge-1            from wireguard-kernel to ipsec-kernel: tunnel policy any: ipsec
12:00:00.000  problem-over  edge-1            was no-answer
2 events were not shown; this is how tunnels are now
`[1:]}
	if got != want {
		t.Errorf("got\n%+v\nwant\n%+v", got, want)
	}
	if asked := f.requests[len(f.requests)-1]; asked != `WatchTunnels {"nodes":["edge-1","`+edge1+`"]}` {
		t.Errorf("asked %s", asked)
	}
	got = tool(t.Context(), socket, "", "tunnel", "watch", "-o", "json")
	lines := strings.Split(strings.TrimSpace(got.stdout), "\n")
	if len(lines) != 5 || !strings.HasPrefix(lines[0], `{"event":{"time":`) || lines[4] != `{"event":null,"leftOut":2}` {
		t.Errorf("stdout\n%s", got.stdout)
	}
}
