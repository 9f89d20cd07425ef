package device

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"edgenet.dev/edgenet/pkg/tunnel"
)

const (
	// TxQueueLen is the kernel's own for WireGuard devices
	// (drivers/net/wireguard/device.c takes DEFAULT_TX_QUEUE_LEN); TUN's
	// default of 500 drops bursts that the process is about to read.
	TxQueueLen = 1000
	// addrGenNone is IN6_ADDR_GEN_MODE_NONE of linux/if_link.h: no link-local
	// address, so no router solicitations into a tunnel that has no routers.
	addrGenNone = 1
)

// Find returns nil and no error when there is no device of the name.
func Find(name string) (netlink.Link, error) {
	link, err := netlink.LinkByName(name)
	if IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("find device: %w", err)
	}
	return link, nil
}

// IsNotFound says that an error means that there is no such device.
func IsNotFound(err error) bool {
	return errors.As(err, new(netlink.LinkNotFoundError)) || errors.Is(err, unix.ENODEV)
}

// Validate tells what no device can be made of.
func Validate(want tunnel.Device) error {
	switch {
	case want.Name == "" || len(want.Name) >= unix.IFNAMSIZ:
		return fmt.Errorf("device name %q is not 1 to %d bytes", want.Name, unix.IFNAMSIZ-1)
	case want.MTU < tunnel.MinMTU:
		return fmt.Errorf("MTU %d is less than IPv6's %d", want.MTU, tunnel.MinMTU)
	case want.ListenPort == 0:
		return errors.New("no listen port")
	case want.Metric < 0 || want.Metric >= unreachableMetric:
		return fmt.Errorf("metric %d is not between 0 and %d", want.Metric, unreachableMetric-1)
	case !want.Mesh.IsValid() || !want.Mesh.Addr().Is6() || want.Mesh != want.Mesh.Masked():
		return fmt.Errorf("mesh %s is not an IPv6 prefix", want.Mesh)
	case !want.Mesh.Contains(want.Address):
		return fmt.Errorf("address %s is not in mesh %s", want.Address, want.Mesh)
	}
	return nil
}

// EnsureAttributes sets what differs; the alias is the driver's mark.
func EnsureAttributes(link netlink.Link, alias string, mtu int, mended *Mended) error {
	have := link.Attrs()
	if have.Alias != alias {
		if err := netlink.LinkSetAlias(link, alias); err != nil {
			return fmt.Errorf("set alias: %w", err)
		}
		mended.Note("its alias was %q", have.Alias)
	}
	if have.MTU != mtu {
		if err := netlink.LinkSetMTU(link, mtu); err != nil {
			return fmt.Errorf("set MTU to %d: %w", mtu, err)
		}
		mended.Note("its MTU was %d", have.MTU)
	}
	if have.TxQLen != TxQueueLen {
		if err := netlink.LinkSetTxQLen(link, TxQueueLen); err != nil {
			return fmt.Errorf("set transmit queue length: %w", err)
		}
		mended.Note("its queue held %d packets", have.TxQLen)
	}
	if have.Flags&unix.IFF_UP == 0 { // it matters when the link goes up, once
		if err := netlink.LinkSetIP6AddrGenMode(link, addrGenNone); err != nil {
			return fmt.Errorf("turn off link-local address: %w", err)
		}
	}
	return nil
}

// EnsureUp sets the link up if it is not.
func EnsureUp(link netlink.Link, mended *Mended) error {
	if link.Attrs().Flags&unix.IFF_UP != 0 {
		return nil
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("set link up: %w", err)
	}
	mended.Note("it was down")
	return nil
}

// DisableIPv6 turns IPv6 off on a device that only redirects lead to: the kernel would
// send router solicitations into it. A host without IPv6 has none to turn off.
func DisableIPv6(name string, mended *Mended) error {
	path := "/proc/sys/net/ipv6/conf/" + name + "/disable_ipv6"
	have, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && bytes.Equal(bytes.TrimSpace(have), []byte("1")) {
		return nil
	}
	if err == nil {
		err = os.WriteFile(path, []byte("1"), 0o644)
	}
	if err != nil {
		return fmt.Errorf("turn off IPv6: %w", err)
	}
	mended.Note("IPv6 was on")
	return nil
}

// EnsureIPv6 enables IPv6 on the device where the host has it disabled by
// default: the overlay is IPv6, whatever the underlay is.
func EnsureIPv6(name string, mended *Mended) error {
	path := "/proc/sys/net/ipv6/conf/" + name + "/disable_ipv6"
	have, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		// Else it is the device that is gone.
		if _, none := os.Stat("/proc/sys/net/ipv6"); errors.Is(none, fs.ErrNotExist) {
			return fmt.Errorf("enable IPv6: %w: the kernel runs without IPv6", tunnel.ErrUnsupported)
		}
	}
	if err != nil {
		return fmt.Errorf("enable IPv6: %w", err)
	}
	if bytes.Equal(bytes.TrimSpace(have), []byte("0")) {
		return nil
	}
	if err := os.WriteFile(path, []byte("0"), 0o644); err != nil {
		return fmt.Errorf("enable IPv6: %w", err)
	}
	mended.Note("IPv6 was off")
	return nil
}
