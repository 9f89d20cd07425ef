package main

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"

	"golang.zx2c4.com/wireguard/wgctrl"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"edgenet.dev/edgenet/pkg/tunnel"
	"edgenet.dev/edgenet/test/netns/lab"
)

// stockPrefixes are the two ends' of newStockTunnel.
var stockPrefixes = [2]netip.Prefix{
	netip.MustParsePrefix("fc00:0:0:3::/64"),
	netip.MustParsePrefix("fc00:0:0:4::/64"),
}

// stockEnd is one host that runs wireguard-go as it comes.
type stockEnd struct {
	host   *lab.Host
	device tunnel.Device
	prefix netip.Prefix
	key    wgtypes.Key
}

// newStockTunnel makes two hosts and a tunnel between them by wireguard-go's own
// program, with all of its settings at their defaults: what a host has that does
// not run edgenet. It is ended before the lab is taken down.
func newStockTunnel(w *world) ([2]tunnelEnd, error) {
	var ends [2]*stockEnd
	var made [2]tunnelEnd
	for i, prefix := range stockPrefixes {
		name := fmt.Sprintf("stock-%d", i+1)
		key, err := wgtypes.GeneratePrivateKey()
		if err != nil {
			return made, fmt.Errorf("make key: %w", err)
		}
		e := &stockEnd{host: w.lab.Host(name), prefix: prefix, key: key}
		underlay := 0
		err = within(e.host.Namespace(), func() (err error) {
			underlay, err = tunnel.UnderlayMTU(e.host.Underlay)
			return err
		})
		if err != nil {
			return made, err
		}
		e.device = tunnel.Device{
			// Unique on the machine: sockets are named after it.
			Name: fmt.Sprintf("ens%x%d", os.Getpid(), i+1), ListenPort: barePort,
			MTU: tunnel.MTU(underlay, e.host.Underlay), Address: prefix.Addr().Next(),
		}
		if err := e.start(w); err != nil {
			return made, fmt.Errorf("start wireguard-go on %s: %w", name, err)
		}
		ends[i], made[i] = e, tunnelEnd{e.host, e.device}
	}
	for i, e := range ends {
		if err := e.join(w, ends[1-i]); err != nil {
			return made, fmt.Errorf("set up wireguard-go on %s: %w", e.host, err)
		}
	}
	return made, nil
}

// start runs the program until the lab is taken down.
func (e *stockEnd) start(w *world) error {
	cmd := exec.Command(lab.Program("tools/wireguard"), "-f", e.device.Name)
	if err := within(e.host.Namespace(), cmd.Start); err != nil {
		return fmt.Errorf("%w (scripts/tools.sh bench builds it)", err)
	}
	w.t.Cleanup(func() {
		if err := end(cmd); err != nil {
			w.t.Errorf("end wireguard-go on %s: %v", e.host, err)
		}
	})
	return nil
}

// join has the device lead to the other end.
func (e *stockEnd) join(w *world, other *stockEnd) error {
	client, err := wgctrl.New()
	if err != nil {
		return fmt.Errorf("open WireGuard control: %w", err)
	}
	defer func() { _ = client.Close() }()
	lab.Await(w.t, "wireguard-go answers on "+e.host.Name, func() error {
		_, err := client.Device(e.device.Name)
		return err
	})
	port := int(e.device.ListenPort)
	err = client.ConfigureDevice(e.device.Name, wgtypes.Config{
		PrivateKey: &e.key, ListenPort: &port, ReplacePeers: true,
		Peers: []wgtypes.PeerConfig{{
			PublicKey: other.key.PublicKey(),
			Endpoint:  net.UDPAddrFromAddrPort(netip.AddrPortFrom(other.host.Underlay, barePort)),
			AllowedIPs: []net.IPNet{{
				IP: other.prefix.Addr().AsSlice(), Mask: net.CIDRMask(other.prefix.Bits(), other.prefix.Addr().BitLen()),
			}},
		}},
	})
	if err != nil {
		return fmt.Errorf("configure device: %w", err)
	}
	return ipCommands(w.ctx, e.host.Namespace(),
		fmt.Sprintf("address add %s/128 dev %s nodad", e.device.Address, e.device.Name),
		fmt.Sprintf("link set %s mtu %d up", e.device.Name, e.device.MTU),
		fmt.Sprintf("route add %s dev %s", other.prefix, e.device.Name))
}
