package main

import (
	"context"
	"fmt"
	"net/netip"

	"edgenet.dev/edgenet/pkg/tunnel"
	"edgenet.dev/edgenet/test/netns/lab"
)

const (
	// vxlanOverhead is what VXLAN adds inside the tunnel, in bytes: IPv6 40, UDP
	// 8, VXLAN 8, inner Ethernet 14 (RFC 7348, section 5).
	vxlanOverhead = 40 + 8 + 8 + 14
	vxlanPort     = 4789
	vxlanVNI      = 42
)

// vxlanAddrs are the containers' addresses, on one segment.
var vxlanAddrs = [2]netip.Prefix{
	netip.MustParsePrefix("10.1.0.1/24"),
	netip.MustParsePrefix("10.1.0.2/24"),
}

// tunnelEnd is a host at one end of a tunnel.
type tunnelEnd struct {
	host   *lab.Host
	device tunnel.Device
}

// vxlan puts a container on either host of a tunnel, and bridges it into a VXLAN
// between the tunnel's ends, as overlays of containers usually do it.
func vxlan(w *world, name string, ends [2]tunnelEnd) (way, error) {
	var containers [2]*lab.Container
	for i, end := range ends {
		c := end.host.Container("vxlan")
		containers[i] = c
		mtu := end.device.MTU - vxlanOverhead
		if err := connect(w, c, "segment", mtu); err != nil {
			return way{}, err
		}
		// Devices are left at their defaults, but for what joins them.
		err := ipCommands(w.ctx, end.host.Namespace(),
			fmt.Sprintf("link add vxlan0 mtu %d type vxlan id %d local %s remote %s dev %s dstport %d",
				mtu, vxlanVNI, end.device.Address, ends[1-i].device.Address, end.device.Name, vxlanPort),
			"link add bridge0 type bridge",
			"link set vxlan0 master bridge0",
			"link set segment master bridge0",
			"link set vxlan0 up",
			"link set bridge0 up")
		w.removeLater(end.host, "vxlan0")
		w.removeLater(end.host, "bridge0")
		if err != nil {
			return way{}, err
		}
		if err := ipCommands(w.ctx, c.Netns(), fmt.Sprintf("address add %s dev eth0", vxlanAddrs[i])); err != nil {
			return way{}, err
		}
	}
	return between(name, containers[0], containers[1], vxlanAddrs[1].Addr()), nil
}

// removeLater removes a device before the lab is taken down, if it is there.
func (w *world) removeLater(host *lab.Host, device string) {
	w.t.Cleanup(func() {
		ctx := context.WithoutCancel(w.ctx) // though the run may have been interrupted
		if ipCommands(ctx, host.Namespace(), "link show "+device) != nil {
			return
		}
		if err := ipCommands(ctx, host.Namespace(), "link delete "+device); err != nil {
			w.t.Errorf("remove %s of %s: %v", device, host.Name, err)
		}
	})
}
