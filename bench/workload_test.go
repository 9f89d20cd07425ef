package main

import (
	"math"
	"slices"
	"testing"

	"edgenet.dev/edgenet/pkg/policy"
)

func TestWorkloadHasItsRulesAndHosts(t *testing.T) {
	for _, size := range []struct{ rules, hosts int }{{10, 10}, {1000, 300}, {10_000, 1000}} {
		load := newWorkload(size.rules, size.hosts)
		vpc := load.policy()
		if err := vpc.Validate(); err != nil {
			t.Fatal(err)
		}
		rules, egress := 0, 0
		for _, group := range vpc.Groups {
			for _, rule := range group.Rules {
				rules++
				if rule.Direction == policy.Egress {
					egress++
				}
			}
		}
		if rules != size.rules || egress != size.rules/2 || len(vpc.Hosts) != size.hosts+1 {
			t.Errorf("%d rules, %d of them egress, and %d hosts; want %+v", rules, egress, len(vpc.Hosts), size)
		}
	}
}

// What the rules say of a door is asked of the policy package, which knows
// nothing of how it was found.
func TestDoorsAreOpen(t *testing.T) {
	load := newWorkload(200, 50)
	vpc := load.policy()
	for _, direction := range directions {
		doors := load.doors(direction, policy.ProtocolTCP, 300)
		if len(doors) != 300 {
			t.Fatalf("%d doors, want 300", len(doors))
		}
		for _, door := range doors {
			flow := policy.Flow{Source: load.own, Destination: door.peer, Protocol: 6, Port: door.port}
			if direction == policy.Ingress {
				flow.Source, flow.Destination = door.peer, load.own
			}
			said := vpc.Explain(flow)
			if direction == policy.Egress && !said.Egress.Allowed || direction == policy.Ingress && !said.Ingress.Allowed {
				t.Fatalf("%v: %v", flow, said)
			}
		}
	}
}

func TestDoorsAreSpreadOverHosts(t *testing.T) {
	load := newWorkload(10, 1000)
	for count, want := range map[int]int{100: 100, 1000: 1000, 3000: 1000} {
		hosts := map[string]bool{}
		for _, door := range load.doors(policy.Egress, policy.ProtocolTCP, count) {
			hosts[door.peer.String()] = true
		}
		if len(hosts) != want {
			t.Errorf("%d doors lead to %d hosts, want %d", count, len(hosts), want)
		}
	}
}

func TestCostIsOfBothWaysLessNothing(t *testing.T) {
	var took times
	took[0].packet, took[0].nothing = []float64{90, 100, 1e6}, []float64{30}
	took[1].packet, took[1].nothing = []float64{200, 210}, []float64{30, 40}
	if got := took.cost(); math.Abs(got-240) > 1e-9 {
		t.Errorf("cost is %g, want 70 + 170", got)
	}
}

func TestSourcePortsDoNotComeAgainSoon(t *testing.T) {
	p := &probe{used: firstSource - 1}
	var ports []uint16
	for range 60_000 {
		ports = append(ports, p.flow(0, door{}).source)
	}
	if least := slices.Min(ports); least != firstSource {
		t.Errorf("least port is %d", least)
	}
	slices.Sort(ports)
	if distinct := len(slices.Compact(ports)); distinct != 60_000 {
		t.Errorf("%d distinct ports of 60,000", distinct)
	}
}
