package main

import (
	"errors"
	"fmt"
	"time"

	"edgenet.dev/edgenet/pkg/tunnel"
	"edgenet.dev/edgenet/pkg/tunnel/ipsec"
	"edgenet.dev/edgenet/pkg/tunnel/wireguard"
	"edgenet.dev/edgenet/test/netns/lab"
)

// others are the drivers that are measured besides the one that edgenetd chooses
// by itself, which is the benchmark tcp's.
var others = []struct {
	name  string
	probe func() error
}{
	{wireguard.NameKernel, func() error { return wireguard.Probe(wireguard.KindKernel) }},
	{ipsec.NameKernel, func() error { return ipsec.Probe(ipsec.KindKernel) }},
	{ipsec.NameUserspace, func() error { return ipsec.Probe(ipsec.KindUserspace) }},
}

// drivers compares the overlay with the bare tunnel of each of them, by one TCP
// stream.
var drivers = benchmark{rows: driverRows(), run: measureDrivers}

func driverRows() []string {
	var rows []string
	for _, d := range others {
		rows = append(rows, "overlay/tcp-vs-"+d.name, "overlay/tcp-"+d.name, d.name+"/tcp")
	}
	return rows
}

// warmth is how long streams run before they are measured: userspace IPsec finds
// out in its first rounds how much it takes.
const warmth = 20 * time.Second

// driverRounds is by how much there are more rounds than elsewhere: userspace IPsec
// goes on adapting, every two seconds, so that neighbours in time are alike and say
// less.
const driverRounds = 2

func measureDrivers(w *world) ([]result, error) {
	var results []result
	for i, d := range others {
		ratio, overlay, bare := "overlay/tcp-vs-"+d.name, "overlay/tcp-"+d.name, d.name+"/tcp"
		err := d.probe()
		if errors.Is(err, tunnel.ErrUnsupported) {
			results = append(results, missing(ratio, "ratio", err), missing(overlay, "Mbit/s", err), missing(bare, "Mbit/s", err))
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("look for %s: %w", d.name, err)
		}
		samples, err := measureDriver(w, d.name, string(rune('p'+i)))
		if err != nil {
			return nil, fmt.Errorf("measure %s: %w", d.name, err)
		}
		results = append(results,
			medianOf(ratio, "ratio", pairwise(samples[0], samples[1], quotient)).atLeast(leastOfTunnel),
			medianOf(overlay, "Mbit/s", samples[0]), medianOf(bare, "Mbit/s", samples[1]))
	}
	return results, nil
}

// measureDriver returns samples of the overlay and of the bare tunnel. The name
// tells its hosts and devices from others'.
func measureDriver(w *world, driver, name string) ([][]float64, error) {
	overlay := w.overlayBy(driver, name)
	tunnel, err := newBareTunnel(w, name+"-bare", driver)
	if err != nil {
		return nil, fmt.Errorf("make bare tunnel: %w", err)
	}
	bare, err := tunnel.plain(w)
	if err != nil {
		return nil, fmt.Errorf("route containers through bare tunnel: %w", err)
	}
	for _, each := range []way{overlay, bare} {
		if err := each.await(w.ctx); err != nil {
			return nil, err
		}
	}
	free := [2]int{anyProcessor, anyProcessor}
	if _, err := streams(int(warmth/(2*turnTime)), free, overlay, bare); err != nil {
		return nil, err
	}
	return streams(driverRounds*w.effort.rounds*turns, free, overlay, bare)
}

// overlayBy is from container to container of two more hosts, in a mesh of their
// own, that have one driver only.
func (w *world) overlayBy(driver, name string) way {
	var hosts [2]*lab.Host
	for i := range hosts {
		hosts[i] = w.lab.Host(fmt.Sprintf("%s-%d", name, i+1))
		hosts[i].Flags["tunnel-drivers"] = driver
		hosts[i].Start()
	}
	hosts[0].Init()
	hosts[1].Join(hosts[0].Token())
	hosts[0].VPC(vpc, vpcPrefix.String())
	hosts[0].Group(vpc, group, "ingress tcp - from any", "ingress icmp - from any")
	var containers [2]*lab.Container
	for i, host := range hosts {
		containers[i] = host.Container("plain-" + host.Name)
		containers[i].Attach(vpc, joinAddress(100+i).String(), group)
	}
	return between("overlay-"+driver, containers[0], containers[1], containers[1].IP)
}
