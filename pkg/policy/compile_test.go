package policy

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

// rule parses "ingress tcp 80,443 any": the ports may be left out.
func rule(t testing.TB, direction, protocol, ports, peer string) Rule {
	t.Helper()
	var list []string
	if ports != "" {
		list = []string{ports}
	}
	r, err := ParseRule(RuleText{Direction: direction, Protocol: protocol, Ports: list, Peer: peer})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func host(addr string, groups ...string) Host {
	return Host{Addr: netip.MustParseAddr(addr), Groups: groups}
}

func flow(protocol uint8, source, destination string, port uint16) Flow {
	return Flow{
		Source:      netip.MustParseAddr(source),
		Destination: netip.MustParseAddr(destination),
		Protocol:    protocol,
		Port:        port,
	}
}

func compile(t testing.TB, v VPC) *Compiled {
	t.Helper()
	c, err := Compile(v)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// setsOf asks for a table for every set that a host carries.
func setsOf(hosts []Host) [][]string {
	var sets [][]string
	for _, h := range hosts {
		sets = append(sets, h.Groups)
	}
	return sets
}

// lookup does with a compiled VPC what the datapath does with a flow, on one of
// the sides.
func lookup(v VPC, c *Compiled, side int, f Flow) (egress, ingress Verdict) {
	source, knownSource := v.host(f.Source)
	destination, knownDestination := v.host(f.Destination)
	if !knownSource || !knownDestination {
		return Verdict{}, Verdict{}
	}
	judge := func(own, other party, dir Direction) Verdict {
		id := c.Policy(own.groups, dir)
		if side == shadow {
			id = c.ShadowPolicy(own.groups, dir)
		}
		rule, action := c.Tables[id].Lookup(Match{
			Identity: c.Identity(other.addr),
			Protocol: matchProtocol(f.Protocol),
		}, f.Port)
		return Verdict{Allowed: action == Allow, Rule: rule}
	}
	return judge(source, destination, Egress), judge(destination, source, Ingress)
}

func TestVerdictsBySentence(t *testing.T) {
	const other = "10.0.0.9"
	world := func(rules map[string][]Rule, groups ...string) VPC {
		v := VPC{VNI: 7, Hosts: []Host{
			host("10.0.0.2", "web"),
			host("10.0.0.3", "db"),
			host("10.0.0.4", "web", "db"),
			host("10.0.0.5"),
			host("10.0.0.6", "gone"),
			host("10.1.0.2", "far"),
		}}
		for _, name := range groups {
			v.Groups = append(v.Groups, Group{Name: name, Rules: rules[name]})
		}
		v.Sets = setsOf(v.Hosts)
		return v
	}
	tests := []struct {
		name  string
		vpc   VPC
		flow  Flow
		want  bool
		group string // of the ingress rule that permits
	}{
		{
			name: "nothing comes into an endpoint without groups",
			vpc:  world(nil),
			flow: flow(protoTCP, "10.0.0.2", "10.0.0.5", 80),
		}, {
			name: "a port that a rule permits from any comes in",
			vpc:  world(map[string][]Rule{"db": {rule(t, "ingress", "tcp", "5432", "any")}}, "db"),
			flow: flow(protoTCP, "10.0.0.2", "10.0.0.3", 5432), want: true, group: "db",
		}, {
			name: "the port beside it does not",
			vpc:  world(map[string][]Rule{"db": {rule(t, "ingress", "tcp", "5432", "any")}}, "db"),
			flow: flow(protoTCP, "10.0.0.2", "10.0.0.3", 5433),
		}, {
			name: "nor the same port of another protocol",
			vpc:  world(map[string][]Rule{"db": {rule(t, "ingress", "tcp", "5432", "any")}}, "db"),
			flow: flow(protoUDP, "10.0.0.2", "10.0.0.3", 5432),
		}, {
			name: "a rule that names a group permits its members",
			vpc:  world(map[string][]Rule{"db": {rule(t, "ingress", "tcp", "5432", "group:web")}}, "db", "web"),
			flow: flow(protoTCP, "10.0.0.2", "10.0.0.3", 5432), want: true, group: "db",
		}, {
			name: "and no others",
			vpc:  world(map[string][]Rule{"db": {rule(t, "ingress", "tcp", "5432", "group:web")}}, "db", "web"),
			flow: flow(protoTCP, "10.0.0.5", "10.0.0.3", 5432),
		}, {
			name: "a rule that names a missing group permits nobody, not even who carries the name",
			vpc:  world(map[string][]Rule{"db": {rule(t, "ingress", "tcp", "5432", "group:web")}}, "db"),
			flow: flow(protoTCP, "10.0.0.2", "10.0.0.3", 5432),
		}, {
			name: "an endpoint of a deleted group gets none of its rules",
			vpc:  world(map[string][]Rule{"gone": {rule(t, "ingress", "any", "", "any")}}, "db"),
			flow: flow(protoTCP, "10.0.0.2", "10.0.0.6", 80),
		}, {
			name: "a CIDR permits addresses in it",
			vpc:  world(map[string][]Rule{"db": {rule(t, "ingress", "udp", "", "10.1.0.0/16")}}, "db"),
			flow: flow(protoUDP, "10.1.0.2", "10.0.0.3", 53), want: true, group: "db",
		}, {
			name: "and not those outside",
			vpc:  world(map[string][]Rule{"db": {rule(t, "ingress", "udp", "", "10.1.0.0/16")}}, "db"),
			flow: flow(protoUDP, "10.0.0.2", "10.0.0.3", 53),
		}, {
			name: "a rule for icmp permits every type and code",
			vpc:  world(map[string][]Rule{"db": {rule(t, "ingress", "icmp", "", "any")}}, "db"),
			flow: flow(protoICMP, "10.0.0.2", "10.0.0.3", ICMPPort(13, 255)), want: true, group: "db",
		}, {
			name: "another protocol comes in by an any rule only",
			vpc:  world(map[string][]Rule{"db": {rule(t, "ingress", "any", "", "any")}}, "db"),
			flow: flow(47, "10.0.0.2", "10.0.0.3", 0), want: true, group: "db",
		}, {
			name: "and not by rules for all named protocols",
			vpc: world(map[string][]Rule{"db": {
				rule(t, "ingress", "tcp", "", "any"), rule(t, "ingress", "udp", "", "any"), rule(t, "ingress", "icmp", "", "any"),
			}}, "db"),
			flow: flow(47, "10.0.0.2", "10.0.0.3", 0),
		}, {
			name: "an endpoint of two groups has the rules of both",
			vpc: world(map[string][]Rule{
				"db":  {rule(t, "ingress", "tcp", "5432", "any")},
				"web": {rule(t, "ingress", "tcp", "80", "any")},
			}, "db", "web"),
			flow: flow(protoTCP, "10.0.0.5", "10.0.0.4", 80), want: true, group: "web",
		}, {
			name: "one egress rule ends the permission of everything else",
			vpc: world(map[string][]Rule{
				"db":  {rule(t, "ingress", "any", "", "any")},
				"web": {rule(t, "egress", "udp", "53", "any")},
			}, "db", "web"),
			flow: flow(protoTCP, "10.0.0.2", "10.0.0.3", 5432), group: "db",
		}, {
			name: "and permits what it says",
			vpc: world(map[string][]Rule{
				"db":  {rule(t, "ingress", "any", "", "any")},
				"web": {rule(t, "egress", "udp", "53", "group:db")},
			}, "db", "web"),
			flow: flow(protoUDP, "10.0.0.2", "10.0.0.3", 53), want: true, group: "db",
		}, {
			name: "an ingress rule of the source permits nothing to the destination",
			vpc:  world(map[string][]Rule{"web": {rule(t, "ingress", "any", "", "any")}}, "db", "web"),
			flow: flow(protoTCP, "10.0.0.2", "10.0.0.3", 80),
		}, {
			name: "an unknown source goes nowhere",
			vpc:  world(map[string][]Rule{"db": {rule(t, "ingress", "any", "", "any")}}, "db"),
			flow: flow(protoTCP, other, "10.0.0.3", 80),
		}, {
			name: "an unknown destination is never reached",
			vpc:  world(map[string][]Rule{"db": {rule(t, "ingress", "any", "", "any")}}, "db"),
			flow: flow(protoTCP, "10.0.0.3", other, 80),
		}, {
			name: "where two rules permit, the first by group is named",
			vpc: world(map[string][]Rule{
				"db":  {rule(t, "ingress", "any", "", "any")},
				"web": {rule(t, "ingress", "any", "", "any")},
			}, "web", "db"),
			flow: flow(protoTCP, "10.0.0.5", "10.0.0.4", 80), want: true, group: "db",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := tt.vpc.Explain(tt.flow)
			if e.Allowed != tt.want || e.Ingress.Rule.Group != tt.group {
				t.Errorf("Explain(%s) = %s; want allowed %v by group %q", tt.flow, e, tt.want, tt.group)
			}
			egress, ingress := lookup(tt.vpc, compile(t, tt.vpc), live, tt.flow)
			if got := egress.Allowed && ingress.Allowed; got != tt.want || ingress.Rule.Group != tt.group {
				t.Errorf("tables say %v by group %q for %s; want %v by %q", got, ingress.Rule.Group, tt.flow, tt.want, tt.group)
			}
		})
	}
}

func TestCompileRefuses(t *testing.T) {
	valid := Group{Name: "web", Rules: []Rule{rule(t, "ingress", "tcp", "80", "any")}}
	tests := []struct {
		name string
		vpc  VPC
		want string
	}{
		{"a VNI of 0", VPC{}, "compile VPC 0: VNI 0 is not from 1 to 16777215"},
		{"a VNI beyond 24 bits", VPC{VNI: 1 << 24}, "compile VPC 16777216: VNI 16777216 is not from 1 to 16777215"},
		{"two groups of one name", VPC{VNI: 1, Groups: []Group{valid, valid}}, "compile VPC 1: group web is there twice"},
		{
			"two equal rules",
			VPC{VNI: 1, Groups: []Group{{Name: "a", Rules: []Rule{valid.Rules[0], valid.Rules[0]}}}},
			"compile VPC 1: group a: rule " + valid.Rules[0].ID() + " (ingress tcp 80 from any) is there twice",
		},
		{"a rule without direction", VPC{VNI: 1, Groups: []Group{{Name: "a", Rules: []Rule{{}}}}}, "compile VPC 1: group a: rule has direction 0: set ingress or egress"},
		{"an address twice", VPC{VNI: 1, Hosts: []Host{host("10.0.0.1"), host("10.0.0.1")}}, "compile VPC 1: host 10.0.0.1 is there twice"},
		{"a prefix twice", VPC{VNI: 1, Hosts: []Host{{Prefix: prefix("10.0.0.0/8")}, {Prefix: prefix("10.0.0.0/8")}}}, "compile VPC 1: host's prefix 10.0.0.0/8 is there twice"},
		{"a prefix with host bits", VPC{VNI: 1, Hosts: []Host{{Prefix: prefix("10.0.0.1/8")}}}, "compile VPC 1: host's prefix: 10.0.0.1/8 has bits set behind its length: write 10.0.0.0/8 for the network or 10.0.0.1 for the address"},
		{"a CIDR of the VPC with host bits", VPC{VNI: 1, CIDRs: []netip.Prefix{prefix("10.0.0.1/8")}}, "compile VPC 1: VPC's CIDR: 10.0.0.1/8 has bits set behind its length: write 10.0.0.0/8 for the network or 10.0.0.1 for the address"},
		{"a candidate with a group twice", VPC{VNI: 1, Shadow: []Group{valid, valid}}, "compile VPC 1: candidate: group web is there twice"},
		{"too many groups", VPC{VNI: 1, Groups: make([]Group, 1001)}, "compile VPC 1: 1001 groups: at most 1000 are possible in one VPC"},
		{"too many rules", VPC{VNI: 1, Groups: []Group{{Name: "a", Rules: make([]Rule, 9_000)}, {Name: "b", Rules: make([]Rule, 1_001)}}}, "compile VPC 1: 10001 rules: at most 10000 are possible in one VPC"},
		{"a host without address", VPC{VNI: 1, Hosts: []Host{{}}}, "compile VPC 1: host without an address: set Addr or Prefix, and not both"},
		{"IPv4 within IPv6", VPC{VNI: 1, Hosts: []Host{host("::ffff:10.0.0.1")}}, "compile VPC 1: host ::ffff:10.0.0.1 has a zone or is IPv4 within IPv6: write it in its plain form"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Compile(tt.vpc)
			if err == nil || err.Error() != tt.want {
				t.Errorf("Compile: %v\nwant %s", err, tt.want)
			}
			// Only a compiler looks for what is there twice among hosts.
			if strings.Contains(tt.name, "address twice") || strings.Contains(tt.name, "prefix twice") {
				return
			}
			if err := tt.vpc.Validate(); err == nil || fmt.Sprintf("compile VPC %d: %v", tt.vpc.VNI, err) != tt.want {
				t.Errorf("Validate: %v\nwant %s", err, tt.want)
			}
		})
	}
}

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

// matchProtocol is the value of Match.Protocol for an IP protocol number.
func matchProtocol(number uint8) uint8 {
	switch number {
	case protoICMP, protoTCP, protoUDP, protoICMPv6, protoSCTP:
		return number
	default:
		return protoOther
	}
}
