package route_test

import (
	"errors"
	"maps"
	"net"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"

	"edgenet.dev/edgenet/pkg/tunnel/route"
	"edgenet.dev/edgenet/pkg/tunnel/tunneltest"
)

var (
	mesh = netip.MustParsePrefix("fd12:3400::/24")
	one  = netip.MustParsePrefix("fd12:3400:0:1::/64")
	two  = netip.MustParsePrefix("fd12:3400:0:2::/64")
)

// Nodes' routes follow what is wanted, and those of others stay.
func TestRoutesFollow(t *testing.T) {
	space := tunneltest.NewSpace(t)
	space.Must(t, func() error {
		for _, name := range []string{"first", "second"} {
			attrs := netlink.NewLinkAttrs()
			attrs.Name = name
			link := &netlink.Tuntap{LinkAttrs: attrs, Mode: netlink.TUNTAP_MODE_TUN}
			if err := errors.Join(netlink.LinkAdd(link), netlink.LinkSetUp(link)); err != nil {
				return err
			}
		}
		second, err := netlink.LinkByName("second")
		if err != nil {
			return err
		}
		_, foreign, err := net.ParseCIDR("fd12:3400:0:9::/64")
		if err != nil {
			return err
		}
		if err := netlink.RouteAdd(&netlink.Route{LinkIndex: second.Attrs().Index, Dst: foreign}); err != nil {
			return err
		}
		for _, want := range []map[netip.Prefix]string{
			{one: "first"}, {one: "first", two: "second"}, {one: "second", two: "second"}, {two: "first"}, {},
		} {
			for range 2 { // the second time there is nothing to do
				if _, err := route.Ensure(mesh, want); err != nil {
					return err
				}
			}
			got, err := route.List(mesh)
			if err != nil || !maps.Equal(got, want) {
				t.Errorf("got %v, %v, want %v", got, err, want)
			}
		}
		left, err := netlink.RouteListFiltered(netlink.FAMILY_V6, &netlink.Route{Dst: foreign}, netlink.RT_FILTER_DST)
		if err != nil || len(left) != 1 {
			t.Errorf("of another's route is left %v, %v", left, err)
		}
		if _, err := route.Ensure(mesh, map[netip.Prefix]string{one: "third"}); err == nil {
			t.Error("a route into a device that is not there is made")
		}
		return nil
	})
}
