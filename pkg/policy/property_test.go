package policy

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

// naive is the meaning of the live groups in as few words as possible: no rule's
// name, text compared with text.
func naive(v VPC, f Flow) bool {
	return naiveGroups(v, f.Source) != nil && naiveGroups(v, f.Destination) != nil &&
		naiveSide(v, f, f.Source, f.Destination, Egress) && naiveSide(v, f, f.Destination, f.Source, Ingress)
}

// naiveGroups are those that an address carries, and one without a name.
func naiveGroups(v VPC, addr netip.Addr) (groups []string) {
	longest := -1
	for _, h := range v.Hosts {
		around := h.Prefix
		if h.Addr.IsValid() {
			around = netip.PrefixFrom(h.Addr, h.Addr.BitLen())
		}
		if h.Addr == addr {
			return append([]string{""}, h.Groups...)
		}
		if around.Contains(addr) && around.Bits() > longest {
			longest, groups = around.Bits(), append([]string{""}, h.Groups...)
		}
	}
	return groups
}

func naiveIn(list []string, name string) bool {
	return strings.Contains(","+strings.Join(list, ",")+",", ","+name+",")
}

func naiveSide(v VPC, f Flow, own, other netip.Addr, dir Direction) bool {
	const none = 2 * 65536
	allows, best, verdict := false, none, Deny
	for _, g := range v.Groups {
		for _, r := range g.Rules {
			if r.Direction != dir || r.Disabled || !naiveIn(naiveGroups(v, own), g.Name) {
				continue
			}
			allows = allows || r.Action == Allow
			rank := 2*int(r.Priority.Number()) + 1 - int(r.Action)
			if naivePeer(v, r.Peer, other) && naivePacket(r, f) && rank < best {
				best, verdict = rank, r.Action
			}
		}
	}
	return verdict == Allow || dir == Egress && !allows && best == none
}

func naivePeer(v VPC, p Peer, other netip.Addr) bool {
	means := p.Kind == PeerAny || p.Kind == PeerCIDR && p.CIDR.Contains(other)
	for _, except := range p.Except {
		means = means && !except.Contains(other)
	}
	for _, named := range v.Groups {
		means = means || p.Kind == PeerGroup && named.Name == p.Group && naiveIn(naiveGroups(v, other), named.Name)
	}
	return means
}

func naivePacket(r Rule, f Flow) bool {
	number := map[Protocol]uint8{ProtocolTCP: 6, ProtocolUDP: 17, ProtocolICMP: 1, ProtocolICMPv6: 58, ProtocolSCTP: 132}
	found := len(r.Ports) == 0
	for _, p := range r.Ports {
		found = found || p.First <= f.Port && f.Port <= p.Last
	}
	if r.ICMP.HasType {
		found = found && int(f.Port)/256 == int(r.ICMP.Type)
	}
	if r.ICMP.HasCode {
		found = found && int(f.Port)%256 == int(r.ICMP.Code)
	}
	return found && (r.Protocol == ProtocolAny || number[r.Protocol] == f.Protocol)
}

// What the tables say, what the simulator says and what the rules mean are the
// same, of what is in force and of the candidate; and tables and simulator name
// the same rule.
func TestCompilerSimulatorAndMeaningAgree(t *testing.T) {
	const worlds, flows = 1250, 200 // 250,000 flows
	w := world{rand.New(rand.NewPCG(20, 26))}
	allowed, denied, differ := 0, 0, 0
	for range worlds {
		v := w.vpc()
		c := compile(t, v)
		for range flows {
			f := w.flow(v)
			now := agree(t, v, c, live, f)
			if now.Allowed {
				allowed++
			}
			if now.Egress.Rule != (RuleRef{}) && !now.Egress.Allowed || now.Ingress.Rule != (RuleRef{}) && !now.Ingress.Allowed {
				denied++
			}
			if v.Shadow != nil && agree(t, v, c, shadow, f).Allowed != now.Allowed {
				differ++
			}
		}
	}
	for what, n := range map[string]int{"are allowed": allowed, "are denied by a rule": denied, "differ for the candidate": differ} {
		if share := float64(n) / (worlds * flows); share < 0.05 || share > 0.8 {
			t.Errorf("%.3f of the flows %s: the test tries too little of one side", share, what)
		}
	}
}

// agree asks everyone about a flow.
func agree(t *testing.T, v VPC, c *Compiled, side int, f Flow) Explanation {
	t.Helper()
	world := v
	if side == shadow {
		world = v.Candidate()
	}
	want := naive(world, f)
	e := world.Explain(f)
	egress, ingress := lookup(v, c, side, f)
	if e.Allowed != want || (egress.Allowed && ingress.Allowed) != want {
		t.Fatalf("%s: rules mean %v, simulator says %s, tables say %v and %v\n%+v", f, want, e, egress, ingress, world)
	}
	if egress.Rule != e.Egress.Rule || ingress.Rule != e.Ingress.Rule || egress.Allowed != e.Egress.Allowed || ingress.Allowed != e.Ingress.Allowed {
		t.Fatalf("%s: simulator says %s, tables name %v and %v\n%+v", f, e, egress.Rule, ingress.Rule, world)
	}
	return e
}

// Every table is what table.go promises.
func TestTablesAreWellFormed(t *testing.T) {
	w := world{rand.New(rand.NewPCG(3, 4))}
	for range 300 {
		v := w.vpc()
		c := compile(t, v)
		addresses := 0
		for _, h := range v.Hosts {
			if h.Addr.IsValid() {
				addresses++
			}
			if id := c.Identity(h.Addr); h.Addr.IsValid() && (id.Rest() != familyOf(h.Addr) || id == id.Rest()) {
				t.Fatalf("identity of %s is %x", h.Addr, id)
			}
		}
		if len(c.Identities) != addresses {
			t.Fatalf("%d identities for %d addresses", len(c.Identities), addresses)
		}
		for id, table := range c.Tables {
			checkTable(t, id, table)
		}
	}
}

func checkTable(t *testing.T, id ID, table *Table) {
	t.Helper()
	for match, intervals := range table.Verdicts {
		if id == 0 || len(intervals) == 0 {
			t.Fatalf("table %x has %d intervals for %+v", id, len(intervals), match)
		}
		if match.Identity != match.Identity.Rest() {
			rest := table.Verdicts[Match{Identity: match.Identity.Rest(), Protocol: match.Protocol}]
			if slices.Equal(rest, intervals) {
				t.Fatalf("table %x has a row for %+v that the rest has too", id, match)
			}
		}
		for i, interval := range intervals {
			if int(interval.Rule) >= len(table.Rules) {
				t.Fatalf("interval %v of %+v has no rule", interval, match)
			}
			if interval.First > interval.Last || i > 0 && interval.First <= intervals[i-1].Last {
				t.Fatalf("intervals of %+v are not sorted and disjoint: %v", match, intervals)
			}
			if i > 0 && intervals[i-1].Rule == interval.Rule && intervals[i-1].Last+1 == interval.First {
				t.Fatalf("intervals of %+v are not merged: %v", match, intervals)
			}
		}
	}
	if table.Rules[0] != (RuleRef{}) {
		t.Fatalf("the first rule of table %x is %v", id, table.Rules[0])
	}
}
