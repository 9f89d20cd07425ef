package netns

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"edgenet.dev/edgenet/test/netns/lab"
)

// Real load crosses hosts both ways, and one host, while rules change all the time:
// those of other VPCs and groups, then those that permit it, for others that do, too.
// Nothing of it breaks, and no packet is dropped by a rule.
//
//	edge-1: web, sender, near     edge-2: db (group db), far
//	web   ── 8 streams, 1,000 connections ── db
//	sender ── UDP ── near;  web ── UDP ── far
func TestRealLoadThroughChangingRules(t *testing.T) {
	// Not beside others, which would be starved by it.
	l := lab.NewTimed(t)
	hosts := l.Mesh("edge-1", "edge-2")
	hosts[0].VPC("blue", "10.0.0.0/24")
	hosts[0].VPC("red", "10.0.0.0/24")
	hosts[0].Group("red", "other")
	hosts[0].Group("blue", "other")
	hosts[0].Group("blue", "web")
	hosts[0].Group("blue", "db", narrow...)
	names := []string{"web", "sender", "near", "db", "far"}
	all := map[string]*lab.Container{}
	for i, name := range names {
		c := hosts[i/3].Container(name).Serves("http/80", "sink/9")
		group := map[string]string{"web": "web", "sender": "web"}[name]
		if group == "" {
			group = "db"
		}
		c.Attach("blue", fmt.Sprintf("10.0.0.%d", i+2), group)
		all[name] = c
	}
	web, db := all["web"], all["db"]
	for _, to := range []string{"near", "far", "db"} {
		web.Reaches(all[to], "http/80")
		all["sender"].Reaches(all[to], "http/80")
	}

	awaitNoTalk(t, hosts[0])
	before := map[string]map[string]uint64{}
	for name, c := range all {
		before[name] = drops(t, c)
	}
	sender, near := passedBy(t, all["sender"]), passedBy(t, all["near"])
	crowd := web.Crowds(db.IP, 80, lab.Fewer(1000), 3*time.Second)
	local := all["sender"].Blasts(all["near"].IP, 9, lab.Fewer(2000), 200)
	remote := web.Blasts(all["far"].IP, 9, lab.Fewer(1000), 200)
	streams := startIperf(t, web, db)
	changes := changeRules(hosts, streams.done)
	t.Logf("%d changes of rules under load", changes)
	// How many it can be depends on the machine, and on whether the race detector slows it.
	if changes < 3 {
		t.Errorf("only %d changes of rules", changes)
	}

	streams.expect(t, 8)
	if report := crowd.Stop(); report.Failed != 0 || report.Dials != lab.Fewer(1000) || report.Requests < lab.Fewer(1000) {
		t.Errorf("HTTP connections: %+v; want no failure, and no connection made anew", report)
	}
	sent, farSent := local.Stop(), remote.Stop()
	if sent.Sent < lab.Fewer(5000) || sent.Refused != 0 || farSent.Refused != 0 {
		t.Errorf("UDP: %+v and %+v were sent: that is no load", sent, farSent)
	}
	// On one host nothing is between two endpoints but the datapath.
	lab.Await(t, "near got all that sender sent", func() error {
		out := passedBy(t, all["sender"]).sent - sender.sent
		in := passedBy(t, all["near"]).got - near.got
		if out != uint64(sent.Sent) || in != out {
			return fmt.Errorf("%d datagrams were sent, %d packets taken, %d delivered", sent.Sent, out, in)
		}
		return nil
	})
	for name, c := range all {
		if now := drops(t, c); !maps.Equal(now, before[name]) {
			t.Errorf("%s: drops %v, before the load %v", c, now, before[name])
		}
	}
}

// narrow and wide both permit the load.
var (
	narrow = []string{"ingress tcp 80 from group:web", "ingress tcp 5201 from group:web", "ingress udp 9 from group:web"}
	wide   = "ingress any - from 10.0.0.0/28"
)

// changeRules changes rules until the load has ended, and says how often.
func changeRules(hosts []*lab.Host, ended <-chan struct{}) int {
	other := func(vpc string, i int) {
		rule := fmt.Sprintf("ingress tcp %d-%d from 10.0.0.%d", 1000+i, 2000+i, i%200+1)
		hosts[i%2].AddRule(vpc, "other", rule)
		if i%3 != 0 {
			hosts[(i+1)%2].RemoveRule(vpc, "other", rule)
		}
	}
	changes := 0
	for i := 0; ; i++ {
		select {
		case <-ended:
			return changes
		default:
		}
		host := hosts[i%2]
		switch turn := i % 4; turn {
		case 0:
			other("red", i)
			other("blue", i)
			changes += 2
		case 1:
			host.AddRule("blue", "db", wide)
			for _, rule := range narrow {
				host.RemoveRule("blue", "db", rule)
			}
			changes += 1 + len(narrow)
		case 2:
			host.AddRule("blue", "db", fmt.Sprintf("ingress any - from 10.0.0.%d --action deny --priority 5", i%100+100))
			changes++
		default:
			for _, rule := range narrow {
				host.AddRule("blue", "db", rule)
			}
			host.RemoveRule("blue", "db", wide)
			changes += 1 + len(narrow)
		}
	}
}

// passed is what an endpoint's counters have of packets that it sent and got.
type passed struct{ sent, got uint64 }

func passedBy(t *testing.T, c *lab.Container) passed {
	t.Helper()
	endpoint, err := c.Host().Endpoint(c.VPC, c.Name)
	if err != nil {
		t.Fatalf("read counters of %s: %v", c, err)
	}
	return passed{sent: endpoint.GetCounters().GetTxPackets(), got: endpoint.GetCounters().GetRxPackets()}
}

// awaitNoTalk waits until both ends have closed each TCP connection of a host's
// endpoints: those that have had their answer may still have to say so, which is
// counted.
func awaitNoTalk(t *testing.T, host *lab.Host) {
	t.Helper()
	lab.Await(t, host.Name+"'s connections are closed", func() error {
		var flows []listedFlow
		host.CtlJSON(&flows, "flow", "list", "--vpc", "blue", "--proto", "tcp")
		for _, f := range flows {
			if f.State != "tcp-time-wait" && f.State != "tcp-closed" {
				return fmt.Errorf("there is %+v", f)
			}
		}
		return nil
	})
}

// iperf is a run of iperf3 with streams both ways.
type iperf struct {
	done   chan struct{}
	result lab.Result
}

// startIperf runs four streams each way for five seconds, at a rate that leaves the
// machine time for the other load.
func startIperf(t *testing.T, from, to *lab.Container) *iperf {
	t.Helper()
	server := make(chan struct{})
	go func() {
		defer close(server)
		to.Runs("iperf3", "-s", "-1", "-p", "5201")
	}()
	t.Cleanup(func() { <-server })
	lab.Await(t, "iperf3 listens", func() error {
		if out := to.Runs("ss", "-Hltn", "sport = :5201").Stdout; !strings.Contains(out, ":5201") {
			return fmt.Errorf("sockets: %q", out)
		}
		return nil
	})
	run := &iperf{done: make(chan struct{})}
	go func() {
		defer close(run.done)
		run.result = from.Runs("iperf3", "-c", to.IP.String(), "-p", "5201", "-P", "4", "--bidir", "-b", fmt.Sprintf("%dM", lab.Fewer(10)), "-t", "5", "-J")
	}()
	return run
}

// expect fails unless so many streams have moved bytes all the time.
func (i *iperf) expect(t *testing.T, streams int) {
	t.Helper()
	<-i.done
	var report struct {
		Error string
		End   struct {
			Streams []struct {
				Receiver struct{ Bytes uint64 }
			}
			SumReceived struct {
				BitsPerSecond float64 `json:"bits_per_second"`
			} `json:"sum_received"`
			SumReceivedReverse struct {
				BitsPerSecond float64 `json:"bits_per_second"`
			} `json:"sum_received_bidir_reverse"`
		}
	}
	if err := json.Unmarshal([]byte(i.result.Stdout), &report); err != nil || i.result.Code != 0 || report.Error != "" {
		t.Fatalf("iperf3: exit %d, %v, %s%s", i.result.Code, err, report.Error, i.result.Stderr)
	}
	moved := 0
	for stream := range slices.Values(report.End.Streams) {
		if stream.Receiver.Bytes > 0 {
			moved++
		}
	}
	t.Logf("iperf3: %.0f Mbit/s there, %.0f back", report.End.SumReceived.BitsPerSecond/1e6, report.End.SumReceivedReverse.BitsPerSecond/1e6)
	if moved != streams {
		t.Errorf("iperf3: %d of %d streams have moved bytes", moved, streams)
	}
}
