package main

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"edgenet.dev/edgenet/pkg/policy"
)

// box is what a rule permits, in nftables' terms: networks, protocols and ports
// on three axes.
type box struct {
	network  netip.Prefix
	protocol policy.Protocol
	ports    policy.PortRange
}

func (b box) covers(other box) bool {
	return b.protocol == other.protocol &&
		b.network.Bits() <= other.network.Bits() && b.network.Contains(other.network.Addr()) &&
		b.ports.First <= other.ports.First && other.ports.Last <= b.ports.Last
}

func (b box) meets(other box) bool {
	return b.protocol == other.protocol && b.network.Overlaps(other.network) &&
		b.ports.First <= other.ports.Last && other.ports.First <= b.ports.Last
}

// disjoint chooses boxes for a set, whose elements must not meet. What is inside
// of another is needless; what meets another otherwise is left over.
func disjoint(boxes []box) (chosen, left []box) {
	boxes = slices.SortedStableFunc(slices.Values(boxes), func(a, b box) int {
		return cmp.Or(
			cmp.Compare(a.network.Bits(), b.network.Bits()),
			cmp.Compare(b.ports.Last-b.ports.First, a.ports.Last-a.ports.First))
	})
	for _, b := range boxes {
		switch at := slices.IndexFunc(chosen, b.meets); {
		case at < 0:
			chosen = append(chosen, b)
		case !slices.ContainsFunc(chosen, func(c box) bool { return c.covers(b) }):
			left = append(left, b)
		}
	}
	return chosen, left
}

// nftRule is a rule in nftables' terms: of a group of peers, or of the box's
// network.
type nftRule struct {
	direction policy.Direction
	group     string
	box
}

// nftRules are those of a workload, in its order.
func nftRules(load *workload) []nftRule {
	var rules []nftRule
	for _, group := range load.groups {
		for _, rule := range group.Rules {
			b := box{netip.PrefixFrom(netip.IPv4Unspecified(), 0), rule.Protocol, rule.Ports[0]}
			if rule.Peer.Kind == policy.PeerCIDR {
				b.network = rule.Peer.CIDR
			}
			rules = append(rules, nftRule{rule.Direction, rule.Peer.Group, b})
		}
	}
	return rules
}

// nftSide is how nftables names the two sides of one direction.
type nftSide struct {
	direction       policy.Direction
	chain, own, far string
}

var nftSides = []nftSide{
	{policy.Ingress, "into", "daddr", "saddr"},
	{policy.Egress, "outof", "saddr", "daddr"},
}

// nftTable is a stateful table with the rules of a workload, one by one or as
// sets.
func nftTable(load *workload, asSets bool) string {
	var b strings.Builder
	b.WriteString("table ip bench {\n")
	for group, members := range load.byGroup() {
		fmt.Fprintf(&b, "set %s {\ntype ipv4_addr\nelements = { %s }\n}\n", group, strings.Join(members, ", "))
	}
	rules := nftRules(load)
	for _, side := range nftSides {
		of := slices.DeleteFunc(slices.Clone(rules), func(r nftRule) bool { return r.direction != side.direction })
		if asSets {
			side.writeSets(&b, load, of)
		} else {
			fmt.Fprintf(&b, "chain %s {\n%s}\n", side.chain, side.lines(of))
		}
	}
	b.WriteString("chain forward {\ntype filter hook forward priority filter; policy drop;\nct state established,related accept\n")
	for _, side := range nftSides {
		fmt.Fprintf(&b, "ip %s %s jump %s\n", side.own, load.own, side.chain)
	}
	b.WriteString("}\n}\n")
	return b.String()
}

// lines has one line for each rule.
func (s nftSide) lines(rules []nftRule) string {
	var b strings.Builder
	for _, r := range rules {
		switch {
		case r.group != "":
			fmt.Fprintf(&b, "ip %s @%s ", s.far, r.group)
		case r.network.Bits() > 0:
			fmt.Fprintf(&b, "ip %s %s ", s.far, r.network)
		}
		fmt.Fprintf(&b, "%s dport %s accept\n", r.protocol, nftPorts(r.ports))
	}
	return b.String()
}

// writeSets writes the rules by network as one set of intervals, and those by
// group as a map from the address to a chain with a set of its own.
func (s nftSide) writeSets(b *strings.Builder, load *workload, rules []nftRule) {
	var rest []nftRule
	byGroup := make(map[string][]box)
	for _, r := range rules {
		if r.group == "" && r.network.Bits() == 0 {
			rest = append(rest, r)
			continue
		}
		byGroup[r.group] = append(byGroup[r.group], r.box)
	}
	var jumps []string
	for group, boxes := range byGroup {
		chosen, left := disjoint(boxes)
		for _, each := range left {
			rest = append(rest, nftRule{s.direction, group, each})
		}
		if group == "" {
			fmt.Fprintf(b, "set %s_networks {\ntype ipv4_addr . inet_proto . inet_service\nflags interval\nelements = { %s }\n}\n",
				s.chain, joined(chosen, func(e box) string { return e.network.String() + " . " + e.services() }))
			continue
		}
		fmt.Fprintf(b, "chain %s_%s {\nmeta l4proto . th dport { %s } accept\n}\n", s.chain, group, joined(chosen, box.services))
		for _, member := range load.byGroup()[group] {
			jumps = append(jumps, fmt.Sprintf("%s : jump %s_%s", member, s.chain, group))
		}
	}
	fmt.Fprintf(b, "map %s_groups {\ntype ipv4_addr : verdict\nelements = { %s }\n}\n", s.chain, strings.Join(jumps, ", "))
	fmt.Fprintf(b, "chain %s {\nip %s . meta l4proto . th dport @%s_networks accept\nip %s vmap @%s_groups\n%s}\n",
		s.chain, s.far, s.chain, s.far, s.chain, s.lines(rest))
}

func (b box) services() string { return fmt.Sprintf("%s . %s", b.protocol, nftPorts(b.ports)) }

func nftPorts(r policy.PortRange) string {
	if r.First == r.Last {
		return fmt.Sprint(r.First)
	}
	return fmt.Sprintf("%d-%d", r.First, r.Last)
}

func joined(boxes []box, text func(box) string) string {
	var texts []string
	for _, b := range boxes {
		texts = append(texts, text(b))
	}
	return strings.Join(texts, ", ")
}
