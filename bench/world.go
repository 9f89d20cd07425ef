package main

import (
	"context"
	"net/netip"

	"edgenet.dev/edgenet/test/netns/lab"
)

// world is what the benchmarks measure in. Its parts are made when first asked
// for, and go with the lab.
type world struct {
	ctx    context.Context //nolint:containedctx // of the whole run; every sample ends with it
	t      lab.TB
	lab    *lab.Lab
	effort effort

	edges []*lab.Host
	all   *ways

	hasRuled bool
	attached int // containers in that VPC
}

func newWorld(ctx context.Context, t lab.TB, effort effort) *world {
	return &world{ctx: ctx, t: t, lab: lab.New(t), effort: effort}
}

// vpc is the tenant of containers that are only attached and detached, and group
// the security group of every container.
const (
	vpc   = "bench"
	group = "bench"
)

// vpcPrefix has room for all containers of the attach benchmark.
var vpcPrefix = netip.MustParsePrefix("10.0.0.0/16")

// mesh returns the two hosts that run edgenet, in one mesh with a VPC. The first
// is its authority.
func (w *world) mesh() []*lab.Host {
	if w.edges == nil {
		w.edges = w.lab.Mesh("edge-1", "edge-2")
		w.edges[0].VPC(vpc, vpcPrefix.String())
		w.edges[0].Group(vpc, group, "ingress tcp - from any", "ingress udp - from any", "ingress icmp - from any")
	}
	return w.edges
}
