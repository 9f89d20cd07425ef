package daemon_test

import (
	"fmt"
	"net/netip"
	"testing"

	"connectrpc.com/connect"

	api "edgenet.dev/edgenet/api/edgenet/v1"
	"edgenet.dev/edgenet/internal/daemon/daemontest"
	"edgenet.dev/edgenet/pkg/isolation"
)

// dual is an authority with a VPC of both families.
func dual(t *testing.T) (*daemontest.Node, uint32) {
	t.Helper()
	n := daemontest.Start(t, "cloud-1", nil)
	if _, err := n.Init(t.Context()); err != nil {
		t.Fatal(err)
	}
	v, err := n.CreateVPC(t.Context(), &api.CreateVPCRequest{Name: "blue", Cidrs: []string{"10.0.0.0/24", "fd00:1::/64"}})
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(v.GetGateways()); got != "[10.0.0.1 fd00:1::1]" {
		t.Errorf("the gateways are %s", got)
	}
	return n, v.GetVni()
}

func TestAVPCIsNotOfTheMeshsOwnPrefix(t *testing.T) {
	n, _ := authority(t)
	node, err := n.GetNode("cloud-1")
	if err != nil {
		t.Fatal(err)
	}
	_, err = n.CreateVPC(t.Context(), &api.CreateVPCRequest{Name: "red", Cidrs: []string{node.GetPrefix()}})
	wantCode(t, err, connect.CodeInvalidArgument, "overlaps the mesh's own prefix")
}

func TestAnEndpointHasSeveralAddresses(t *testing.T) {
	n, vni := dual(t)
	req := attachRequest("web", "10.0.0.5")
	req.Ips, req.Prefixes = []string{"fd00:1:0::5", "10.0.0.5", "10.0.0.6"}, []string{"10.0.0.128/25", "10.0.0.100/32"}
	e := mustAttach(t, n, req)
	if got := fmt.Sprint(e.GetIp(), e.GetIps(), e.GetPrefixes()); got != "10.0.0.5[10.0.0.5 fd00:1::5 10.0.0.6] [10.0.0.100/32 10.0.0.128/25]" {
		t.Errorf("it is told as %s", got)
	}
	made := n.Kernel.Endpoint(isolation.Key{VNI: vni, Name: "web"})
	if got := fmt.Sprint(made.Addresses, made.Routed, len(made.Networks)); got != "[10.0.0.5 fd00:1::5 10.0.0.6] [10.0.0.100/32 10.0.0.128/25] 2" {
		t.Errorf("the kernel has %s", got)
	}
	if again := mustAttach(t, n, req); again.GetAttached().AsTime() != e.GetAttached().AsTime() {
		t.Error("the same attach counts as another")
	}
	other := attachRequest("web", "")
	other.Ips = []string{"10.0.0.5", "fd00:1::5"} // The primary one is the first of ips.
	_, err := n.AttachEndpoint(t.Context(), other)
	wantCode(t, err, connect.CodeAlreadyExists, "with ip 10.0.0.5,fd00:1::5,10.0.0.6")

	mustAttach(t, n, attachRequest("thief", "10.0.0.6"))
	daemontest.Await(t, "it is superseded as a whole", func() bool { return state(t, n, "web") == "superseded" })
	other.Name = "heir"
	if heir := mustAttach(t, n, other); heir.GetIp() != "10.0.0.5" || heir.GetState() != "ready" {
		t.Errorf("what it had besides is not free: %v", heir)
	}
}

func TestAnAnnouncedAddressMoves(t *testing.T) {
	n, vni := dual(t)
	vip := netip.MustParseAddr("10.0.0.100")
	for name, ip := range map[string]string{"a": "10.0.0.5", "b": "10.0.0.6"} {
		req := attachRequest(name, ip)
		req.Prefixes = []string{"10.0.0.100/32"}
		mustAttach(t, n, req)
	}
	announced := func(name string) string {
		e, err := n.GetEndpoint(t.Context(), name, "blue")
		return fmt.Sprint(e.GetAnnounced(), err)
	}
	for _, holder := range []string{"a", "b", "a"} {
		other := map[string]string{"a": "b", "b": "a"}[holder]
		before := n.Kernel.Route(vni, netip.PrefixFrom(vip, 32))
		n.Kernel.Announce(isolation.Key{VNI: vni, Name: holder}, vip)
		daemontest.Await(t, holder+" has the address", func() bool {
			return n.Kernel.Route(vni, netip.PrefixFrom(vip, 32)).Endpoint.Name == holder
		})
		if before.Endpoint.Name != holder && announced(holder) != "[10.0.0.100] <nil>" || announced(other) != "[] <nil>" {
			t.Errorf("%s has announced %s, %s %s", holder, announced(holder), other, announced(other))
		}
	}
	// Another one's own address is not to be had.
	n.Kernel.Announce(isolation.Key{VNI: vni, Name: "a"}, netip.MustParseAddr("10.0.0.6"))
	n.Kernel.Announce(isolation.Key{VNI: vni, Name: "b"}, vip)
	daemontest.Await(t, "b has the address", func() bool { return announced("b") == "[10.0.0.100] <nil>" })
	if got := announced("a"); got != "[] <nil>" {
		t.Errorf("a has announced %s", got)
	}
	if err := n.DetachEndpoint(t.Context(), "b", "blue"); err != nil {
		t.Fatal(err)
	}
	if got := n.Kernel.Route(vni, netip.PrefixFrom(vip, 32)); got.Endpoint.Name != "a" {
		t.Errorf("after the holder is gone the address is at %v", got)
	}
}
