package lab

import (
	"fmt"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// bridge joins all hosts of a lab, inside the internet's namespace.
const bridge = "br0"

// newInternet makes the namespace that all hosts are plugged into.
func newInternet(name string) (*namespace, error) {
	n, err := newNamespace(name)
	if err != nil {
		return nil, err
	}
	if err := n.nl.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: bridge}}); err != nil {
		return n, fmt.Errorf("make bridge: %w", err)
	}
	return n, n.up(bridge)
}

// underlayDevice is the host's interface on the internet.
const underlayDevice = "underlay0"

// plug connects a host's namespace to the bridge through a port of that name.
func plug(internet, host *namespace, port string, address netip.Addr) error {
	file, err := os.Open(host.path)
	if err != nil {
		return fmt.Errorf("open namespace: %w", err)
	}
	defer func() { _ = file.Close() }()
	master, err := internet.nl.LinkByName(bridge)
	if err != nil {
		return fmt.Errorf("find bridge: %w", err)
	}
	veth := &netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: port, MasterIndex: master.Attrs().Index},
		PeerName:  underlayDevice, PeerNamespace: netlink.NsFd(int(file.Fd())),
	}
	if err := internet.nl.LinkAdd(veth); err != nil {
		return fmt.Errorf("make cable: %w", err)
	}
	if err := internet.up(port); err != nil {
		return err
	}
	device, err := host.nl.LinkByName(underlayDevice)
	if err != nil {
		return fmt.Errorf("find underlay device: %w", err)
	}
	bits := underlay.Bits()
	if address.Is6() {
		bits = underlay6.Bits()
	}
	prefix := netip.PrefixFrom(address, bits).String()
	parsed, err := netlink.ParseAddr(prefix)
	if err != nil {
		return fmt.Errorf("parse underlay address: %w", err)
	}
	parsed.Flags = unix.IFA_F_NODAD // the cable has nobody else on it
	if err := host.nl.AddrAdd(device, parsed); err != nil {
		return fmt.Errorf("set underlay address %s: %w", prefix, err)
	}
	return host.up(underlayDevice)
}
