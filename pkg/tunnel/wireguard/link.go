package wireguard

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

// Alias marks the device as edgenet's.
const Alias = "edgenet:tunnel"

const (
	// txQueueLen is the kernel's own for WireGuard devices
	// (drivers/net/wireguard/device.c takes DEFAULT_TX_QUEUE_LEN); TUN's
	// default of 500 drops bursts that the process is about to read.
	txQueueLen = 1000
	// addrGenNone is IN6_ADDR_GEN_MODE_NONE of linux/if_link.h: no link-local
	// address, so no router solicitations into a tunnel that has no routers.
	addrGenNone = 1
)

// findLink returns nil and no error when there is none.
func findLink(name string) (netlink.Link, error) {
	link, err := netlink.LinkByName(name)
	if isNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("find device: %w", err)
	}
	return link, nil
}

func isNotFound(err error) bool {
	return errors.As(err, new(netlink.LinkNotFoundError)) || errors.Is(err, unix.ENODEV)
}

// kindOf tells which implementation made a device, and that it is one of ours
// at all: by its type, because a device may be found before it got its alias.
func kindOf(link netlink.Link) (Kind, error) {
	switch t := link.(type) {
	case *netlink.Wireguard:
		return KindKernel, nil
	case *netlink.Tuntap:
		if t.Mode == netlink.TUNTAP_MODE_TUN {
			return KindUserspace, nil
		}
	}
	return 0, fmt.Errorf("adopt device: it is of type %s, neither wireguard nor a TUN", link.Type())
}

func createKernelLink(want tunnel.Device) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU, attrs.TxQLen = want.Name, want.MTU, txQueueLen
	err := netlink.LinkAdd(&netlink.Wireguard{LinkAttrs: attrs})
	if errors.Is(err, unix.EOPNOTSUPP) {
		return fmt.Errorf("create device: kernel WireGuard %w: needs CONFIG_WIREGUARD", tunnel.ErrUnsupported)
	}
	if err != nil {
		return fmt.Errorf("create device: %w", err)
	}
	return nil
}

// ensureAttributes sets what differs.
func ensureAttributes(link netlink.Link, want tunnel.Device) error {
	have := link.Attrs()
	if have.Alias != Alias {
		if err := netlink.LinkSetAlias(link, Alias); err != nil {
			return fmt.Errorf("set alias: %w", err)
		}
	}
	if have.MTU != want.MTU {
		if err := netlink.LinkSetMTU(link, want.MTU); err != nil {
			return fmt.Errorf("set MTU to %d: %w", want.MTU, err)
		}
	}
	if have.TxQLen != txQueueLen {
		if err := netlink.LinkSetTxQLen(link, txQueueLen); err != nil {
			return fmt.Errorf("set transmit queue length: %w", err)
		}
	}
	if have.Flags&unix.IFF_UP == 0 { // it matters when the link goes up, once
		if err := netlink.LinkSetIP6AddrGenMode(link, addrGenNone); err != nil {
			return fmt.Errorf("turn off link-local address: %w", err)
		}
	}
	return nil
}

// ensureIPv6 enables IPv6 on the device where the host has it disabled by
// default: the overlay is IPv6, whatever the underlay is.
func ensureIPv6(name string) error {
	path := "/proc/sys/net/ipv6/conf/" + name + "/disable_ipv6"
	have, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("enable IPv6: %w: the kernel runs without IPv6", tunnel.ErrUnsupported)
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
	return nil
}
