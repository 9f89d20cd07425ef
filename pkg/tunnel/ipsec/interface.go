package ipsec

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"edgenet.dev/edgenet/pkg/tunnel"
	"edgenet.dev/edgenet/pkg/tunnel/internal/device"
)

// ensureInterface returns the xfrm interface, made if it is missing.
func (d *driver) ensureInterface(want tunnel.Device, mended *device.Mended) (netlink.Link, error) {
	link, err := device.Find(want.Name)
	if err != nil {
		return nil, err
	}
	if link == nil {
		mended.Anew("the device was deleted")
		if err := probeESP(); err != nil {
			return nil, err
		}
		if err := createInterface(want); err != nil {
			return nil, err
		}
		d.log.Info("tunnel device created", "device", want.Name, "driver", d.Name())
		if link, err = device.Find(want.Name); err != nil {
			return nil, err
		}
	}
	x, ok := link.(*netlink.Xfrmi)
	if !ok {
		return nil, fmt.Errorf("adopt device: it is not an xfrm interface")
	}
	d.ifID = x.Ifid
	return link, nil
}

func createInterface(want tunnel.Device) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU, attrs.TxQLen = want.Name, want.MTU, device.TxQueueLen
	err := netlink.LinkAdd(&netlink.Xfrmi{LinkAttrs: attrs, Ifid: interfaceID(want.Name)})
	if errors.Is(err, unix.EOPNOTSUPP) {
		return fmt.Errorf("create device: xfrm interfaces are %w: needs CONFIG_XFRM_INTERFACE", tunnel.ErrUnsupported)
	}
	if err != nil {
		return fmt.Errorf("create device: %w", err)
	}
	return nil
}

// probeESP tells whether the kernel can encrypt, in a namespace that is thrown
// away: only the making of a state shows it.
func probeESP() error {
	err := device.InScratch(addProbe)
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPROTONOSUPPORT) || errors.Is(err, unix.EOPNOTSUPP) {
		return fmt.Errorf("kernel ESP is %w: needs CONFIG_INET_ESP, CONFIG_INET6_ESP and CONFIG_CRYPTO_GCM: %w",
			tunnel.ErrUnsupported, err)
	}
	if err != nil {
		return fmt.Errorf("probe kernel ESP: %w", err)
	}
	return nil
}

func addProbe() error {
	for _, ends := range [][2]string{{"192.0.2.1", "192.0.2.2"}, {"2001:db8::1", "2001:db8::2"}} {
		err := netlink.XfrmStateAdd(&netlink.XfrmState{
			Src: net.ParseIP(ends[0]), Dst: net.ParseIP(ends[1]),
			Proto: netlink.XFRM_PROTO_ESP, Mode: netlink.XFRM_MODE_TUNNEL, Spi: 1 << 16,
			Aead: &netlink.XfrmStateAlgo{Name: "rfc4106(gcm(aes))", Key: make([]byte, 36), ICVLen: 128},
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// deleteInterface removes the device with all that has its if_id, and returns
// what was routed into it. A stranger's device of the name is left alone.
func deleteInterface(name string, ifID uint32) (netip.Prefix, error) {
	link, err := device.Find(name)
	if err != nil {
		return netip.Prefix{}, err
	}
	var mesh netip.Prefix
	if x, ok := link.(*netlink.Xfrmi); ok {
		ifID, mesh = x.Ifid, device.RoutedMesh(link)
		if err := netlink.LinkDel(link); err != nil && !device.IsNotFound(err) {
			return mesh, fmt.Errorf("delete device: %w", err)
		}
	} else if ifID == 0 {
		ifID = interfaceID(name) // the device was deleted by others
	}
	states, err := statesOf(ifID)
	if err != nil {
		return mesh, err
	}
	for _, s := range states {
		if err := deleteState(s); err != nil {
			return mesh, err
		}
	}
	policies, err := policiesOf(ifID)
	if err != nil {
		return mesh, err
	}
	for _, p := range policies {
		if err := deletePolicy(p); err != nil {
			return mesh, err
		}
	}
	return mesh, nil
}
