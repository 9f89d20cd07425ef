package main

import (
	"fmt"
	"net/netip"

	"edgenet.dev/edgenet/test/netns/lab"
)

// local compares what two containers of one host have of each other, by way of
// edgenet and over a plain bridge.
var local = benchmark{
	rows: []string{
		"local/tcp-vs-bridge", "local/rtt-vs-bridge",
		"local/tcp", "bridge/tcp", "local/rtt", "bridge/rtt",
	},
	run: measureLocal,
}

// The targets.
const (
	leastOfBridge   = 1
	mostOfBridgeRTT = 1
)

func measureLocal(w *world) ([]result, error) {
	host := w.mesh()[0]
	left, _ := w.attach(host, "left", group)
	right, to := w.attach(host, "right", group)
	own := between("local", left, right, to)
	eth0, ok := left.Interface("eth0")
	if !ok {
		return nil, fmt.Errorf("%s has no eth0", left)
	}
	bridge, err := newBridge(w, eth0.MTU)
	if err != nil {
		return nil, fmt.Errorf("make bridge: %w", err)
	}
	compared := []way{own, bridge}
	for _, each := range compared {
		if err := each.await(w.ctx); err != nil {
			return nil, err
		}
	}
	// It is chance otherwise whether sender and receiver share a processor, and that
	// makes more of a difference than the way.
	carried, err := streams(w.effort.rounds*turns, [2]int{0, 1}, compared...)
	if err != nil {
		return nil, err
	}
	took, err := interleave(w.effort.rounds, len(compared), func(i int) (float64, error) { return compared[i].messages() })
	if err != nil {
		return nil, err
	}
	return []result{
		medianOf("local/tcp-vs-bridge", "ratio", pairwise(carried[0], carried[1], quotient)).atLeast(leastOfBridge),
		medianOf("local/rtt-vs-bridge", "ratio", pairwise(took[0], took[1], quotient)).atMost(mostOfBridgeRTT),
		medianOf("local/tcp", "Mbit/s", carried[0]),
		medianOf("bridge/tcp", "Mbit/s", carried[1]),
		medianOf("local/rtt", "us", took[0]),
		medianOf("bridge/rtt", "us", took[1]),
	}, nil
}

// bridgeAddrs are the containers' addresses on the bridge.
var bridgeAddrs = [2]netip.Prefix{
	netip.MustParsePrefix("10.2.0.1/24"),
	netip.MustParsePrefix("10.2.0.2/24"),
}

// newBridge makes a host whose two containers are ports of one bridge, at its
// defaults.
func newBridge(w *world, mtu int) (way, error) {
	host := w.lab.Host("bridge")
	w.removeLater(host, "bridge0")
	if err := ipCommands(w.ctx, host.Namespace(), "link add bridge0 type bridge", "link set bridge0 up"); err != nil {
		return way{}, err
	}
	var containers [2]*lab.Container
	for i, device := range []string{"left", "right"} {
		c := host.Container(device)
		containers[i] = c
		if err := connect(w, c, device, mtu); err != nil {
			return way{}, err
		}
		if err := ipCommands(w.ctx, host.Namespace(), "link set "+device+" master bridge0"); err != nil {
			return way{}, err
		}
		if err := ipCommands(w.ctx, c.Netns(), fmt.Sprintf("address add %s dev eth0", bridgeAddrs[i])); err != nil {
			return way{}, err
		}
	}
	return between("bridge", containers[0], containers[1], bridgeAddrs[1].Addr()), nil
}
