package isolation

import (
	"bytes"
	"errors"
	"fmt"
	"net"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// wireNetns makes the veth of a container, or makes it right. The host's end of
// a new one stays down: it is brought up when the datapath guards it.
func (d *Datapath) wireNetns(e *Endpoint, links linkTable) (wired, error) {
	mac := e.MAC
	if len(mac) == 0 {
		mac = givenMAC(e.Key)
	}
	w := wired{name: vethName(e.Key), mac: mac, delivery: edgenetDeliveryDELIVER_PEER}
	link := links.byName[w.name]
	if link != nil {
		w.ifindex, w.up = uint32(link.Attrs().Index), isUp(link)
		if inode, err := inodeAt(e.Netns); err == nil && d.isChecked(e, link, inode) {
			w.checked = true
			return w, nil
		}
	}
	ns, err := openNamespace(e.Netns)
	if err != nil {
		return w, err
	}
	defer func() { _ = ns.close() }()
	if ns.inode == d.inode {
		return w, fmt.Errorf("%s is the host's own network namespace", e.Netns)
	}
	if link != nil {
		if link, err = d.checkVeth(e, ns, link, mac); err != nil {
			return w, err
		}
	}
	if link == nil {
		w.up = false
		if link, err = d.makeVeth(e, ns, w.name, mac); err != nil {
			return w, err
		}
		d.log.Info("endpoint's veth made", "vni", e.VNI, "endpoint", e.Name, "device", w.name)
	}
	w.ifindex, w.inode = uint32(link.Attrs().Index), ns.inode
	if w.up {
		d.markChecked(e, link, ns.inode)
	}
	return w, nil
}

// checkVeth makes an existing veth right. It returns nil if the other end is
// not where it should be: the veth is deleted then.
func (d *Datapath) checkVeth(e *Endpoint, ns *namespace, link netlink.Link, mac net.HardwareAddr) (netlink.Link, error) {
	err := ns.do(func(nl *netlink.Handle) error {
		inside, err := nl.LinkByName(e.Ifname)
		if errors.As(err, &netlink.LinkNotFoundError{}) {
			return errMoved
		}
		if err != nil {
			return fmt.Errorf("find %s: %w", e.Ifname, err)
		}
		if inside.Type() != "veth" || inside.Attrs().Index != link.Attrs().ParentIndex || inside.Attrs().ParentIndex != link.Attrs().Index {
			return errMoved
		}
		return configureInside(nl, e, inside, mac)
	})
	if errors.Is(err, errMoved) {
		if err := d.nl.LinkDel(link); err != nil {
			return nil, fmt.Errorf("delete stale veth: %w", err)
		}
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return link, d.configureHost(e, link)
}

// errMoved says that a veth's other end is not in the endpoint's namespace.
var errMoved = errors.New("the other end is elsewhere")

// makeVeth makes a pair with the other end in the namespace from the start: a
// device that is moved waits for RCU.
func (d *Datapath) makeVeth(e *Endpoint, ns *namespace, name string, mac net.HardwareAddr) (netlink.Link, error) {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU, attrs.HardwareAddr = name, e.MTU, gatewayMAC
	link := &netlink.Veth{
		LinkAttrs: attrs, PeerName: e.Ifname, PeerHardwareAddr: mac,
		PeerMTU: uint32(e.MTU), PeerNamespace: netlink.NsFd(ns.fd()),
	}
	err := d.nl.LinkAdd(link)
	if errors.Is(err, unix.EEXIST) {
		return nil, fmt.Errorf("%s exists in %s and is not edgenet's", e.Ifname, e.Netns)
	}
	if err != nil {
		return nil, fmt.Errorf("make veth: %w", err)
	}
	made, err := d.finishVeth(e, ns, name, mac)
	if err != nil {
		return nil, errors.Join(err, d.deleteDevice(name))
	}
	return made, nil
}

func (d *Datapath) finishVeth(e *Endpoint, ns *namespace, name string, mac net.HardwareAddr) (netlink.Link, error) {
	link, err := d.nl.LinkByName(name)
	if err != nil {
		return nil, fmt.Errorf("find %s: %w", name, err)
	}
	if err := d.configureHost(e, link); err != nil {
		return nil, err
	}
	err = ns.do(func(nl *netlink.Handle) error {
		inside, err := nl.LinkByName(e.Ifname)
		if err != nil {
			return fmt.Errorf("find %s: %w", e.Ifname, err)
		}
		return configureInside(nl, e, inside, mac)
	})
	return link, err
}

// configureHost makes the host's end right, but for being up.
func (d *Datapath) configureHost(e *Endpoint, link netlink.Link) error {
	attrs := link.Attrs()
	if attrs.Alias != alias(e.Key) {
		if err := d.nl.LinkSetAlias(link, alias(e.Key)); err != nil {
			return fmt.Errorf("set alias: %w", err)
		}
	}
	if attrs.MTU != e.MTU {
		if err := d.nl.LinkSetMTU(link, e.MTU); err != nil {
			return fmt.Errorf("set MTU: %w", err)
		}
	}
	// Frames to the gateway are then for the host's end, and pass as such.
	if !bytes.Equal(attrs.HardwareAddr, gatewayMAC) {
		if err := d.nl.LinkSetHardwareAddr(link, gatewayMAC); err != nil {
			return fmt.Errorf("set MAC: %w", err)
		}
	}
	return d.muteIPv6(link)
}

// deleteDevice deletes a device; one that has gone is none.
func (d *Datapath) deleteDevice(name string) error {
	link, err := d.nl.LinkByName(name)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("find %s: %w", name, err)
	}
	if err := d.nl.LinkDel(link); err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("delete %s: %w", name, err)
	}
	return nil
}
