package main

import (
	"errors"
	"fmt"
)

// ruleCost compares what a packet costs the datapath under few and many rules.
var ruleCost = benchmark{
	rows: []string{
		"policy/established-10000-vs-10", "policy/established-1000-vs-10", "policy/established-hot-10000-vs-10",
		"policy/newflow-10000-vs-10", "policy/newflow-1000-vs-10", "policy/newflow-hot-10000-vs-10",
		"policy/established-10", "policy/established-10000", "policy/newflow-10", "policy/newflow-10000",
	},
	run: measureRuleCost,
}

// addressCost does so with few and many addresses known.
var addressCost = benchmark{
	rows: []string{
		"addresses/100000-vs-10", "addresses/newflow-100000-vs-10",
		"addresses/established-10", "addresses/established-100000",
	},
	run: measureAddressCost,
}

// The targets: of the promises in docs/benchmarks.md.
const (
	mostEstablished = 1.05
	mostNewFlow     = 1.25
	mostAddresses   = 1.5
)

const (
	// ruledHosts is how many remote hosts the rules are about, however many rules.
	ruledHosts = 1000
	// ruledFlows and addressedFlows are connections each way at every site.
	ruledFlows     = 2048
	addressedFlows = 2048
)

func measureRuleCost(w *world) ([]result, error) {
	var loads []*workload
	for _, rules := range []int{10, 1000, manyRules} {
		loads = append(loads, newWorkload(rules, ruledHosts))
	}
	samples, err := costs(w, loads, ruledFlows)
	if err != nil {
		return nil, err
	}
	ratio := func(name string, kind, many int) result {
		return medianOf("policy/"+name, "ratio", pairwise(samples[kind][many], samples[kind][0], quotient))
	}
	cost := func(name string, kind, site int) result { return medianOf("policy/"+name, "ns", samples[kind][site]) }
	return []result{
		ratio("established-10000-vs-10", established, 2).atMost(mostEstablished),
		ratio("established-1000-vs-10", established, 1),
		ratio("established-hot-10000-vs-10", establishedHot, 2).atMost(mostEstablished),
		ratio("newflow-10000-vs-10", newFlow, 2).atMost(mostNewFlow),
		ratio("newflow-1000-vs-10", newFlow, 1),
		ratio("newflow-hot-10000-vs-10", newFlowHot, 2).atMost(mostNewFlow),
		cost("established-10", established, 0), cost("established-10000", established, 2),
		cost("newflow-10", newFlow, 0), cost("newflow-10000", newFlow, 2),
	}, nil
}

func measureAddressCost(w *world) ([]result, error) {
	samples, err := costs(w, []*workload{newWorkload(10, 10), newWorkload(10, 100_000)}, addressedFlows)
	if err != nil {
		return nil, err
	}
	ratio := func(name string, kind int) result {
		return medianOf("addresses/"+name, "ratio", pairwise(samples[kind][1], samples[kind][0], quotient))
	}
	return []result{
		ratio("100000-vs-10", established).atMost(mostAddresses),
		ratio("newflow-100000-vs-10", newFlow).atMost(mostAddresses),
		medianOf("addresses/established-10", "ns", samples[established][0]),
		medianOf("addresses/established-100000", "ns", samples[established][1]),
	}, nil
}

// The kinds of packets whose cost is measured.
const (
	established = iota
	establishedHot
	newFlow
	newFlowHot
	kindsOfPacket
)

// costSamples are samples by kind and workload, in nanoseconds.
type costSamples [kindsOfPacket][][]float64

// builds is how often the sites are made anew. Where the kernel places their
// memory makes up to a tenth of a packet's cost, as equal sites show, and goes by
// the order in which they are made: that rotates.
const builds = 5

// costs measures each kind of packet at a site of each workload, and returns
// the samples by kind and workload.
func costs(w *world, loads []*workload, flows int) (samples costSamples, err error) {
	for kind := range samples {
		samples[kind] = make([][]float64, len(loads))
	}
	for build := range builds {
		if err := w.ctx.Err(); err != nil {
			return samples, err
		}
		if err := samples.ofBuild(w, loads, flows, build); err != nil {
			return samples, err
		}
	}
	return samples, nil
}

// ofBuild makes a site of each workload and adds this build's share of samples.
func (s *costSamples) ofBuild(w *world, loads []*workload, flows, build int) (err error) {
	probes := make([]*probe, len(loads))
	defer func() {
		for _, p := range probes {
			if p != nil {
				err = errors.Join(err, p.close(w.ctx))
			}
		}
	}()
	for i := range loads {
		at := (build + i) % len(loads)
		if probes[at], err = newProbe(w.ctx, loads[at], flows); err != nil {
			return err
		}
	}
	for round := range (w.effort.rounds + builds - 1) / builds {
		for i := range kindsOfPacket {
			kind := (round + i) % kindsOfPacket
			values, err := turn(probes, kind, round)
			if err != nil {
				return fmt.Errorf("run packets: %w", err)
			}
			for i, value := range values {
				s[kind][i] = append(s[kind][i], value)
			}
		}
	}
	return nil
}

// turn takes one sample of each probe. They take turns of some
// milliseconds, so that what disturbs the machine disturbs all alike.
func turn(probes []*probe, kind, first int) ([]float64, error) {
	took := make([]times, len(probes))
	for block := range blocks {
		for i := range probes {
			at := (first + block + i) % len(probes)
			if err := probes[at].block(kind, &took[at]); err != nil {
				return nil, err
			}
		}
	}
	values := make([]float64, len(probes))
	for i := range took {
		values[i] = took[i].cost()
	}
	return values, nil
}
