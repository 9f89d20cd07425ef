package sim

import (
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"edgenet.dev/edgenet/pkg/mesh"
	"edgenet.dev/edgenet/test/sim/wan"
)

// A small mesh comes together, spreads changes, notices a dead node and heals
// after a partition. The bounds are those of the mesh's time: how busy this
// machine is does not matter.
func TestASmallMeshConverges(t *testing.T) {
	cfg := Config{Nodes: 8, Endpoints: 40, Dir: t.TempDir(), WAN: wan.Config{
		Latency: 20 * time.Millisecond, Jitter: 2 * time.Millisecond, Loss: 0.001, Uplink: 1e7, Tick: time.Millisecond, Seed: 7,
	}}
	plan := Plan{
		Settle: 5 * time.Second, Rest: 70 * time.Second, Churn: 20 * time.Second, Changes: 5, Deaths: 1,
		Partition: time.Minute, Storm: 10 * time.Second, StormLoss: 0.05, StormJitter: 50 * time.Millisecond,
		Limit: 5 * time.Minute,
	}
	synctest.Test(t, func(t *testing.T) {
		r, err := Run(t.Context(), cfg, plan)
		if err != nil {
			t.Fatal(err)
		}
		if r.Start.Whole > 60 {
			t.Errorf("the mesh was whole after %.1f s", r.Start.Whole)
		}
		// Connections are rare where nothing differs, and are made where it does.
		if r.Rest.Sent[KindPackets].Bytes <= 0 || r.Start.Load.Sent[KindStreams].Bytes <= 0 || r.Partition.Load.Sent[KindPeers].Bytes <= 0 {
			t.Errorf("no traffic of a kind: %+v, %+v, %+v", r.Rest.Sent, r.Start.Load.Sent, r.Partition.Load.Sent)
		}
		if r.Rest.Memory <= 0 || r.Rest.Processor <= 0 {
			t.Errorf("at rest a node takes %.0f bytes and %f of a processor", r.Rest.Memory, r.Rest.Processor)
		}
		if r.Changes.Count != 5 || r.Changes.Missing != 0 || r.Changes.All.Worst <= 0.005 {
			t.Errorf("single changes: %+v", r.Changes)
		}
		if r.Churn.Spread.Count == 0 || r.Churn.Spread.Missing != 0 {
			t.Errorf("changes at a rate: %+v", r.Churn)
		}
		if r.Death.Missing != 0 || r.Death.All.Worst < 1 || r.Death.Back.Worst <= 0 {
			t.Errorf("a death: %+v", r.Death)
		}
		if p := r.Partition; p.Split != 4 || p.Whole < 0 || p.Records < 0 {
			t.Errorf("a partition: %+v", p)
		}
	})
}

func TestDelaysAreSummedUp(t *testing.T) {
	of := func(took ...time.Duration) *change { return &change{took: took} }
	s := spreadOf([]*change{
		of(0, time.Second, 2*time.Second, 3*time.Second),
		of(0, unreached, 4*time.Second, time.Second),
		of(0, time.Second, time.Second, time.Second),
	})
	if s.Count != 3 || s.Missing != 1 {
		t.Errorf("%d changes, %d missing", s.Count, s.Missing)
	}
	if want := (Pair{1, 1}); s.Half != want {
		t.Errorf("on half after %+v, want %+v", s.Half, want)
	}
	if want := (Pair{3, -1}); s.All != want {
		t.Errorf("on all after %+v, want %+v", s.All, want)
	}
	if q := s.Quantiles; q[0] != 0 || q[100] != -1 || q[50] != 1 || len(q) != 101 {
		t.Errorf("quantiles %v", q)
	}
}

func TestVerdictsCountRunningNodesOnly(t *testing.T) {
	var g gossipLog
	g.init()
	g.up("a", true)
	g.up("b", true)
	g.up("b", false)
	log := slog.New(&g)
	for _, node := range []string{"a", "b"} {
		log.Debug("a node is silent", "since", time.Second, "node", mesh.NodeID(node))
		log.Info("a node is agreed dead", "node", mesh.NodeID(node))
	}
	for _, text := range []string{
		"Suspect a has failed, no acks received", "Marking a as failed, suspect timeout reached (1 peer confirmations)", "Marking b as failed, suspect timeout reached (0 peer confirmations)",
	} {
		g.line(text)
	}
	if want := (Verdicts{Suspicions: 1, FalseDeaths: 2}); g.verdicts() != want {
		t.Errorf("counted %+v, want %+v", g.verdicts(), want)
	}
}
