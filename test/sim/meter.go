package sim

import (
	"fmt"
	"runtime"
	"syscall"
	"time"

	"edgenet.dev/edgenet/pkg/mesh"
	"edgenet.dev/edgenet/test/sim/wan"
)

// The kinds of traffic in a Result.
const (
	KindPackets = "gossip-udp"
	KindStreams = "gossip-tcp"
	KindPeers   = "peer-api"
)

// Kinds are all kinds of traffic.
var Kinds = []string{KindPackets, KindStreams, KindPeers}

var flows = map[wan.Flow]string{
	{Protocol: "udp", Port: mesh.DefaultGossipPort}: KindPackets,
	{Protocol: "tcp", Port: mesh.DefaultGossipPort}: KindStreams,
	{Protocol: "tcp", Port: mesh.DefaultPeerPort}:   KindPeers,
}

// meter measures a while.
type meter struct {
	world     *World
	begin     time.Time
	processor time.Duration
	sent      []map[wan.Flow]wan.Traffic
	verdicts  Verdicts
}

// measure begins to measure.
func (w *World) measure() *meter {
	return &meter{
		world: w, begin: time.Now(), processor: processorTime(), sent: w.sent(), verdicts: w.gossip.verdicts(),
	}
}

func (w *World) sent() []map[wan.Flow]wan.Traffic {
	out := make([]map[wan.Flow]wan.Traffic, 0, len(w.nodes))
	for _, n := range w.nodes {
		out = append(out, n.host.Sent())
	}
	return out
}

// load ends measuring.
func (m *meter) load() Load {
	processor, seconds := processorTime()-m.processor, time.Since(m.begin).Seconds()
	nodes := float64(len(m.world.nodes))
	l := Load{
		Seconds: seconds, Processor: processor.Seconds() / seconds / nodes,
		Sent: make(map[string]Rate), Verdicts: m.world.gossip.verdicts().minus(m.verdicts),
	}
	for i, after := range m.world.sent() {
		most := 0.0
		for flow, t := range after {
			bytes := float64(t.Bytes-m.sent[i][flow].Bytes) / seconds
			packets := float64(t.Packets-m.sent[i][flow].Packets) / seconds
			r := l.Sent[flows[flow]]
			r.Bytes, r.Packets = r.Bytes+bytes/nodes, r.Packets+packets/nodes
			l.Sent[flows[flow]] = r
			most += bytes
		}
		l.SentMost = max(l.SentMost, most)
	}
	return l
}

// processorTime is what the process has taken of processors.
func processorTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(fmt.Sprintf("getrusage: %v", err)) // It cannot fail for the process itself.
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// memory is what the process has in use: heap and stacks, without garbage.
func memory() float64 {
	runtime.GC()
	runtime.GC() // What pools hold goes with the second.
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc + m.StackInuse)
}
