package tunneltest

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"
)

// UnderlayDevice is the name of every node's device on the underlay.
const UnderlayDevice = "underlay0"

// Lab is some nodes, each in a namespace of its own, on one switch.
type Lab struct {
	// Spaces are the nodes.
	Spaces []*Space
	// Switch has a bridge with a port for each node, called port0 and so on:
	// the place to listen in.
	Switch *Space
}

const bridgeName = "switch"

// NewLab makes as many nodes.
func NewLab(t *testing.T, nodes int) *Lab {
	t.Helper()
	l := &Lab{Switch: NewSpace(t)}
	attrs := netlink.NewLinkAttrs()
	attrs.Name = bridgeName
	l.Switch.Must(t, func() error {
		bridge := &netlink.Bridge{LinkAttrs: attrs}
		return errors.Join(netlink.LinkAdd(bridge), netlink.LinkSetUp(bridge))
	})
	for i := range nodes {
		space := NewSpace(t)
		l.Spaces = append(l.Spaces, space)
		l.Switch.Must(t, func() error { return plug(space, i) })
		space.Must(t, func() error { return configureUnderlay(l.Underlay(i)) })
	}
	return l
}

// Underlay is the node's address on the underlay.
func (l *Lab) Underlay(node int) netip.Addr {
	return netip.AddrFrom4([4]byte{198, 18, 0, byte(node) + 1})
}

// plug connects a node to the switch; it is called in the switch.
func plug(space *Space, node int) error {
	bridge, err := netlink.LinkByName(bridgeName)
	if err != nil {
		return err
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MasterIndex = fmt.Sprintf("port%d", node), bridge.Attrs().Index
	port := &netlink.Veth{LinkAttrs: attrs, PeerName: UnderlayDevice, PeerNamespace: netlink.NsFd(space.handle)}
	return errors.Join(netlink.LinkAdd(port), netlink.LinkSetUp(port))
}

func configureUnderlay(addr netip.Addr) error {
	link, err := netlink.LinkByName(UnderlayDevice)
	if err != nil {
		return err
	}
	err = netlink.AddrAdd(link, &netlink.Addr{IPNet: &net.IPNet{IP: addr.AsSlice(), Mask: net.CIDRMask(24, addr.BitLen())}})
	return errors.Join(err, netlink.LinkSetUp(link))
}
