package main

import (
	"context"
	"slices"
	"strings"
	"testing"

	edgenetv1 "edgenet.dev/edgenet/api/edgenet/v1"
)

func (f *fake) ListTunnels(_ context.Context, r *edgenetv1.ListTunnelsRequest) (*edgenetv1.ListTunnelsResponse, error) {
	if len(f.nodes) == 0 {
		return &edgenetv1.ListTunnelsResponse{}, f.ask(r)
	}
	return &edgenetv1.ListTunnelsResponse{Tunnels: []*edgenetv1.PeerTunnel{
		{
			Node: "edge-1", NodeId: edge1, Technology: "wireguard", Driver: "wireguard-userspace", PeerDriver: "wireguard-kernel",
			Why: "the fastest that both have: WireGuard, in userspace on cloud-1", Tunnel: f.nodes[1].GetTunnel(),
		},
		{Node: "edge-2", NodeId: "cc00000003", Why: "tunnel policy any: ipsec: not possible on edge-2", Tunnel: &edgenetv1.Tunnel{State: "down"}},
	}}, f.ask(r)
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

func TestTunnels(t *testing.T) {
	for _, tt := range []struct {
		empty               bool
		args, request, want string
	}{
		{false, "tunnel list", "ListTunnels {}", `
NODE    STATE  DRIVER               PEER DRIVER       RTT      PATH MTU                  HANDSHAKE  WHY
edge-1  up     wireguard-userspace  wireguard-kernel  1.23 ms  1216 B, confirmed 3s ago  12s ago    the fastest that both have: WireGuard, in userspace on cloud-1
edge-2  down   -                    -                 -        -                         never      tunnel policy any: ipsec: not possible on edge-2
`},
		{true, "tunnel list", "ListTunnels {}", "\nno other nodes\n"},
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
