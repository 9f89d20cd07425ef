package isolation

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// wireTap makes a VM's tap, or makes it right.
func (d *Datapath) wireTap(e *Endpoint, links linkTable) (wired, error) {
	w := wired{name: e.Device, mac: e.MAC, delivery: edgenetDeliveryDELIVER_DEVICE}
	link := links.byName[e.Device]
	if link == nil {
		var err error
		if link, err = d.makeTap(e); err != nil {
			return w, err
		}
		d.log.Info("endpoint's tap made", "vni", e.VNI, "endpoint", e.Name, "device", e.Device)
	}
	if mode, ok := link.(*netlink.Tuntap); !ok || mode.Mode != netlink.TUNTAP_MODE_TAP {
		return w, fmt.Errorf("%s is no tap", e.Device)
	}
	w.ifindex, w.up = uint32(link.Attrs().Index), isUp(link)
	if link.Attrs().MTU != e.MTU && e.MTU != 0 {
		if err := d.nl.LinkSetMTU(link, e.MTU); err != nil {
			return w, fmt.Errorf("set MTU of %s: %w", e.Device, err)
		}
	}
	return w, d.takeOver(link)
}

// wireDevice prepares a device of the host's to be a tenant's.
func (d *Datapath) wireDevice(e *Endpoint, links linkTable) (wired, error) {
	w := wired{name: e.Device, mac: e.MAC, delivery: edgenetDeliveryDELIVER_DEVICE}
	link := links.byName[e.Device]
	if link == nil {
		return w, fmt.Errorf("device %s does not exist", e.Device)
	}
	if link.Attrs().Index == loopback {
		return w, fmt.Errorf("device %s is the loopback", e.Device)
	}
	if isMade(link) {
		return w, fmt.Errorf("device %s was made for another endpoint", e.Device)
	}
	if link.Attrs().MasterIndex != 0 {
		return w, fmt.Errorf("device %s is part of another device", e.Device)
	}
	w.ifindex, w.up = uint32(link.Attrs().Index), isUp(link)
	if err := d.takeOver(link); err != nil {
		return w, err
	}
	// The server's frames are for the gateway's MAC, not for this device's own.
	if link.Attrs().Promisc == 0 {
		if err := d.nl.SetPromiscOn(link); err != nil {
			return w, fmt.Errorf("make %s promiscuous: %w", e.Device, err)
		}
	}
	return w, nil
}

// takeOver keeps the host's own network off a device.
func (d *Datapath) takeOver(link netlink.Link) error {
	addresses, err := d.nl.AddrList(link, netlink.FAMILY_ALL)
	if err != nil {
		return fmt.Errorf("list addresses of %s: %w", link.Attrs().Name, err)
	}
	for _, a := range addresses {
		// The kernel gives link-local ones by itself; they go with IPv6.
		if addr, ok := netip.AddrFromSlice(a.IP); ok && !addr.Unmap().Is4() && addr.IsLinkLocalUnicast() {
			continue
		}
		return fmt.Errorf("device %s has the host's address %v", link.Attrs().Name, a.IPNet)
	}
	return d.muteIPv6(link)
}

// release gives a device back to the host.
func (d *Datapath) release(link netlink.Link) error {
	name := link.Attrs().Name
	program, err := d.findOwn(link.Attrs().Index)
	if err != nil {
		return err
	}
	if err := d.detachAll(link.Attrs().Index); err != nil {
		return fmt.Errorf("detach from %s: %w", name, err)
	}
	d.log.Info("datapath detached", "device", name)
	if program != edgenetProgFromEndpoint {
		return nil
	}
	if link.Attrs().Promisc != 0 {
		if err := d.nl.SetPromiscOff(link); err != nil && !errors.Is(err, unix.ENODEV) {
			return fmt.Errorf("end promiscuity of %s: %w", name, err)
		}
	}
	return d.unmuteIPv6(link)
}

// makeTap makes a persistent tap with one queue, as QEMU and Firecracker open
// it. Until it is marked as edgenet's it lives no longer than this process: nobody
// would know later whose it is.
func (d *Datapath) makeTap(e *Endpoint) (link netlink.Link, err error) {
	fd, err := createTap(e.Device)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, unix.Close(fd)) }()
	if link, err = d.nl.LinkByName(e.Device); err == nil {
		err = d.nl.LinkSetAlias(link, alias(e.Key))
	}
	if err != nil {
		return nil, fmt.Errorf("mark %s: %w", e.Device, err)
	}
	if err := unix.IoctlSetInt(fd, unix.TUNSETPERSIST, 1); err != nil {
		return nil, fmt.Errorf("make tap %s persistent: %w", e.Device, err)
	}
	return link, nil
}

// createTap makes a tap that is there as long as what it returns is open.
func createTap(name string) (fd int, err error) {
	request, err := unix.NewIfreq(name)
	if err != nil {
		return 0, fmt.Errorf("name tap %s: %w", name, err)
	}
	if fd, err = unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0); err != nil {
		return 0, fmt.Errorf("open /dev/net/tun: %w", err)
	}
	request.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, request); err != nil {
		return 0, errors.Join(fmt.Errorf("make tap %s: %w", name, err), unix.Close(fd))
	}
	return fd, nil
}
