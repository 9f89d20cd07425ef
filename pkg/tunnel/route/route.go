// Package route leads what a node itself sends to other nodes into the tunnel
// device that each is reached by.
//
// Out of its scope: the route of the whole mesh, which is the devices' own, and
// what tenants send, which is redirected without routes.
package route

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"edgenet.dev/edgenet/pkg/tunnel/internal/device"
)

// nodeBits is the length of a node's prefix.
const nodeBits = 64

// metric is the kernel's default for IPv6. The longer prefix wins anyway.
const metric = 1024

// List returns by which device nodes of the mesh are reached that have a route of
// their own, by their prefixes.
func List(mesh netip.Prefix) (map[netip.Prefix]string, error) {
	out := map[netip.Prefix]string{}
	err := each(mesh, func(_ netlink.Route, to netip.Prefix, name string) error {
		out[to] = name
		return nil
	})
	return out, err
}

// Ensure gives nodes a route of their own into a device, by their prefixes, and
// takes away those of all other nodes of the mesh. A node's route is replaced, so
// that it is never without. It returns which it had to set.
func Ensure(mesh netip.Prefix, want map[netip.Prefix]string) (set []netip.Prefix, err error) {
	there := map[netip.Prefix]bool{}
	err = each(mesh, func(r netlink.Route, to netip.Prefix, name string) error {
		if want[to] == name {
			there[to] = true
			return nil
		}
		if want[to] != "" {
			return nil // it is replaced below
		}
		if err := netlink.RouteDel(&r); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("delete route %s: %w", to, err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for to, name := range want {
		if there[to] {
			continue
		}
		link, err := netlink.LinkByName(name)
		if err != nil {
			return set, fmt.Errorf("find device %s: %w", name, err)
		}
		err = netlink.RouteReplace(&netlink.Route{
			LinkIndex: link.Attrs().Index, Dst: device.IPNet(to), Protocol: device.RouteProtocol,
			Table: unix.RT_TABLE_MAIN, Priority: metric, Type: unix.RTN_UNICAST,
		})
		if err != nil {
			return set, fmt.Errorf("set route %s: %w", to, err)
		}
		set = append(set, to)
	}
	return set, nil
}

// each calls f for every route of ours to a node of the mesh.
func each(mesh netip.Prefix, f func(r netlink.Route, to netip.Prefix, device string) error) error {
	routes, err := device.OwnRoutes()
	if err != nil {
		return err
	}
	for _, r := range routes {
		to := device.PrefixOf(r.Dst)
		if r.Type != unix.RTN_UNICAST || to.Bits() != nodeBits || !mesh.Contains(to.Addr()) {
			continue
		}
		link, err := netlink.LinkByIndex(r.LinkIndex)
		if device.IsNotFound(err) {
			continue // and the route with it
		}
		if err != nil {
			return fmt.Errorf("find device of route %s: %w", to, err)
		}
		if err := f(r, to, link.Attrs().Name); err != nil {
			return err
		}
	}
	return nil
}
