package hold

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"edgenet.dev/edgenet/pkg/tunnel"
	"edgenet.dev/edgenet/pkg/tunnel/internal/device"
)

// ErrGone says that the device is not what leads here any more, and that another has to
// be opened.
var ErrGone = errors.New("it is gone")

// Mend puts right what others did to the device, which is said in the log. After an
// error that is not ErrGone it may be tried again: what waits is kept.
func (h *Hold) Mend() error {
	select {
	case <-h.done:
		return fmt.Errorf("mend device %s: %w", h.cfg.Device, ErrGone)
	default:
	}
	_, err := h.right.Make(h.cfg.Logger, tunnel.Device{Name: h.cfg.Device}, func(mended *device.Mended) (tunnel.Device, error) {
		return tunnel.Device{Name: h.cfg.Device}, h.mend(mended)
	})
	if err != nil {
		return fmt.Errorf("mend device %s: %w", h.cfg.Device, err)
	}
	return nil
}

func (h *Hold) mend(mended *device.Mended) error {
	name, err := h.name()
	if errors.Is(err, unix.EBADFD) { // it was deleted just now (drivers/net/tun.c)
		return fmt.Errorf("find its name: %w: %w", ErrGone, err)
	}
	if err != nil {
		return fmt.Errorf("find its name: %w", err)
	}
	link, err := device.Find(name)
	if err != nil {
		return err
	}
	// One that was moved to another network namespace is not found, or another is.
	if link == nil || link.Type() != "tuntap" || h.index != 0 && link.Attrs().Index != h.index {
		return fmt.Errorf("%w: device %s is another one", ErrGone, name)
	}
	h.index = link.Attrs().Index
	if name != h.cfg.Device {
		link, err = rename(link, h.cfg.Device)
		if errors.Is(err, unix.EEXIST) { // the datapath's packets go to another one
			err = fmt.Errorf("%w: %w", ErrGone, err)
		}
		if err != nil {
			return fmt.Errorf("rename it from %s: %w", name, err)
		}
		mended.Note("its name was %s", name)
	}
	return setUp(link, mended)
}

// name is what the device is called that packets are read from.
func (h *Hold) name() (name string, err error) {
	raw, err := h.tun.SyscallConn()
	if err != nil {
		return "", err
	}
	var of error
	if err := raw.Control(func(fd uintptr) { name, of = nameOf(int(fd)) }); err != nil {
		return "", err
	}
	return name, of
}

// rename gives a device back its name, for which it has to be down.
func rename(link netlink.Link, name string) (netlink.Link, error) {
	if err := netlink.LinkSetDown(link); err != nil {
		return nil, err
	}
	if err := netlink.LinkSetName(link, name); err != nil {
		return nil, err
	}
	link.Attrs().Name = name
	link.Attrs().Flags &^= unix.IFF_UP
	return link, nil
}
