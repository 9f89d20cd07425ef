package main

import (
	"context"
	"net/netip"
	"slices"

	edgenetv1 "edgenet.dev/edgenet/api/edgenet/v1"
	"edgenet.dev/edgenet/pkg/policy"
	"edgenet.dev/edgenet/test/netns/lab"
)

// ruled is the VPC of the containers between which traffic is measured.
const ruled = "ruled"

// ruledLoad is what its rules are made of: as many as a VPC may have, less those
// of the group that permits what is measured, and one that comes and goes.
var ruledLoad = newWorkload(manyRules-len(openRules)-1, ruledHosts)

// openRules permit what is measured.
var openRules = []*edgenetv1.Rule{
	{Direction: "ingress", Protocol: "tcp", Peer: "any"},
	{Direction: "ingress", Protocol: "udp", Peer: "any"},
	{Direction: "ingress", Protocol: "icmp", Peer: "any"},
	{Direction: "egress", Protocol: "any", Peer: "any"},
}

// ruled makes that VPC at the first call, with all of its rules.
func (w *world) ruled() {
	if w.hasRuled {
		return
	}
	first := w.mesh()[0]
	first.VPC(ruled, workloadPrefix.String())
	api, closeAPI := first.KeptAPI()
	defer closeAPI()
	ctx, cancel := context.WithTimeout(w.ctx, patience)
	defer cancel()
	wanted := &edgenetv1.ReplaceGroupsRequest{Vpc: ruled}
	for _, g := range append(slices.Clone(ruledLoad.groups), policy.Group{Name: group}) {
		if _, err := api.Groups.CreateGroup(ctx, &edgenetv1.CreateGroupRequest{Name: g.Name, Vpc: ruled}); err != nil {
			w.t.Fatalf("create group %s: %v", g.Name, err)
		}
		rules := apiRules(g.Rules)
		if g.Name == group {
			rules = openRules
		}
		wanted.Groups = append(wanted.Groups, &edgenetv1.GroupRules{Name: g.Name, Rules: rules})
	}
	if _, err := api.Groups.ReplaceGroups(ctx, wanted); err != nil {
		w.t.Fatalf("replace rules: %v", err)
	}
	w.hasRuled = true
}

// apiRules are a workload's rules as the API takes them.
func apiRules(rules []policy.Rule) []*edgenetv1.Rule {
	out := make([]*edgenetv1.Rule, 0, len(rules))
	for _, r := range rules {
		out = append(out, &edgenetv1.Rule{
			Direction: r.Direction.String(), Protocol: r.Protocol.String(),
			Ports: []string{policy.FormatPorts(r.Ports)}, Peer: r.Peer.String(),
		})
	}
	return out
}

// attach attaches a new container that carries all groups of the workload and
// more, at one of the addresses that the rules tell apart.
func (w *world) attach(host *lab.Host, name string, more ...string) (*lab.Container, netip.Addr) {
	w.ruled()
	address := ruledLoad.remote[w.attached*len(ruledLoad.remote)/ruledContainers]
	w.attached++
	c := host.Container(name + "-" + host.Name) // a name is unique in its VPC
	c.Attach(ruled, address.String(), append(slices.Clone(ruledLoad.carried), more...)...)
	return c, address
}

// ruledContainers is how many containers there may be in all.
const ruledContainers = 20
