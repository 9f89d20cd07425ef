package daemon_test

import (
	"net/netip"
	"strings"
	"testing"

	"connectrpc.com/connect"

	api "edgenet.dev/edgenet/api/edgenet/v1"
	"edgenet.dev/edgenet/internal/daemon/daemontest"
	"edgenet.dev/edgenet/pkg/tunnel"
)

// pair is a mesh of two nodes, both of which run WireGuard alone.
func pair(t *testing.T) (cloud, edge *daemontest.Node) {
	t.Helper()
	cloud, _ = authority(t)
	token, err := cloud.CreateToken(t.Context(), &api.CreateTokenRequest{})
	if err != nil {
		t.Fatal(err)
	}
	edge = daemontest.Start(t, "edge-1", nil)
	if _, err := edge.Join(t.Context(), token.GetToken()); err != nil {
		t.Fatal(err)
	}
	for _, n := range []*daemontest.Node{cloud, edge} {
		awaitTunnel(t, n, "connecting", "the fastest that both have: WireGuard, in userspace on cloud-1 and edge-1")
	}
	return cloud, edge
}

// awaitTunnel waits until the tunnel to the one other node is so. One in memory
// is never up, since nothing is sent.
func awaitTunnel(t *testing.T, n *daemontest.Node, state, why string) *api.PeerTunnel {
	t.Helper()
	var last *api.PeerTunnel
	daemontest.Await(t, state+": "+why, func() bool {
		all := n.ListTunnels()
		if len(all) != 1 {
			return false
		}
		last = all[0]
		return last.GetTunnel().GetState() == state && last.GetWhy() == why
	})
	return last
}

func setRule(n *daemontest.Node, between, technology string, force bool) func(*testing.T) error {
	return func(t *testing.T) error {
		_, err := n.SetTunnelRule(t.Context(), &api.SetTunnelRuleRequest{
			Rule: &api.TunnelRule{Between: between, Technology: technology}, Force: force,
		})
		return err
	}
}

func TestATunnelSaysWhyItIsWhatItIs(t *testing.T) {
	cloud, edge := pair(t)
	one := awaitTunnel(t, edge, "connecting", "the fastest that both have: WireGuard, in userspace on cloud-1 and edge-1")
	if one.GetNode() != "cloud-1" || one.GetTechnology() != "wireguard" || one.GetDriver() != "wireguard-userspace" || one.GetPeerDriver() != "wireguard-userspace" {
		t.Errorf("got %v", one)
	}
	if err := setRule(cloud, "edge-cloud", "wireguard", false)(t); err != nil {
		t.Fatal(err)
	}
	awaitTunnel(t, edge, "connecting", "tunnel policy cloud-edge: wireguard")
	awaitTunnel(t, cloud, "connecting", "tunnel policy cloud-edge: wireguard")
}

// Nodes that cannot do what the policy says have no tunnel, and nothing else
// instead; when the policy changes they have one again.
func TestAPolicyThatCannotBeFulfilledIsNotReplaced(t *testing.T) {
	cloud, edge := pair(t)
	const why = "tunnel policy any: ipsec: not possible on cloud-1 and edge-1"
	err := setRule(cloud, "any", "ipsec", false)(t)
	wantCode(t, err, connect.CodeFailedPrecondition, "it would leave 1 pair of nodes without a tunnel, as cloud-1 and edge-1", why, "nothing was changed")
	if rules, err := cloud.TunnelPolicy(); err != nil || len(rules) > 0 {
		t.Fatalf("a refused change left %v, %v", rules, err)
	}
	if err := setRule(cloud, "any", "ipsec", true)(t); err != nil {
		t.Fatal(err)
	}
	for _, n := range []*daemontest.Node{cloud, edge} {
		one := awaitTunnel(t, n, "down", why)
		if one.GetDriver() != "" || one.GetTechnology() != "" || one.GetTunnel().GetEndpoint() != "" {
			t.Errorf("there is %v", one)
		}
		if problems := strings.Join(n.Status().GetProblems(), "\n"); strings.Count(problems, why) != 1 {
			t.Errorf("the problems are %q", problems)
		}
	}
	if err := cloud.RemoveTunnelRule(t.Context(), &api.RemoveTunnelRuleRequest{Between: "any"}); err != nil {
		t.Fatal(err)
	}
	awaitTunnel(t, edge, "connecting", "the fastest that both have: WireGuard, in userspace on cloud-1 and edge-1")
	daemontest.Await(t, "no problems", func() bool { return len(edge.Status().GetProblems()) == 0 })
}

func TestChangesOfTheTunnelPolicyAreChecked(t *testing.T) {
	cloud, _ := pair(t)
	for _, c := range []struct {
		between, technology string
		code                connect.Code
		words               string
	}{
		{"some", "ipsec", connect.CodeInvalidArgument, `parse nodes "some"`},
		{"edge-moon", "ipsec", connect.CodeInvalidArgument, `role "moon"`},
		{"any", "plaintext", connect.CodeInvalidArgument, `parse technology "plaintext"`},
		{"node:edge-1,node:edge-9", "wireguard", connect.CodeNotFound, `node "edge-9": not found`},
	} {
		wantCode(t, setRule(cloud, c.between, c.technology, true)(t), c.code, "set tunnel policy: ", c.words)
	}
	wantCode(t, cloud.RemoveTunnelRule(t.Context(), &api.RemoveTunnelRuleRequest{Between: "any"}), connect.CodeNotFound, "there is no rule for any")
	if rules, err := cloud.TunnelPolicy(); err != nil || len(rules) > 0 {
		t.Errorf("there are %v, %v", rules, err)
	}
}

func TestChangesOfTheTunnelPolicyAreNoted(t *testing.T) {
	cloud, _ := pair(t)
	for range 2 { // the second changes nothing
		if err := setRule(cloud, "edge-edge", "wireguard", false)(t); err != nil {
			t.Fatal(err)
		}
	}
	if err := setRule(cloud, "node:edge-1,node:cloud-1", "ipsec", true)(t); err != nil {
		t.Fatal(err)
	}
	if err := cloud.RemoveTunnelRule(t.Context(), &api.RemoveTunnelRuleRequest{Between: "node:cloud-1,node:edge-1"}); err != nil {
		t.Fatal(err)
	}
	entries, err := cloud.ListAudit()
	if err != nil {
		t.Fatal(err)
	}
	var words []string
	for _, e := range entries {
		words = append(words, e.GetWhat())
	}
	want := "create token for 1 nodes with the roles [edge], good for 1h0m0s; join the mesh with the roles [edge]; " +
		"set tunnel policy edge-edge: wireguard; set tunnel policy node:cloud-1,node:edge-1: ipsec, forced: 1 pair of nodes without a tunnel; " +
		"remove tunnel policy node:cloud-1,node:edge-1"
	if got := strings.Join(words, "; "); got != want {
		t.Errorf("noted is\n%s\nwant\n%s", got, want)
	}
}

// A host that gets IPsec says so without a start. What is not proved is not used:
// packets go on by what they went by, and both ways are there.
func TestANodeIsNotMovedToWhatIsNotProved(t *testing.T) {
	cloud, edge := pair(t)
	edge.Kernel.InstallIPsec()
	cloud.Kernel.InstallIPsec()
	daemontest.Await(t, "the policy is possible", func() bool { return setRule(cloud, "any", "ipsec", false)(t) == nil })
	const why = "tunnel policy any: ipsec; packets go by wireguard-userspace until that is proved"
	awaitTunnel(t, edge, "connecting", why)
	one := awaitTunnel(t, cloud, "connecting", why)
	if one.GetTechnology() != "ipsec" || one.GetTunnel().GetDriver() != tunnel.WireGuardUserspace {
		t.Errorf("got %v", one)
	}
	node, err := edge.GetNode("edge-1")
	if err != nil {
		t.Fatal(err)
	}
	mustAttach(t, cloud, attachRequest("web", "10.0.0.5"))
	if device := cloud.Kernel.Reaches(netip.MustParsePrefix(node.GetPrefix())); !strings.HasSuffix(device, "w") {
		t.Errorf("the datapath leads there by %q", device)
	}
}
