package main

import (
	"time"

	"edgenet.dev/edgenet/test/netns/lab"
)

// The promises of the overlay. The added round-trip time has no promise in the
// design; its target here is what a container's hop may cost: a veth and two
// translations on each side of the way, there and back.
const (
	tunnelShare   = 0.95
	vxlanTimes    = 5
	rttAddedLimit = 60
)

// pair is two containers of one VPC on two hosts, and the same way without
// edgenet: a second tunnel of the same kind between the same hosts.
//
//	edge-1: client ── edgenet ──┬── 198.18.0.0/24 ──┬── edgenet ── server :edge-2
//	         bare tunnel ───────┘                   └─────── bare tunnel
type pair struct {
	client, server *lab.Container
	bare           *bareTunnel
}

func newPair(t lab.TB) pair {
	t.Helper()
	l := lab.New(t)
	hosts := l.Mesh("edge-1", "edge-2")
	hosts[0].VPC("blue", "10.0.0.0/24")
	hosts[0].Group("blue", "all", "ingress any - from any")
	p := pair{client: hosts[0].Container("client"), server: hosts[1].Container("server")}
	p.client.Attach("blue", "10.0.0.2", "all")
	p.server.Attach("blue", "10.0.0.3", "all")
	p.client.Reaches(p.server, "icmp")
	p.bare = newBareTunnel(t, hosts[0], hosts[1])
	p.bare.client.ReachesAddr(p.bare.serverIP, "", "icmp")
	return p
}

// throughput measures one TCP stream over the overlay, the bare tunnel, and a
// VXLAN through that bare tunnel.
func throughput(t lab.TB, run options) []result {
	t.Helper()
	p := newPair(t)
	p.bare.addVXLAN(t)
	defer p.server.Starts("iperf3", "-s")()
	defer p.bare.server.Starts("iperf3", "-s")()
	var overlays, shares, times []float64
	for range run.rounds {
		overlay := stream(t, p.client, p.server.IP, run.seconds)
		bare := stream(t, p.bare.client, p.bare.serverIP, run.seconds)
		vxlan := stream(t, p.bare.client, p.bare.vxlanIP, run.seconds)
		t.Logf("overlay %.2f, bare tunnel %.2f, VXLAN in it %.2f Gbit/s", overlay, bare, vxlan)
		overlays = append(overlays, overlay)
		shares = append(shares, overlay/bare)
		times = append(times, overlay/vxlan)
	}
	return []result{
		atLeast(tunnelShare, "overlay/tcp-vs-tunnel", median(shares), "ratio", shares),
		atLeast(vxlanTimes, "overlay/tcp-vs-vxlan", median(times), "ratio", times),
		reported("overlay/tcp", median(overlays), "Gbit/s", overlays),
	}
}

// roundTrips is how many echoes each round's median is of.
const roundTrips = 400

// roundTrip measures what the overlay adds to the bare tunnel's round-trip time.
func roundTrip(t lab.TB, run options) []result {
	t.Helper()
	p := newPair(t)
	var added, ratios []float64
	for range run.rounds {
		overlay := microseconds(p.client.RoundTrips(p.server.IP, roundTrips))
		bare := microseconds(p.bare.client.RoundTrips(p.bare.serverIP, roundTrips))
		t.Logf("overlay %.0f, bare tunnel %.0f us", median(overlay), median(bare))
		added = append(added, median(overlay)-median(bare))
		ratios = append(ratios, median(overlay)/median(bare))
	}
	return []result{
		atMost(rttAddedLimit, "overlay/rtt-added", median(added), "us", added),
		reported("overlay/rtt-ratio", median(ratios), "ratio", ratios),
	}
}

func microseconds(times []time.Duration) []float64 {
	var all []float64
	for _, each := range times {
		all = append(all, float64(each)/float64(time.Microsecond))
	}
	return all
}
