package isolation

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// routeProtocol marks edgenet's routes in a container.
const routeProtocol = 101 // 'e'

// configureInside makes a container's interface right: it runs on a thread in
// the container's namespace.
func configureInside(nl *netlink.Handle, e *Endpoint, link netlink.Link, mac net.HardwareAddr) error {
	attrs := link.Attrs()
	if attrs.MTU != e.MTU {
		if err := nl.LinkSetMTU(link, e.MTU); err != nil {
			return fmt.Errorf("set MTU of %s: %w", e.Ifname, err)
		}
	}
	if !bytes.Equal(attrs.HardwareAddr, mac) {
		if err := nl.LinkSetHardwareAddr(link, mac); err != nil {
			return fmt.Errorf("set MAC of %s: %w", e.Ifname, err)
		}
	}
	if err := segmentUDPEarly(e.Ifname); err != nil {
		return err
	}
	if e.first6().IsValid() {
		if err := allowIPv6(e.Ifname); err != nil {
			return err
		}
	}
	if !isUp(link) {
		if err := nl.LinkSetUp(link); err != nil {
			return fmt.Errorf("bring up %s: %w", e.Ifname, err)
		}
	}
	if err := giveAddresses(nl, e, link); err != nil {
		return err
	}
	return setRoutes(nl, e, link)
}

// allowIPv6 turns IPv6 on where containers have it turned off. Nobody advertises
// routes in a VPC: what would say so is not believed.
func allowIPv6(ifname string) error {
	if err := writeIPv6(ifname, "disable_ipv6", "0"); err != nil {
		return err
	}
	return writeIPv6(ifname, "accept_ra", "0")
}

// onLink is an address with the length of the VPC's prefix that it is in, or its
// own length if it is in none.
func (e *Endpoint) onLink(address netip.Addr) netip.Prefix {
	for _, n := range e.Networks {
		if n.Prefix.Contains(address) {
			return netip.PrefixFrom(address, n.Prefix.Bits())
		}
	}
	return netip.PrefixFrom(address, address.BitLen())
}

// mayHave says whether an address that nobody wanted may stay at the interface:
// the kernel gives link-local ones, and behind the endpoint its owner decides.
func (e *Endpoint) mayHave(address netip.Addr) bool {
	if address.Is6() && address.IsLinkLocalUnicast() {
		return true
	}
	for _, p := range e.Routed {
		if p.Contains(address) {
			return true
		}
	}
	return false
}

// giveAddresses gives the interface its addresses, and takes away others.
func giveAddresses(nl *netlink.Handle, e *Endpoint, link netlink.Link) error {
	want := make(map[netip.Prefix]bool, len(e.Addresses))
	for _, a := range e.Addresses {
		want[e.onLink(a)] = true
	}
	have, err := addressesOf(nl, link)
	if err != nil {
		return err
	}
	removed := false
	for p, a := range have {
		if want[p] || e.mayHave(p.Addr()) {
			continue
		}
		removed = true
		if err := nl.AddrDel(link, &a); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
			return fmt.Errorf("delete address %v: %w", p, err)
		}
	}
	// IPv4 addresses may have gone with the first of their network.
	if removed {
		if have, err = addressesOf(nl, link); err != nil {
			return err
		}
	}
	for _, a := range e.Addresses {
		p := e.onLink(a)
		if _, ok := have[p]; ok {
			continue
		}
		address := &netlink.Addr{IPNet: ipNet(p)}
		if a.Is6() {
			address.Flags = unix.IFA_F_NODAD // nobody else can have it
		}
		if err := nl.AddrAdd(link, address); err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("add address %v: %w", p, err)
		}
	}
	return nil
}

func addressesOf(nl *netlink.Handle, link netlink.Link) (map[netip.Prefix]netlink.Addr, error) {
	list, err := nl.AddrList(link, netlink.FAMILY_ALL)
	if err != nil {
		return nil, fmt.Errorf("list addresses of %s: %w", link.Attrs().Name, err)
	}
	have := make(map[netip.Prefix]netlink.Addr, len(list))
	for _, a := range list {
		if p, ok := prefixOf(a.IPNet); ok {
			have[p] = a
		}
	}
	return have, nil
}

// setRoutes leads to the VPC's other prefixes, and everywhere if the container
// has no other way.
func setRoutes(nl *netlink.Handle, e *Endpoint, link netlink.Link) error {
	if err := setRoutesOf(nl, e, link, netlink.FAMILY_V4, e.first4()); err != nil {
		return err
	}
	return setRoutesOf(nl, e, link, netlink.FAMILY_V6, e.first6())
}

// setRoutesOf sets the routes of a family, in which the endpoint has this address
// or none.
func setRoutesOf(nl *netlink.Handle, e *Endpoint, link netlink.Link, family int, address netip.Addr) error {
	gateway := e.gateway(address)
	want := make(map[netip.Prefix]bool)
	if gateway.IsValid() {
		for _, p := range e.beyondLink(address) {
			want[p] = true
		}
	}
	have, err := nl.RouteListFiltered(family, &netlink.Route{Table: unix.RT_TABLE_MAIN}, netlink.RT_FILTER_TABLE)
	if err != nil {
		return fmt.Errorf("list routes: %w", err)
	}
	present, elsewhere := make(map[netip.Prefix]bool), false
	for _, r := range have {
		dst := destinationOf(&r, family)
		if r.Protocol != routeProtocol || r.LinkIndex != link.Attrs().Index {
			elsewhere = elsewhere || dst.Bits() == 0
			continue
		}
		if r.Gw.Equal(gateway.AsSlice()) && want[dst] {
			present[dst] = true
			continue
		}
		if err := nl.RouteDel(&r); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("delete route to %v: %w", dst, err)
		}
	}
	for dst := range want {
		if present[dst] || (dst.Bits() == 0 && elsewhere) {
			continue
		}
		if err := addRoute(nl, link, gateway, dst); err != nil {
			return err
		}
	}
	return nil
}

// beyondLink are the prefixes of an address's family that the gateway leads to:
// those of the VPC that the endpoint has no address in, and all others.
func (e *Endpoint) beyondLink(address netip.Addr) []netip.Prefix {
	everywhere := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	if address.Is6() {
		everywhere = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	}
	beyond := []netip.Prefix{everywhere}
	linked := make(map[netip.Prefix]bool, len(e.Addresses))
	for _, a := range e.Addresses {
		linked[e.onLink(a).Masked()] = true
	}
	for _, n := range e.Networks {
		if p := n.Prefix.Masked(); p.Addr().Is4() == address.Is4() && !linked[p] {
			beyond = append(beyond, p)
		}
	}
	return beyond
}

// destinationOf is a route's destination; the default's may be left out.
func destinationOf(r *netlink.Route, family int) netip.Prefix {
	if dst, ok := prefixOf(r.Dst); ok {
		return dst
	}
	if family == netlink.FAMILY_V4 {
		return netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	}
	return netip.PrefixFrom(netip.IPv6Unspecified(), 0)
}

func addRoute(nl *netlink.Handle, link netlink.Link, gateway netip.Addr, dst netip.Prefix) error {
	route := &netlink.Route{
		LinkIndex: link.Attrs().Index, Dst: ipNet(dst), Gw: gateway.AsSlice(),
		Flags: int(netlink.FLAG_ONLINK), Protocol: routeProtocol,
	}
	if err := nl.RouteReplace(route); err != nil {
		return fmt.Errorf("add route to %v: %w", dst, err)
	}
	return nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

func prefixOf(n *net.IPNet) (netip.Prefix, bool) {
	if n == nil {
		return netip.Prefix{}, false
	}
	addr, ok := netip.AddrFromSlice(n.IP)
	ones, _ := n.Mask.Size()
	return netip.PrefixFrom(addr.Unmap(), ones), ok
}
