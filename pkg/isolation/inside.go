package isolation

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

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
	if !isUp(link) {
		if err := nl.LinkSetUp(link); err != nil {
			return fmt.Errorf("bring up %s: %w", e.Ifname, err)
		}
	}
	if err := setAddress(nl, e, link); err != nil {
		return err
	}
	return setRoutes(nl, e, link)
}

// ownPrefix is the VPC's prefix that the endpoint's address is in, else the
// address alone.
func (e *Endpoint) ownPrefix() netip.Prefix {
	address := e.first4()
	for _, n := range e.Networks {
		if n.Prefix.Contains(address) {
			return n.Prefix.Masked()
		}
	}
	return netip.PrefixFrom(address, address.BitLen())
}

// setAddress gives the interface its address and takes away every other.
func setAddress(nl *netlink.Handle, e *Endpoint, link netlink.Link) error {
	want := netip.PrefixFrom(e.first4(), e.ownPrefix().Bits())
	have, err := nl.AddrList(link, netlink.FAMILY_V4)
	if err != nil {
		return fmt.Errorf("list addresses of %s: %w", e.Ifname, err)
	}
	present := false
	for _, a := range have {
		if got, ok := prefixOf(a.IPNet); ok && got == want {
			present = true
			continue
		}
		if err := nl.AddrDel(link, &a); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
			return fmt.Errorf("delete address %v: %w", a.IPNet, err)
		}
	}
	if present {
		return nil
	}
	if err := nl.AddrAdd(link, &netlink.Addr{IPNet: ipNet(want)}); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("add address %v: %w", want, err)
	}
	return nil
}

// setRoutes leads to the VPC's other prefixes, and everywhere if the container
// has no other way.
func setRoutes(nl *netlink.Handle, e *Endpoint, link netlink.Link) error {
	var want []netip.Prefix
	for _, n := range e.Networks {
		if p := n.Prefix.Masked(); p.Addr().Is4() && p != e.ownPrefix() {
			want = append(want, p)
		}
	}
	have, err := nl.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Table: unix.RT_TABLE_MAIN}, netlink.RT_FILTER_TABLE)
	if err != nil {
		return fmt.Errorf("list routes: %w", err)
	}
	everywhere := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	hasDefault := false
	for _, r := range have {
		own := r.Protocol == routeProtocol && r.LinkIndex == link.Attrs().Index
		dst, ok := prefixOf(r.Dst)
		if r.Dst == nil || (ok && dst.Bits() == 0) {
			dst = everywhere
			hasDefault = hasDefault || !own
		}
		if own && r.Gw.Equal(e.gateway(e.first4()).AsSlice()) {
			if i := slices.Index(want, dst); i >= 0 {
				want = slices.Delete(want, i, i+1)
				continue
			}
			if dst == everywhere {
				hasDefault = true
				continue
			}
		}
		if own {
			if err := nl.RouteDel(&r); err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("delete route to %v: %w", dst, err)
			}
		}
	}
	if !hasDefault {
		want = append(want, everywhere)
	}
	return addRoutes(nl, e, link, want)
}

func addRoutes(nl *netlink.Handle, e *Endpoint, link netlink.Link, want []netip.Prefix) error {
	gateway := e.gateway(e.first4())
	if !gateway.IsValid() {
		return nil
	}
	for _, dst := range want {
		route := &netlink.Route{
			LinkIndex: link.Attrs().Index, Dst: ipNet(dst), Gw: gateway.AsSlice(),
			Flags: int(netlink.FLAG_ONLINK), Protocol: routeProtocol,
		}
		if err := nl.RouteReplace(route); err != nil {
			return fmt.Errorf("add route to %v: %w", dst, err)
		}
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
