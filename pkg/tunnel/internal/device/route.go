package device

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// RouteProtocol marks routes as edgenet's (rtm_protocol of linux/rtnetlink.h;
// values from 5 on are free for whoever takes them, and iproute2's list leaves
// 101 free).
const RouteProtocol = 101

const (
	// deviceMetric is the kernel's default for IPv6.
	deviceMetric = 1024
	// unreachableMetric loses against any route into the device.
	unreachableMetric = 1 << 30
)

// EnsureAddress puts the address on the device and takes any other off: the
// device is edgenet's, so another is from an earlier mesh. Link-local ones are
// the kernel's.
func EnsureAddress(link netlink.Link, want netip.Addr, mended *Mended) error {
	have, err := dump(func() ([]netlink.Addr, error) { return netlink.AddrList(link, netlink.FAMILY_ALL) })
	if err != nil {
		return fmt.Errorf("list addresses: %w", err)
	}
	found := false
	for _, a := range have {
		ip, _ := netip.AddrFromSlice(a.IP)
		ones, _ := a.Mask.Size()
		switch {
		case ip == want && ones == want.BitLen():
			found = true
		case ip.IsLinkLocalUnicast():
		default:
			if err := netlink.AddrDel(link, &a); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
				return fmt.Errorf("delete address %s: %w", ip, err)
			}
			mended.Note("it had the address %s", ip)
		}
	}
	if found {
		return nil
	}
	addr := &netlink.Addr{
		IPNet: IPNet(netip.PrefixFrom(want, want.BitLen())),
		Flags: unix.IFA_F_NODAD, // no neighbour could answer
	}
	if err := netlink.AddrAdd(link, addr); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("add address %s: %w", want, err)
	}
	mended.Note("its address %s was gone", want)
	return nil
}

// EnsureRoutes makes sure of the route of the mesh into the device, and removes
// routes of other meshes: those into the device and those that make them
// unreachable. Routes to parts of the mesh are left: they are who asked for
// them's. A metric of 0 is the kernel's default.
func EnsureRoutes(link netlink.Link, mesh netip.Prefix, metric int, mended *Mended) error {
	have, err := OwnRoutes()
	if err != nil {
		return err
	}
	want := deviceRoute(link, mesh, metric)
	found := false
	for _, r := range have {
		switch {
		case r.Type == unix.RTN_UNICAST && r.LinkIndex == link.Attrs().Index:
			dst := PrefixOf(r.Dst)
			if dst == mesh && r.Priority == want.Priority {
				found = true
				continue
			}
			if dst.Bits() > mesh.Bits() && mesh.Contains(dst.Addr()) {
				continue
			}
		case IsUnreachable(r) && PrefixOf(r.Dst) != mesh:
		default:
			continue
		}
		if err := netlink.RouteDel(&r); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("delete route %s: %w", r.Dst, err)
		}
		mended.Note("there was a route %s", r.Dst)
	}
	if found {
		return nil
	}
	if err := netlink.RouteAdd(want); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("add route %s: %w", mesh, err)
	}
	mended.Note("the route %s was gone", mesh)
	return nil
}

// EnsureUnreachable makes the mesh unreachable for whoever finds no better
// route, so that nothing for it leaves in clear.
func EnsureUnreachable(mesh netip.Prefix, mended *Mended) error {
	have, err := OwnRoutes()
	if err != nil {
		return err
	}
	for _, r := range have {
		if IsUnreachable(r) && PrefixOf(r.Dst) == mesh {
			return nil
		}
	}
	if err := netlink.RouteAdd(unreachableRoute(mesh)); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("add unreachable route %s: %w", mesh, err)
	}
	mended.Note("what makes %s unreachable was gone", mesh)
	return nil
}

// RemoveUnreachable removes the mesh's unreachable route, or those of all
// meshes when the mesh is not known; but not while another tunnel device has a
// route of the mesh.
func RemoveUnreachable(mesh netip.Prefix) error {
	have, err := OwnRoutes()
	if err != nil {
		return err
	}
	for _, r := range have {
		dst := PrefixOf(r.Dst)
		if !IsUnreachable(r) || mesh.IsValid() && dst != mesh || isRouted(have, dst) {
			continue
		}
		if err := netlink.RouteDel(&r); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("delete unreachable route %s: %w", r.Dst, err)
		}
	}
	return nil
}

// isRouted says whether any of the routes leads somewhere in the mesh.
func isRouted(routes []netlink.Route, mesh netip.Prefix) bool {
	return slices.ContainsFunc(routes, func(r netlink.Route) bool {
		return r.Type == unix.RTN_UNICAST && mesh.Overlaps(PrefixOf(r.Dst))
	})
}

// RoutedMesh returns the prefix that is routed into the device, or none.
func RoutedMesh(link netlink.Link) netip.Prefix {
	have, err := OwnRoutes()
	if err != nil {
		return netip.Prefix{} // the same as not knowing
	}
	for _, r := range have {
		if r.Type == unix.RTN_UNICAST && r.LinkIndex == link.Attrs().Index {
			return PrefixOf(r.Dst)
		}
	}
	return netip.Prefix{}
}

// OwnRoutes lists the IPv6 routes of the main table that carry RouteProtocol.
func OwnRoutes() ([]netlink.Route, error) {
	filter := &netlink.Route{Protocol: RouteProtocol, Table: unix.RT_TABLE_MAIN}
	routes, err := dump(func() ([]netlink.Route, error) {
		return netlink.RouteListFiltered(netlink.FAMILY_V6, filter,
			netlink.RT_FILTER_PROTOCOL|netlink.RT_FILTER_TABLE)
	})
	if err != nil {
		return nil, fmt.Errorf("list routes: %w", err)
	}
	return routes, nil
}

// dump lists again when the kernel says that what it lists changed meanwhile,
// which on a host that attaches endpoints all the time is no failure.
func dump[T any](list func() ([]T, error)) ([]T, error) {
	const tries = 5
	var out []T
	var err error
	for range tries {
		out, err = list()
		if !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	return out, err
}

func deviceRoute(link netlink.Link, mesh netip.Prefix, metric int) *netlink.Route {
	if metric == 0 {
		metric = deviceMetric
	}
	return &netlink.Route{
		LinkIndex: link.Attrs().Index,
		Dst:       IPNet(mesh),
		Protocol:  RouteProtocol,
		Table:     unix.RT_TABLE_MAIN,
		Priority:  metric,
		Type:      unix.RTN_UNICAST,
	}
}

func unreachableRoute(mesh netip.Prefix) *netlink.Route {
	return &netlink.Route{
		Dst:      IPNet(mesh),
		Protocol: RouteProtocol,
		Table:    unix.RT_TABLE_MAIN,
		Priority: unreachableMetric,
		Type:     unix.RTN_UNREACHABLE,
	}
}

// IsUnreachable says whether a route of ours is one that EnsureUnreachable made.
func IsUnreachable(r netlink.Route) bool {
	return r.Type == unix.RTN_UNREACHABLE && r.Priority == unreachableMetric
}

// IPNet returns the prefix in the terms of package net.
func IPNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// PrefixOf returns the zero prefix for nil.
func PrefixOf(n *net.IPNet) netip.Prefix {
	if n == nil {
		return netip.Prefix{}
	}
	addr, ok := netip.AddrFromSlice(n.IP)
	if !ok {
		return netip.Prefix{}
	}
	ones, _ := n.Mask.Size()
	return netip.PrefixFrom(addr.Unmap(), ones)
}
