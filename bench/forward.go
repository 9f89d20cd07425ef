package main

import (
	"errors"
	"fmt"

	"edgenet.dev/edgenet/pkg/policy"
	"edgenet.dev/edgenet/test/netns/lab/frame"
)

// forward compares how many small packets a second go from container to
// container of one host, with the same rules in edgenet and in nftables.
var forward = benchmark{
	rows: []string{
		"policy/vs-nftables-sets", "policy/vs-nftables-sets-newflow",
		"policy/vs-nftables-linear", "policy/vs-nftables-linear-established",
		"policy/packets", "policy/packets-newflow",
		"nftables/packets-sets", "nftables/packets-sets-newflow", "nftables/packets-linear-newflow",
	},
	run: measureForward,
}

// leastOfNftables is the target against nftables.
const leastOfNftables = 1

func measureForward(w *world) (results []result, err error) {
	load := newWorkload(manyRules, ruledHosts)
	load.neighbour = load.busiest(policy.Ingress, policy.ProtocolUDP)
	s, err := newSite(w.ctx, load)
	defer func() { err = errors.Join(err, s.close(w.ctx)) }()
	if err != nil {
		return nil, fmt.Errorf("make a site: %w", err)
	}
	own := &forwarder{
		name: "edgenet", forget: func() error { return s.forgetUnanswered(w.ctx) },
		from: station{path: path(s.beside), addr: load.neighbour, mac: neighbourMAC, gateway: frame.GatewayMAC},
		to:   station{path: path(s.inside), addr: load.own, mac: siteMAC, gateway: frame.GatewayMAC},
	}
	all := []*forwarder{own}
	for _, name := range []string{"sets", "linear"} {
		router, err := newRouter(w, name, load, name == "sets")
		if err != nil {
			return nil, fmt.Errorf("make router %s: %w", name, err)
		}
		all = append(all, router)
	}
	ports := load.ports(policy.Ingress, policy.ProtocolUDP, load.neighbour)
	for _, f := range all {
		defer func() { err = errors.Join(err, f.close()) }()
		if err := f.establish(w.ctx, ports); err != nil {
			return nil, fmt.Errorf("establish flows by way of %s: %w", f.name, err)
		}
	}
	samples, err := interleave(w.effort.rounds, 2*len(all), func(thing int) (float64, error) {
		f := all[thing%len(all)]
		if thing < len(all) {
			return f.establishedRate(w.ctx)
		}
		return f.openingRate(w.ctx, ports)
	})
	if err != nil {
		return nil, err
	}
	return forwardRows(samples), nil
}

// forwardRows takes the samples of edgenet, sets and lines: of established flows,
// then of new ones.
func forwardRows(samples [][]float64) []result {
	established, opening := samples[:3], samples[3:]
	return []result{
		medianOf("policy/vs-nftables-sets", "ratio", pairwise(established[0], established[1], quotient)).atLeast(leastOfNftables),
		medianOf("policy/vs-nftables-sets-newflow", "ratio", pairwise(opening[0], opening[1], quotient)).atLeast(leastOfNftables),
		medianOf("policy/vs-nftables-linear", "ratio", pairwise(opening[0], opening[2], quotient)).atLeast(leastOfNftables),
		medianOf("policy/vs-nftables-linear-established", "ratio", pairwise(established[0], established[2], quotient)),
		medianOf("policy/packets", "1/s", established[0]),
		medianOf("policy/packets-newflow", "1/s", opening[0]),
		medianOf("nftables/packets-sets", "1/s", established[1]),
		medianOf("nftables/packets-sets-newflow", "1/s", opening[1]),
		medianOf("nftables/packets-linear-newflow", "1/s", opening[2]),
	}
}
