package main

import (
	"testing"

	"edgenet.dev/edgenet/internal/records"
	"edgenet.dev/edgenet/pkg/policy"
)

func TestRuledVPCIsAsFullAsAVPCMayBe(t *testing.T) {
	if sum := ruledLoad.rules + len(openRules) + 1; sum != records.MaxRules {
		t.Errorf("%d rules, want %d", sum, records.MaxRules)
	}
	if carried := len(ruledLoad.carried) + 1; carried > records.MaxGroups {
		t.Errorf("containers carry %d groups, may carry %d", carried, records.MaxGroups)
	}
}

func TestRulesAreTheSameInTheAPI(t *testing.T) {
	for _, group := range ruledLoad.groups {
		for i, got := range apiRules(group.Rules) {
			rule, err := policy.ParseRule(policy.RuleText{
				Direction: got.GetDirection(), Protocol: got.GetProtocol(),
				Ports: got.GetPorts(), Peer: got.GetPeer(),
			})
			if err != nil || rule.ID() != group.Rules[i].ID() {
				t.Fatalf("%v is %v in the API, error %v", group.Rules[i], got, err)
			}
		}
	}
}
