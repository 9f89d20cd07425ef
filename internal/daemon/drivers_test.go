package daemon_test

import (
	"strings"
	"testing"

	"connectrpc.com/connect"

	api "edgenet.dev/edgenet/api/edgenet/v1"
	"edgenet.dev/edgenet/internal/daemon/daemontest"
	"edgenet.dev/edgenet/pkg/tunnel"
)

// A host that cannot encrypt is a member that can be asked and says what is
// missing, to its own people and to others; it carries nothing, and makes nothing.
func TestAHostThatCannotEncryptRefuses(t *testing.T) {
	n := daemontest.Start(t, "cloud-1", nil)
	n.Config.TunnelDrivers = []string{tunnel.WireGuardKernel, tunnel.IPsecKernel}
	n.Kernel.InstallIPsec() // in userspace, as WireGuard
	n.Stop()
	n.Start()
	if _, err := n.Init(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := n.CreateVPC(t.Context(), &api.CreateVPCRequest{Name: "blue", Cidrs: []string{"10.0.0.0/24"}}); err != nil {
		t.Fatal(err)
	}
	words := []string{
		"this host has no way to encrypt", "no plaintext", "wireguard-kernel: ", "ipsec-kernel: ",
		"tunnel-drivers excludes wireguard-userspace, ipsec-userspace",
	}
	_, err := n.AttachEndpoint(t.Context(), attachRequest("web", "10.0.0.5"))
	wantCode(t, err, connect.CodeFailedPrecondition, append(words, "attach endpoint web: ")...)
	problems := strings.Join(n.Status().GetProblems(), "\n")
	for _, w := range words {
		if !strings.Contains(problems, w) {
			t.Errorf("status has the problems %q, want %q", problems, w)
		}
	}
	if n.Kernel.Applied() > 0 || n.Kernel.Has(tunnel.WireGuard) || n.Kernel.Has(tunnel.IPsec) {
		t.Error("something was made")
	}
	edge := daemontest.Start(t, "edge-1", nil)
	join(t, n, edge)
	awaitTunnel(t, edge, "down", "node cloud-1 has no way to encrypt: "+problems+"; tunnel-drivers of cloud-1 excludes wireguard-userspace, ipsec-userspace")
}

// join makes a node a member.
func join(t *testing.T, authority, n *daemontest.Node) {
	t.Helper()
	token, err := authority.CreateToken(t.Context(), &api.CreateTokenRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.Join(t.Context(), token.GetToken()); err != nil {
		t.Fatal(err)
	}
}

// No driver is one that a host has to have.
func TestAHostWithIPsecAloneCarriesTraffic(t *testing.T) {
	n := daemontest.Start(t, "cloud-1", nil)
	n.Kernel.LacksWireGuard()
	n.Kernel.InstallIPsec()
	if _, err := n.Init(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := n.CreateVPC(t.Context(), &api.CreateVPCRequest{Name: "blue", Cidrs: []string{"10.0.0.0/24"}}); err != nil {
		t.Fatal(err)
	}
	mustAttach(t, n, attachRequest("web", "10.0.0.5"))
	if n.Kernel.Has(tunnel.WireGuard) || !n.Kernel.Has(tunnel.IPsec) {
		t.Errorf("it has a device of WireGuard: %v, of IPsec: %v", n.Kernel.Has(tunnel.WireGuard), n.Kernel.Has(tunnel.IPsec))
	}
	if problems := n.Status().GetProblems(); len(problems) > 0 {
		t.Errorf("there are problems %q", problems)
	}
	if got := n.Kernel.Endpoint(n.Kernel.Endpoints()[0]).MTU; got != 1380 { // charon's 1400, less what translation adds
		t.Errorf("the endpoint's MTU is %d, want 1380", got)
	}
	edge := daemontest.Start(t, "edge-1", nil)
	edge.Kernel.InstallIPsec()
	join(t, n, edge)
	const why = "the fastest that both have: IPsec, in userspace on cloud-1 and edge-1"
	awaitTunnel(t, edge, "connecting", why)
	awaitTunnel(t, n, "connecting", why)
}

// A device by an excluded driver stays while a node is reached by it, and is not
// announced; without such nodes it goes.
func TestAnExcludedDriverIsRetired(t *testing.T) {
	cloud, edge := daemontest.Start(t, "cloud-1", nil), daemontest.Start(t, "edge-1", nil)
	cloud.Kernel.InstallIPsec()
	edge.Kernel.InstallIPsec()
	if _, err := cloud.Init(t.Context()); err != nil {
		t.Fatal(err)
	}
	join(t, cloud, edge)
	for _, n := range []*daemontest.Node{cloud, edge} {
		awaitTunnel(t, n, "connecting", "the fastest that both have: WireGuard, in userspace on cloud-1 and edge-1")
	}
	edge.Config.TunnelDrivers = []string{tunnel.IPsecKernel, tunnel.IPsecUserspace}
	edge.Stop()
	edge.Start()
	const why = "the fastest that both have: IPsec, in userspace on cloud-1 and edge-1; " +
		"tunnel-drivers of edge-1 excludes wireguard-kernel, wireguard-userspace; packets go by wireguard-userspace until that is proved"
	awaitTunnel(t, edge, "connecting", why)
	awaitTunnel(t, cloud, "connecting", why)
	if !edge.Kernel.Has(tunnel.WireGuard) || !edge.Kernel.Has(tunnel.IPsec) {
		t.Error("a device is missing")
	}
	if err := cloud.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	daemontest.Await(t, "the excluded device is gone", func() bool { return !edge.Kernel.Has(tunnel.WireGuard) })
}
