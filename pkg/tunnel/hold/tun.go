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
	if err == nil {
		err = setUp(link, nil)
	}
	if err != nil {
		return fmt.Errorf("set up device %s: %w", name, err)
	}
	return nil
}

// setUp makes the device as it is to be.
func setUp(link netlink.Link, mended *device.Mended) error {
	if err := device.DisableIPv6(link.Attrs().Name, mended); err != nil {
		return err
	}
	if err := device.EnsureAttributes(link, Alias, maxPacket, mended); err != nil {
		return err
	}
	return device.EnsureUp(link, mended)
}

// nameOf is the name of the device that a descriptor of a TUN device leads to, in
// whichever network namespace that is.
func nameOf(fd int) (string, error) {
	request, err := unix.NewIfreq("")
	if err == nil {
		err = unix.IoctlIfreq(fd, unix.TUNGETIFF, request)
	}
	if err != nil {
		return "", err
	}
	return request.Name(), nil
}
