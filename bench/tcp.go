package main

// tcp compares the throughput of one TCP stream from container to container.
var tcp = benchmark{
	rows: []string{
		"overlay/tcp-vs-tunnel", "overlay/tcp-vs-vxlan", "overlay/tcp-vs-vxlan-same", "overlay/tcp-vs-tunnel-endpoints",
		"overlay/tcp", "tunnel/tcp", "tunnel/tcp-endpoints", "vxlan/tcp", "vxlan/tcp-same",
	},
	run: measureTCP,
}

// The targets: of the promises in docs/benchmarks.md.
const (
	leastOfTunnel = 0.95
	leastOfVXLAN  = 5
)

func measureTCP(w *world) ([]result, error) {
	all, err := w.ways()
	if err != nil {
		return nil, err
	}
	compared := []way{all.overlay, all.tunnel, all.vxlan, all.endpoints, all.sameVXLAN}
	// Where the tunnel's processes run is for the kernel to say, and so for the rest.
	samples, err := streams(w.effort.rounds*turns, [2]int{anyProcessor, anyProcessor}, compared...)
	if err != nil {
		return nil, err
	}
	overlay, plain, vxlan, endpoints, same := samples[0], samples[1], samples[2], samples[3], samples[4]
	return []result{
		medianOf("overlay/tcp-vs-tunnel", "ratio", pairwise(overlay, plain, quotient)).atLeast(leastOfTunnel),
		medianOf("overlay/tcp-vs-vxlan", "ratio", pairwise(overlay, vxlan, quotient)).atLeast(leastOfVXLAN),
		medianOf("overlay/tcp-vs-vxlan-same", "ratio", pairwise(overlay, same, quotient)),
		medianOf("overlay/tcp-vs-tunnel-endpoints", "ratio", pairwise(overlay, endpoints, quotient)),
		medianOf("overlay/tcp", "Mbit/s", overlay),
		medianOf("tunnel/tcp", "Mbit/s", plain),
		medianOf("tunnel/tcp-endpoints", "Mbit/s", endpoints),
		medianOf("vxlan/tcp", "Mbit/s", vxlan),
		medianOf("vxlan/tcp-same", "Mbit/s", same),
	}, nil
}
