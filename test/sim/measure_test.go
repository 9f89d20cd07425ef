package sim

import (
	"flag"
	"os"
	"path/filepath"
	"runtime/pprof"
	"testing"
	"testing/synctest"
	"time"

	"edgenet.dev/edgenet/pkg/mesh"
	"edgenet.dev/edgenet/test/sim/wan"
)

// The flags of TestMeasure, behind -args.
var (
	nodes     = flag.Int("nodes", 0, "how many nodes; 0 measures nothing")
	endpoints = flag.Int("endpoints", 10000, "how many endpoints they have together")
	latency   = flag.Duration("latency", 20*time.Millisecond, "mean one-way delay between two nodes")
	jitter    = flag.Duration("jitter", 2*time.Millisecond, "mean of what is added to each packet's delay")
	loss      = flag.Float64("loss", 0.001, "share of packets that are lost")
	uplink    = flag.Float64("uplink", 100e6/8, "bytes per second that a node can send; 0 is without bound")
	seed      = flag.Uint64("seed", 1, "of the network's chances and of what is changed")
	profile   = flag.String("mesh-profile", string(mesh.ProfileWAN), "of all nodes: wan or lan")
	out       = flag.String("out", "", "the file of results, JSON")
	shared    = flag.Bool("shared", true, "keep what all nodes know alike once")
	profiles  = flag.String("profiles", "", "a directory for a CPU profile of each phase")

	plan = DefaultPlan()
)

func init() {
	flag.DurationVar(&plan.Settle, "settle", plan.Settle, "how long the mesh is left alone after its start")
	flag.DurationVar(&plan.Rest, "rest", plan.Rest, "how long it is measured at rest")
	flag.DurationVar(&plan.Churn, "churn", plan.Churn, "how long 1 % of endpoints change per minute")
	flag.IntVar(&plan.Changes, "changes", plan.Changes, "how many single changes")
	flag.IntVar(&plan.Deaths, "deaths", plan.Deaths, "how many nodes die and come back")
	flag.DurationVar(&plan.Partition, "partition", plan.Partition, "how long the mesh is in halves")
	flag.DurationVar(&plan.Storm, "storm", plan.Storm, "how long there is a storm")
	flag.Float64Var(&plan.StormLoss, "storm-loss", plan.StormLoss, "share of packets lost in it")
	flag.DurationVar(&plan.StormJitter, "storm-jitter", plan.StormJitter, "jitter in it")
	flag.DurationVar(&plan.Limit, "limit", plan.Limit, "the longest wait, in the mesh's time")
}

// TestMeasure is what `make sim` runs. TMPDIR, which has the nodes' databases,
// should be in memory.
func TestMeasure(t *testing.T) {
	if *nodes == 0 {
		t.Skip("no -nodes given: `make sim` does")
	}
	cfg := Config{Nodes: *nodes, Endpoints: *endpoints, Dir: t.TempDir(), Profile: mesh.Profile(*profile), Shared: *shared, WAN: wan.Config{
		Latency: *latency, Jitter: *jitter, Loss: *loss, Uplink: *uplink, Tick: 100 * time.Microsecond, Seed: *seed,
	}}
	phase := profiler(t) // Outside of the bubble: it waits for real time.
	synctest.Test(t, func(t *testing.T) {
		elapsed := clock()
		plan.Phase = func(name string, r *Result) {
			phase(name)
			t.Logf("%7.1f s: %s", elapsed().Seconds(), name)
			if r.Real, r.Processor = elapsed().Seconds(), processorTime().Seconds(); *out != "" {
				if err := r.Write(*out); err != nil {
					t.Error(err)
				}
			}
		}
		r, err := Run(t.Context(), cfg, plan)
		plan.Phase("end", r)
		if err != nil {
			t.Fatal(err)
		}
	})
}

// profiler returns what ends a CPU profile and begins the next, if profiles are
// asked for.
func profiler(t *testing.T) func(name string) {
	if *profiles == "" {
		return func(string) {}
	}
	names, begun, done := make(chan string), make(chan error), make(chan struct{})
	go func() {
		for name := range names {
			pprof.StopCPUProfile()
			f, err := os.Create(filepath.Join(*profiles, name+".pprof"))
			if err == nil {
				err = pprof.StartCPUProfile(f)
			}
			begun <- err
		}
		pprof.StopCPUProfile()
		close(done)
	}()
	t.Cleanup(func() {
		close(names)
		<-done
	})
	return func(name string) {
		names <- name
		if err := <-begun; err != nil {
			t.Fatal(err)
		}
	}
}
