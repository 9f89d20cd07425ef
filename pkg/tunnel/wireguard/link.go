package wireguard

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"edgenet.dev/edgenet/pkg/tunnel"
	"edgenet.dev/edgenet/pkg/tunnel/internal/device"
)

// Alias marks the devices that the drivers of this package made.
const Alias = "edgenet:tunnel"

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
	attrs.Name, attrs.MTU, attrs.TxQLen = want.Name, want.MTU, device.TxQueueLen
	err := netlink.LinkAdd(&netlink.Wireguard{LinkAttrs: attrs})
	if errors.Is(err, unix.EOPNOTSUPP) {
		return fmt.Errorf("create device: kernel WireGuard %w: needs CONFIG_WIREGUARD", tunnel.ErrUnsupported)
	}
	if err != nil {
		return fmt.Errorf("create device: %w", err)
	}
	return nil
}
