package main

import (
	"fmt"
	"net/netip"

	"edgenet.dev/edgenet/test/netns/lab"
)

// plain puts a container on either host of the bare tunnel, behind a veth pair,
// and routes between them: no bridge, no address translation, no filter.
func (b *bareTunnel) plain(w *world) (way, error) {
	var containers [2]*lab.Container
	var addr netip.Addr
	for i, end := range b.ends {
		c := end.host.Container("plain")
		containers[i] = c
		gateway, own := end.subnet()
		addr = own.Addr()
		if err := connect(w, c, "plain", end.device.MTU); err != nil {
			return way{}, err
		}
		err := ipCommands(w.ctx, end.host.Namespace(), fmt.Sprintf("address add %s dev plain nodad", gateway))
		if err != nil {
			return way{}, err
		}
		err = ipCommands(w.ctx, c.Netns(),
			fmt.Sprintf("address add %s dev eth0 nodad", own),
			fmt.Sprintf("route add default via %s dev eth0", gateway.Addr()))
		if err != nil {
			return way{}, err
		}
	}
	return between("tunnel", containers[0], containers[1], addr), nil
}

// subnet is a part of the end's prefix, with the host's and the container's
// address in it.
func (e *bareEnd) subnet() (host, container netip.Prefix) {
	const bits = 80
	base := e.prefix.Addr().As16()
	base[bits/8-1] = 1
	first := netip.AddrFrom16(base).Next()
	return netip.PrefixFrom(first, bits), netip.PrefixFrom(first.Next(), bits)
}

// connect makes a veth pair from the container's eth0 to a device of its host,
// both up and of that MTU, and has it removed before the lab is taken down.
func connect(w *world, c *lab.Container, device string, mtu int) error {
	host := c.Host().Namespace()
	err := ipCommands(w.ctx, host, fmt.Sprintf(
		"link add %s mtu %d type veth peer name eth0 mtu %d netns %d", device, mtu, mtu, c.PID()))
	if err != nil {
		return err
	}
	w.removeLater(c.Host(), device)
	if err := ipCommands(w.ctx, host, "link set "+device+" up"); err != nil {
		return err
	}
	return ipCommands(w.ctx, c.Netns(), "link set eth0 up")
}
