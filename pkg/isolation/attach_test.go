package isolation

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"
)

// BenchmarkAttach adds one container after another to a host.
func BenchmarkAttach(b *testing.B) {
	for name, mode := range modes {
		b.Run(name, func(b *testing.B) { benchmarkAttach(b, mode) })
	}
}

func benchmarkAttach(b *testing.B, mode Mode) {
	b.Helper()
	h := newHost(b, nodeA, mode)
	h.close()
	h.cfg.MaxEndpoints = 1024
	h.open()
	h.apply()
	spaces := make([]*space, b.N)
	for i := range spaces {
		spaces[i] = newSpace(b)
	}
	times := make([]time.Duration, 0, b.N)
	b.ResetTimer()
	for i, s := range spaces {
		address := netip.AddrFrom4([4]byte{10, 0, byte(1 + i>>8), byte(i)})
		h.endpoint(testVNI, fmt.Sprint("c", i), address.String(), s)
		start := time.Now()
		h.change()
		times = append(times, time.Since(start))
	}
	b.StopTimer()
	slices.Sort(times)
	b.ReportMetric(float64(times[len(times)/2].Microseconds()), "p50-us")
	b.ReportMetric(float64(times[len(times)*99/100].Microseconds()), "p99-us")
	b.ReportMetric(float64(times[len(times)-1].Microseconds()), "max-us")
}
