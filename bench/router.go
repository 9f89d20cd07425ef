package main

import (
	"fmt"
	"net"
	"os"

	"edgenet.dev/edgenet/test/netns/lab"
)

// newRouter makes a host that routes between two containers, from the workload's
// neighbour to its endpoint, with the workload's rules in nftables. Its veth
// pairs are as edgenet's are.
func newRouter(w *world, name string, load *workload, asSets bool) (*forwarder, error) {
	host := w.lab.Host(name)
	f := &forwarder{name: name}
	for i, to := range []*station{&f.from, &f.to} {
		c := host.Container([]string{"from", "to"}[i])
		device := []string{"left", "right"}[i]
		if err := connect(w, c, device, siteMTU); err != nil {
			return nil, err
		}
		to.path, to.addr = c.Netns(), load.neighbour
		if i == 1 {
			to.addr = load.own
		}
		to.mac = c.MAC()
		err := ipCommands(w.ctx, host.Namespace(),
			fmt.Sprintf("route add %s dev %s", to.addr, device),
			fmt.Sprintf("neighbour add %s lladdr %s dev %s nud permanent", to.addr, to.mac, device))
		if err != nil {
			return nil, err
		}
		if to.gateway, err = macOf(host, device); err != nil {
			return nil, err
		}
	}
	err := within(host.Namespace(), func() error {
		return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644)
	})
	if err != nil {
		return nil, fmt.Errorf("turn on forwarding: %w", err)
	}
	if _, err := outputOf(w.ctx, host.Namespace(), nftTable(load, asSets), "nft", "-f", "-"); err != nil {
		return nil, fmt.Errorf("load rules: %w", err)
	}
	return f, nil
}

// macOf is the address of one of the host's devices.
func macOf(host *lab.Host, device string) (mac net.HardwareAddr, err error) {
	err = within(host.Namespace(), func() error {
		found, err := net.InterfaceByName(device)
		if err != nil {
			return fmt.Errorf("find %s: %w", device, err)
		}
		mac = found.HardwareAddr
		return nil
	})
	return mac, err
}
