package hold

import (
	"errors"
	"fmt"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"edgenet.dev/edgenet/pkg/tunnel"
	"edgenet.dev/edgenet/pkg/tunnel/internal/device"
)

// Alias marks the device as edgenet's.
const Alias = "edgenet:hold"

// openTUN makes a TUN device that goes with its descriptor, is up, and has no
// address. Without offloads the kernel hands over segments and whole checksums.
func openTUN(name string) (*os.File, error) {
	fd, err := unix.Open(device.TUN, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if errors.Is(err, unix.ENOENT) {
		return nil, fmt.Errorf("%w: open %s: %w", tunnel.ErrUnsupported, device.TUN, err)
	}
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", device.TUN, err)
	}
	if err := makeTUN(fd, name); err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), device.TUN), nil
}

func makeTUN(fd int, name string) error {
	request, err := unix.NewIfreq(name)
	if err != nil {
		return fmt.Errorf("name device %q: %w", name, err)
	}
	request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, request); err != nil {
		return fmt.Errorf("make device %s: %w", name, err)
	}
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("find device %s: %w", name, err)
	}
	// Else the kernel would send router solicitations into it.
	off := "/proc/sys/net/ipv6/conf/" + name + "/disable_ipv6"
	if err := os.WriteFile(off, []byte("1"), 0o644); err != nil {
		return fmt.Errorf("turn off IPv6 of device %s: %w", name, err)
	}
	err = errors.Join(
		netlink.LinkSetAlias(link, Alias), netlink.LinkSetMTU(link, maxPacket),
		netlink.LinkSetTxQLen(link, device.TxQueueLen), netlink.LinkSetUp(link),
	)
	if err != nil {
		return fmt.Errorf("set up device %s: %w", name, err)
	}
	return nil
}
