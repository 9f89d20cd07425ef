package main

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"edgenet.dev/edgenet/pkg/policy"
)

// crowded are boxes that often meet.
func crowded(count int) []box {
	random := rand.New(rand.NewPCG(3, 3))
	var boxes []box
	for range count {
		first := uint16(random.IntN(100))
		boxes = append(boxes, box{
			network:  netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(random.IntN(64))}), 26+random.IntN(7)).Masked(),
			protocol: []policy.Protocol{policy.ProtocolTCP, policy.ProtocolUDP}[random.IntN(2)],
			ports:    policy.PortRange{First: first, Last: first + uint16(random.IntN(10))},
		})
	}
	return boxes
}

func TestDisjointPermitsTheSame(t *testing.T) {
	boxes := crowded(300)
	chosen, left := disjoint(boxes)
	for i, b := range chosen {
		if slices.ContainsFunc(chosen[i+1:], b.meets) {
			t.Fatalf("%v meets another", b)
		}
	}
	if len(left) == 0 || len(chosen)+len(left) >= len(boxes) {
		t.Fatalf("%d chosen and %d left of %d: the boxes do not meet in every way", len(chosen), len(left), len(boxes))
	}
	both := append(chosen, left...)
	for host := range 64 {
		for port := range 120 {
			for _, protocol := range []policy.Protocol{policy.ProtocolTCP, policy.ProtocolUDP} {
				address := netip.AddrFrom4([4]byte{10, 0, 0, byte(host)})
				packet := box{netip.PrefixFrom(address, 32), protocol, policy.PortRange{First: uint16(port), Last: uint16(port)}}
				permits := func(b box) bool { return b.covers(packet) }
				if slices.ContainsFunc(boxes, permits) != slices.ContainsFunc(both, permits) {
					t.Fatalf("%v fares otherwise", packet)
				}
			}
		}
	}
}

// Each rule is in the tables: by itself in the one, in a set in the other.
func TestTablesHaveEveryRule(t *testing.T) {
	load := newWorkload(400, 100)
	load.neighbour = load.remote[0]
	lines, sets := nftTable(load, false), nftTable(load, true)
	for _, r := range nftRules(load) {
		if !strings.Contains(lines, r.protocol.String()+" dport "+nftPorts(r.ports)+" accept\n") {
			t.Errorf("no line for %v", r)
		}
		element := r.services()
		if r.group == "" && r.network.Bits() > 0 {
			element = r.network.String() + " . " + element
		}
		if r.network.Bits() > 0 && !strings.Contains(sets, element) && !needless(nftRules(load), r) {
			t.Errorf("no element for %v", r)
		}
	}
	if !strings.Contains(sets, "policy drop") || !strings.Contains(lines, "policy drop") {
		t.Error("what no rule permits is not dropped")
	}
}

// needless tells whether another rule permits all of it.
func needless(rules []nftRule, one nftRule) bool {
	return slices.ContainsFunc(rules, func(r nftRule) bool {
		return r != one && r.direction == one.direction && r.group == "" && r.network.Bits() > 0 && r.meets(one.box)
	})
}
