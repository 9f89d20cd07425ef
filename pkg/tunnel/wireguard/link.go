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

// Find returns what kind of device of edgenet's has the name; KindAuto if none has.
func Find(name string) (Kind, error) {
	link, err := device.Find(name)
	if err != nil || link == nil {
		return KindAuto, err
	}
	kind, _ := kindOf(link) // KindAuto for a stranger's
	return kind, nil
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
