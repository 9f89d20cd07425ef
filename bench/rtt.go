package main

// rtt compares the round-trip time of pings from container to container.
var rtt = benchmark{
	rows: []string{"overlay/rtt-vs-tunnel", "overlay/rtt-added", "overlay/rtt", "tunnel/rtt"},
	run:  measureRTT,
}

// mostOfTunnelRTT is what docs/benchmarks.md gives the reason for.
const mostOfTunnelRTT = 1.1

func measureRTT(w *world) ([]result, error) {
	all, err := w.ways()
	if err != nil {
		return nil, err
	}
	compared := []way{all.overlay, all.tunnel}
	samples, err := interleave(w.effort.rounds, len(compared), func(i int) (float64, error) {
		return compared[i].roundTrip(w.ctx)
	})
	if err != nil {
		return nil, err
	}
	overlay, plain := samples[0], samples[1]
	return []result{
		medianOf("overlay/rtt-vs-tunnel", "ratio", pairwise(overlay, plain, quotient)).atMost(mostOfTunnelRTT),
		medianOf("overlay/rtt-added", "us", pairwise(overlay, plain, difference)),
		medianOf("overlay/rtt", "us", overlay),
		medianOf("tunnel/rtt", "us", plain),
	}, nil
}
