package probe

import (
	"log/slog"
	"testing"
	"time"
)

// What a round asks for: all that is known of a thousand peers.
func BenchmarkStats(b *testing.B) {
	p, err := New(Config{Logger: slog.New(slog.DiscardHandler), Source: self})
	if err != nil {
		b.Fatal(err)
	}
	peers := addrs(1000)
	p.SetPeers(those(peers))
	for _, a := range peers {
		for range 2 * window {
			seq, _ := p.begin(a, true)
			p.targets[a].answered(seq, time.Now())
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		if all := p.Stats(); all[peers[7]].Sent != window {
			b.Fatalf("got %+v", all[peers[7]])
		}
	}
}
