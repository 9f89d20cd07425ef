package device_test

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/vishvananda/netlink"

	"edgenet.dev/edgenet/pkg/tunnel/internal/device"
	"edgenet.dev/edgenet/pkg/tunnel/tunneltest"
)

var mesh = netip.MustParsePrefix("fd12:3400::/24")

// Two drivers' devices share the mesh: each has its route, the lower metric
// wins, and what makes the mesh unreachable goes with the last of them.
func TestTwoDevicesShareTheMesh(t *testing.T) {
	space := tunneltest.NewSpace(t)
	space.Must(t, func() error {
		first, err := addLink("first")
		if err != nil {
			return err
		}
		second, err := addLink("second")
		if err != nil {
			return err
		}
		node := netip.MustParsePrefix("fd12:3400:0:7::/64")
		err = errors.Join(
			device.EnsureUnreachable(mesh, nil), device.EnsureUnreachable(mesh, nil),
			device.EnsureRoutes(first, mesh, 0, nil), device.EnsureRoutes(first, mesh, 0, nil),
			device.EnsureRoutes(second, mesh, 2000, nil),
			netlink.RouteAdd(&netlink.Route{
				LinkIndex: second.Attrs().Index, Dst: device.IPNet(node), Protocol: device.RouteProtocol,
			}),
			device.EnsureRoutes(second, mesh, 2000, nil),
		)
		if err != nil {
			return err
		}
		if got, want := routes(t), []string{"fd12:3400:0:7::/64 second 1024", "fd12:3400::/24 first 1024", "fd12:3400::/24 second 2000", "unreachable fd12:3400::/24"}; !slices.Equal(got, want) {
			t.Errorf("routes are %q, want %q", got, want)
		}
		if err := errors.Join(netlink.LinkDel(first), device.RemoveUnreachable(mesh)); err != nil {
			return err
		}
		if !slices.Contains(routes(t), "unreachable fd12:3400::/24") {
			t.Error("without the first device nothing keeps the mesh from leaving in clear")
		}
		if err := errors.Join(netlink.LinkDel(second), device.RemoveUnreachable(mesh)); err != nil {
			return err
		}
		if got := routes(t); len(got) > 0 {
			t.Errorf("routes are %q, want none", got)
		}
		return nil
	})
}

// A device's route of another mesh, or of another metric, is replaced.
func TestRoutesOfAnotherMeshGo(t *testing.T) {
	space := tunneltest.NewSpace(t)
	other := netip.MustParsePrefix("fd99:9900::/24")
	space.Must(t, func() error {
		link, err := addLink("first")
		if err != nil {
			return err
		}
		err = errors.Join(
			device.EnsureUnreachable(other, nil), device.EnsureRoutes(link, other, 0, nil),
			device.EnsureUnreachable(mesh, nil), device.EnsureRoutes(link, mesh, 0, nil), device.EnsureRoutes(link, mesh, 5, nil),
		)
		if got, want := routes(t), []string{"fd12:3400::/24 first 5", "unreachable fd12:3400::/24"}; !slices.Equal(got, want) {
			t.Errorf("routes are %q, want %q", got, want)
		}
		return err
	})
}

func addLink(name string) (netlink.Link, error) {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	link := &netlink.Tuntap{LinkAttrs: attrs, Mode: netlink.TUNTAP_MODE_TUN}
	err := errors.Join(netlink.LinkAdd(link), netlink.LinkSetUp(link))
	if err != nil {
		return nil, err
	}
	return device.Find(name)
}

// routes returns ours in words, sorted.
func routes(t *testing.T) []string {
	t.Helper()
	have, err := device.OwnRoutes()
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, r := range have {
		if device.IsUnreachable(r) {
			out = append(out, "unreachable "+r.Dst.String())
			continue
		}
		link, err := netlink.LinkByIndex(r.LinkIndex)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, fmt.Sprintf("%s %s %d", r.Dst, link.Attrs().Name, r.Priority))
	}
	slices.Sort(out)
	return out
}
