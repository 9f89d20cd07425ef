package main

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"

	"edgenet.dev/edgenet/pkg/policy"
)

// workload is a VPC for the benchmarks of rules: an endpoint that carries all
// of them, and remote hosts that they tell apart. The same numbers give the same
// workload.
type workload struct {
	vni    uint32
	rules  int          // how many there are
	own    netip.Addr   // of the endpoint
	remote []netip.Addr // in ascending order
	groups []policy.Group
	// carried are the endpoint's groups: all that have rules.
	carried []string
	// members are the groups of each remote host.
	members map[netip.Addr]string
	// neighbour is the remote host, if any, that is no remote one but on the same
	// host as the endpoint.
	neighbour netip.Addr

	random *rand.Rand
}

const (
	// manyRules is as many as a VPC may have.
	manyRules = policy.MaxRules
	// workloadVNI is the VPC of every workload.
	workloadVNI = 7
	// peerGroups is how many groups the remote hosts are divided into.
	peerGroups = 20
	// mostCarried is how many groups the endpoint carries at most.
	mostCarried = 30
)

// workloadPrefix has room for as many hosts as a workload can have.
var workloadPrefix = netip.MustParsePrefix("10.0.0.0/14")

// newWorkload makes that many rules, half of them ingress, half egress, over
// that many remote hosts.
func newWorkload(rules, hosts int) *workload {
	w := &workload{
		vni: workloadVNI, rules: rules, own: workloadPrefix.Addr().Next().Next(),
		members: make(map[netip.Addr]string, hosts),
		random:  rand.New(rand.NewPCG(1, uint64(hosts))),
	}
	for address := w.own.Next(); len(w.remote) < hosts; address = address.Next() {
		w.members[address] = fmt.Sprintf("peers-%d", w.random.IntN(peerGroups))
		w.remote = append(w.remote, address)
	}
	for i := range peerGroups {
		w.groups = append(w.groups, policy.Group{Name: fmt.Sprintf("peers-%d", i)})
	}
	w.addRules(rules)
	return w
}

// addRules divides rules among groups of equal size.
func (w *workload) addRules(count int) {
	groups := make([]policy.Group, min(mostCarried, max(1, count/10)))
	seen := make(map[string]bool, count)
	for i := 0; len(seen) < count; {
		rule := w.newRule(i)
		text := rule.String()
		if seen[text] {
			continue // rules are all different
		}
		seen[text] = true
		to := &groups[i/2%len(groups)] // both directions in each
		to.Rules = append(to.Rules, rule)
		i++
	}
	for i := range groups {
		groups[i].Name = fmt.Sprintf("rules-%d", i)
		w.carried = append(w.carried, groups[i].Name)
	}
	w.groups = append(w.groups, groups...)
}

// openPorts are permitted from and to everywhere, so that every workload lets
// each host through somewhere.
var openPorts = policy.PortRange{First: 30000, Last: 32767}

// newRule makes the ith rule: as a site's rules are, most of them name a
// network and a port, some a group of hosts, some a range of ports.
func (w *workload) newRule(i int) policy.Rule {
	rule := policy.Rule{Direction: policy.Ingress, Protocol: policy.ProtocolTCP}
	if i%2 == 1 {
		rule.Direction = policy.Egress
	}
	if i < 2 {
		rule.Ports = []policy.PortRange{openPorts}
		return rule
	}
	if w.random.IntN(4) == 0 {
		rule.Protocol = policy.ProtocolUDP
	}
	first := uint16(1 + w.random.IntN(29000))
	rule.Ports = []policy.PortRange{{First: first, Last: first}}
	if w.random.IntN(10) == 0 {
		rule.Ports[0].Last += uint16(w.random.IntN(100))
	}
	if w.random.IntN(20) == 0 {
		rule.Peer = policy.Peer{Kind: policy.PeerGroup, Group: fmt.Sprintf("peers-%d", w.random.IntN(peerGroups))}
		return rule
	}
	around := w.remote[w.random.IntN(len(w.remote))]
	bits := 27 + w.random.IntN(6)
	rule.Peer = policy.Peer{Kind: policy.PeerCIDR, CIDR: netip.PrefixFrom(around, bits).Masked()}
	return rule
}

// policy is the VPC as the compiler wants it.
func (w *workload) policy() policy.VPC {
	in := policy.VPC{
		VNI: w.vni, CIDRs: []netip.Prefix{workloadPrefix}, Groups: w.groups, Sets: [][]string{w.carried},
		Hosts: []policy.Host{{Addr: w.own, Groups: w.carried}},
	}
	if w.neighbour.IsValid() {
		in.Sets = append(in.Sets, []string{w.members[w.neighbour]})
	}
	for _, address := range w.remote {
		in.Hosts = append(in.Hosts, policy.Host{Addr: address, Groups: []string{w.members[address]}})
	}
	return in
}

// byGroup are the addresses of each group of peers.
func (w *workload) byGroup() map[string][]string {
	members := make(map[string][]string, peerGroups)
	for _, address := range w.remote {
		members[w.members[address]] = append(members[w.members[address]], address.String())
	}
	return members
}

// permits tells whether a rule lets a packet with such a peer through, whatever
// its port.
func (w *workload) permits(rule policy.Rule, direction policy.Direction, protocol policy.Protocol, peer netip.Addr) bool {
	if rule.Direction != direction || rule.Protocol != protocol {
		return false
	}
	switch rule.Peer.Kind {
	case policy.PeerCIDR:
		return rule.Peer.CIDR.Contains(peer)
	case policy.PeerGroup:
		return w.members[peer] == rule.Peer.Group
	default:
		return true
	}
}

// door is a peer, and a port at which the rules let it, or the endpoint to it,
// through.
type door struct {
	peer netip.Addr
	port uint16
}

// doors returns that many, evenly to the remote hosts, in random order: each at a
// port of any of the rules that permit it.
func (w *workload) doors(direction policy.Direction, protocol policy.Protocol, count int) []door {
	ports := make(map[netip.Addr][]uint16)
	found := make([]door, 0, count)
	for i := range count {
		peer := w.remote[i%len(w.remote)]
		if count < len(w.remote) {
			peer = w.remote[i*(len(w.remote)/count)]
		}
		if ports[peer] == nil {
			ports[peer] = w.ports(direction, protocol, peer)
		}
		found = append(found, door{peer, ports[peer][w.random.IntN(len(ports[peer]))]})
	}
	w.random.Shuffle(len(found), func(i, j int) { found[i], found[j] = found[j], found[i] })
	return found
}

// busiest is the remote host that most rules permit.
func (w *workload) busiest(direction policy.Direction, protocol policy.Protocol) netip.Addr {
	return slices.MaxFunc(w.remote, func(a, b netip.Addr) int {
		return cmp.Compare(len(w.ports(direction, protocol, a)), len(w.ports(direction, protocol, b)))
	})
}

// ports are the first of each rule that permits a peer.
func (w *workload) ports(direction policy.Direction, protocol policy.Protocol, peer netip.Addr) []uint16 {
	var found []uint16
	for _, group := range w.groups {
		for _, rule := range group.Rules {
			if w.permits(rule, direction, protocol, peer) {
				found = append(found, rule.Ports[0].First)
			}
		}
	}
	return found
}
