package netns

import (
	"sync"
	"testing"

	"edgenet.dev/edgenet/test/netns/lab"
)

// rotation is what programs read of edgenetctl tunnel rotate.
type rotation struct {
	Key struct {
		PublicKey string `json:"publicKey"`
		Rotation  string
	}
	Silent, Problems []string
	GapMs            float64 `json:"gapMs"`
	IkeSas           uint32  `json:"ikeSas"`
}

// rotate replaces the tunnel keys of hosts at the same time.
func rotate(t *testing.T, hosts ...*lab.Host) []rotation {
	t.Helper()
	out := make([]rotation, len(hosts))
	var tasks sync.WaitGroup
	for i, host := range hosts {
		tasks.Go(func() { host.CtlJSON(&out[i], "tunnel", "rotate") })
	}
	tasks.Wait()
	for i, r := range out {
		if len(r.Silent) > 0 || len(r.Problems) > 0 || r.Key.Rotation != "" {
			t.Errorf("rotation on %s: %+v", hosts[i], r)
		}
	}
	return out
}

// A node's tunnel keys are replaced, by command, on two at once and by age, while
// tenants talk. What is lost is what is sent between two calls: the device has the
// new key, and packets say the old one.
//
//	edge-1: blue-web ══ 10 ms pings, a connection ══ edge-2: blue-db       cloud-1
func TestReplacedTunnelKeysLoseNothing(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	hosts, blue, _ := twoTenants(l)
	edge1, edge2 := hosts[1], hosts[2]
	blue.web.Reaches(blue.db, "icmp")
	blue.db.Reaches(blue.web, "icmp")
	keys := map[string]bool{}
	for round, at := range [][]*lab.Host{{edge1}, {edge1}, {edge2}, {edge1, edge2}, {edge1, edge2}} {
		traffic := run(blue.web, blue.db)
		traffic.flow.Runs()
		allowed := 0
		for _, r := range rotate(t, at...) {
			allowed += 1 + int(r.GapMs/10)
			if keys[r.Key.PublicKey] {
				t.Errorf("round %d: the key is one that was there before", round)
			}
			keys[r.Key.PublicKey] = true
			t.Logf("round %d on %v: %.3f ms between the two calls", round, at, r.GapMs)
		}
		traffic.flow.Runs()
		for _, ping := range traffic.pings {
			report := ping.Loses(allowed)
			t.Logf("round %d on %v: %d of %d pings lost", round, at, len(report.Lost), report.Sent)
		}
		if status := traffic.flow.Stop(); status.Ended != "" {
			t.Errorf("the flow ended: %s", status.Ended)
		}
	}
}
