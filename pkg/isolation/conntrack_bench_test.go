package isolation

import (
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// awayAddr is at a node that no tunnel leads to: a packet to it goes all the
// way through the rules and is then dropped as it is, so that the program can be
// run over it again and again.
var awayAddr = netip.MustParseAddr("10.0.0.6")

// BenchmarkPacket is what a packet costs in the program, by what is known of its
// flow.
func BenchmarkPacket(b *testing.B) {
	for name, packet := range map[string][]byte{
		"tcp/established": tcp4(awayAddr, 40000, 80, flagACK),
		"udp/established": udp4(awayAddr, 40000, 53),
		"tcp/refused":     tcp4(awayAddr, 40001, 81, flagSYN),
		"spoofed/watched": withHeader(tcp4(awayAddr, 1, 2, flagSYN), func(h []byte) { h[15] = 99 }),
		"spoofed":         withHeader(tcp4(awayAddr, 1, 2, flagSYN), func(h []byte) { h[15] = 99 }),
	} {
		b.Run(name, func(b *testing.B) {
			h := newBench(b)
			h.rules(allowAll, allowAll)
			if name == "tcp/refused" {
				h.rules(allowAll, allowWeb)
			}
			if name == "spoofed/watched" {
				h.watch(b.Context(), EventDrop)
			}
			run(b, h.dp.fromEndpoint, packet, 0)
			options := &ebpf.RunOptions{Data: packet, Repeat: 1 << 16}
			// Others' work on the same machine is not the packet's.
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			before := threadTime(b)
			b.ResetTimer()
			for b.Loop() {
				if _, err := h.dp.fromEndpoint.Run(options); err != nil {
					b.Fatal(err)
				}
			}
			spent := threadTime(b) - before
			b.ReportMetric(float64(spent.Nanoseconds())/float64(b.N)/float64(options.Repeat), "ns/packet")
		})
	}
}

// threadTime is the processor's time that this thread has had.
func threadTime(t testing.TB) time.Duration {
	t.Helper()
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts); err != nil {
		t.Fatal(err)
	}
	return time.Duration(ts.Nano())
}
