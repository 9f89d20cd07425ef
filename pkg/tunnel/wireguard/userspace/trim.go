package userspace

import (
	"context"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	// trimInterval is how often the process looks whether it holds memory that it
	// does not need.
	trimInterval = 2 * time.Second
	// trimGrowth is by how much it has to have grown since the last time, in bytes,
	// for a trim to be worth its while: some milliseconds of a processor.
	trimGrowth = 1 << 20
	// calmTraffic is how many packets in that time are so few that they do not need
	// what more of them needed.
	calmTraffic = 2000
)

// trim gives memory back that traffic needed for a moment, until ctx ends. By
// itself the runtime would collect the buffers, of 64 KiB each, when as many
// again are wanted or after two minutes, and keep their pages for longer. While
// there is much traffic, which packets tells, it would want them back at once.
func trim(ctx context.Context, packets func() uint64) {
	ticker := time.NewTicker(trimInterval)
	defer ticker.Stop()
	least, before := held(), packets()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		now, count := held(), packets()
		calm := count-before < calmTraffic
		before = count
		if now < least+trimGrowth {
			least = min(least, now)
			continue
		}
		if !calm {
			continue
		}
		// What a pool has is free after two collections.
		runtime.GC()
		debug.FreeOSMemory()
		least = held()
	}
}

// held is how much of the system's memory the heap holds, in bytes.
func held() uint64 {
	samples := []metrics.Sample{
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/heap/unused:bytes"},
		{Name: "/memory/classes/heap/free:bytes"},
	}
	metrics.Read(samples)
	var sum uint64
	for _, s := range samples {
		sum += s.Value.Uint64()
	}
	return sum
}
