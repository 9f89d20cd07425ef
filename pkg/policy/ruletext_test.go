package policy

import (
	"reflect"
	"slices"
	"strings"
	"testing"
)

// The IDs of rules as they were before rules had actions, priorities and
// exceptions: records and scripts may name them for ever.
func TestIDsStayTheSameOverReleases(t *testing.T) {
	for _, want := range []struct {
		text     RuleText
		id, line string
	}{
		{RuleText{Direction: "ingress", Protocol: "any", Peer: "any"}, "fac0904a6e4d", "ingress any from any"},
		{RuleText{Direction: "egress", Protocol: "any", Peer: "any"}, "dafe527bd1ee", "egress any to any"},
		{RuleText{Direction: "ingress", Protocol: "icmp", Peer: "any"}, "5560abc970eb", "ingress icmp from any"},
		{
			RuleText{Direction: "ingress", Protocol: "tcp", Ports: []string{"80", "443,8000-8100"}, Peer: "group:web"},
			"c91d7e4d207c", "ingress tcp 80,443,8000-8100 from group:web",
		},
		{RuleText{Direction: "egress", Protocol: "udp", Ports: []string{"53"}, Peer: "10.0.0.0/8"}, "fc37e407b223", "egress udp 53 to 10.0.0.0/8"},
		{
			RuleText{Direction: "ingress", Protocol: "tcp", Ports: []string{"1-65535"}, Peer: "10.0.0.7"},
			"ec0a64e3b07b", "ingress tcp 1-65535 from 10.0.0.7/32",
		},
		{
			RuleText{Direction: "egress", Protocol: "tcp", Peer: "0.0.0.0/0", Action: "allow", Priority: "1000", Description: "x", Disabled: true},
			"f338a545ffaa", "egress tcp to 0.0.0.0/0",
		},
	} {
		r, err := ParseRule(want.text)
		if err != nil {
			t.Fatal(err)
		}
		if r.ID() != want.id || r.String() != want.line {
			t.Errorf("%+v is %s (%s); want %s (%s)", want.text, r.ID(), r, want.id, want.line)
		}
	}
}

func TestRulesAreWrittenInOneLine(t *testing.T) {
	for _, tt := range []struct {
		text RuleText
		want string
	}{
		{RuleText{Direction: "ingress", Action: "deny", Protocol: "tcp", Ports: []string{"22"}, Peer: "any"}, "ingress deny tcp 22 from any"},
		{RuleText{Direction: "ingress", Priority: "0", Protocol: "sctp", Ports: []string{"80-90"}, Peer: "fd00::/8"}, "ingress priority 0 sctp 80-90 from fd00::/8"},
		{RuleText{Direction: "egress", Priority: "65535", Protocol: "icmpv6", ICMP: "128", Peer: "any"}, "egress priority 65535 icmpv6 128 to any"},
		{
			RuleText{Direction: "ingress", Action: "deny", Priority: "10", Protocol: "icmp", ICMP: "3/4", Peer: "10.0.0.0/8", Except: []string{"10.2.0.1", "10.1.0.0/16"}},
			"ingress deny priority 10 icmp 3/4 from 10.0.0.0/8 except 10.1.0.0/16,10.2.0.1/32",
		},
		{
			RuleText{Direction: "ingress", Protocol: "any", Peer: "0.0.0.0/0", Except: []string{"10.1.0.0/16", "10.0.0.0/8", "10.255.255.255", "11.0.0.0/8"}},
			"ingress any from 0.0.0.0/0 except 10.0.0.0/8,11.0.0.0/8",
		},
	} {
		r, err := ParseRule(tt.text)
		if err != nil || r.String() != tt.want {
			t.Errorf("got %q, %v; want %q", r, err, tt.want)
		}
	}
}

func TestWhatARuleSaysIsInItsID(t *testing.T) {
	base := RuleText{Direction: "ingress", Protocol: "icmp", Peer: "10.0.0.0/8"}
	changes := map[string]func(*RuleText){
		"action":      func(r *RuleText) { r.Action = "deny" },
		"priority":    func(r *RuleText) { r.Priority = "999" },
		"ICMP type":   func(r *RuleText) { r.ICMP = "0" },
		"ICMP code":   func(r *RuleText) { r.ICMP = "0/0" },
		"exception":   func(r *RuleText) { r.Except = []string{"10.0.0.0/9"} },
		"direction":   func(r *RuleText) { r.Direction = "egress" },
		"peer":        func(r *RuleText) { r.Peer = "any" },
		"protocol":    func(r *RuleText) { r.Protocol = "any" },
		"description": func(r *RuleText) { r.Description = "pings" },
		"enabled":     func(r *RuleText) { r.Disabled = true },
	}
	ids := map[string]string{}
	for name, change := range changes {
		text := base
		change(&text)
		r, err := ParseRule(text)
		if err != nil {
			t.Fatal(err)
		}
		if other, taken := ids[r.ID()]; taken && !strings.Contains("description enabled", name) {
			t.Errorf("change of %s has the ID of %s", name, other)
		}
		ids[r.ID()] = name
	}
	if len(ids) != len(changes)-1 {
		t.Errorf("%d IDs for %d changes; want one for both description and enabled", len(ids), len(changes))
	}
}

func TestPrioritiesByDefault(t *testing.T) {
	var zero Rule
	if zero.Priority.Number() != DefaultPriority || PriorityOf(DefaultPriority) != zero.Priority {
		t.Errorf("a rule without a priority has %s", zero.Priority)
	}
	if first := PriorityOf(0); first.Number() != 0 || first.Compare(zero.Priority) >= 0 || zero.Priority.Compare(PriorityOf(65535)) >= 0 {
		t.Error("0, 1000 and 65535 are not in this order")
	}
}

func TestParseRuleRefuses(t *testing.T) {
	tests := []struct {
		name   string
		change func(*RuleText)
		want   string
	}{
		{"an unknown direction", func(r *RuleText) { r.Direction = "in" }, `parse direction "in": write ingress or egress`},
		{"an unknown action", func(r *RuleText) { r.Action = "drop" }, `parse action "drop": write allow or deny`},
		{"a priority out of range", func(r *RuleText) { r.Priority = "65536" }, `parse priority "65536": write a number from 0, which decides first, to 65535`},
		{"a signed priority", func(r *RuleText) { r.Priority = "+1" }, `parse priority "+1": write a number from 0, which decides first, to 65535`},
		{"an unknown protocol", func(r *RuleText) { r.Protocol = "gre" }, `parse protocol "gre": write tcp, udp, sctp, icmp, icmpv6 or any`},
		{"ports of icmp", func(r *RuleText) { r.Protocol = "icmp" }, "rule has ports for protocol icmp: only tcp, udp and sctp have ports"},
		{"ports of any", func(r *RuleText) { r.Protocol = "any" }, "rule has ports for protocol any: only tcp, udp and sctp have ports"},
		{"an empty port", func(r *RuleText) { r.Ports = []string{"80", ""} }, `parse ports "80,": item 2: empty: write ports and ranges as in 80,8000-8100`},
		{"an ICMP type of tcp", func(r *RuleText) { r.ICMP = "8" }, "rule has an ICMP type for protocol tcp: only icmp and icmpv6 have types"},
		{"an ICMP type that is none", func(r *RuleText) { r.ICMP = "256" }, `parse ICMP type "256": "256" is no type: write a number from 0 to 255, as 8, or type and code, as 3/4`},
		{"an ICMP code that is none", func(r *RuleText) { r.ICMP = "3/" }, `parse ICMP type "3/": "" is no code: write a number from 0 to 255, as 3/4`},
		{"an unknown peer", func(r *RuleText) { r.Peer = "all" }, `parse peer "all": write a CIDR (10.0.0.0/24), an address (10.0.0.7), group:NAME or any`},
		{"an exception of any", func(r *RuleText) { r.Except = []string{"10.0.0.1"} }, "rule's peer: any has exceptions: only a CIDR has them"},
		{"an exception outside", func(r *RuleText) { r.Peer, r.Except = "10.0.0.0/8", []string{"11.0.0.1"} }, `parse exception "11.0.0.1": 11.0.0.1/32 is no part of 10.0.0.0/8: write CIDRs inside it`},
		{"an exception of the other family", func(r *RuleText) { r.Peer, r.Except = "0.0.0.0/0", []string{"fd00::/8"} }, `parse exception "fd00::/8": fd00::/8 is no part of 0.0.0.0/0: write CIDRs inside it`},
		{"an exception that is no CIDR", func(r *RuleText) { r.Peer, r.Except = "10.0.0.0/8", []string{"group:web"} }, `parse exception "group:web": write a CIDR (10.0.0.0/24) or an address (10.0.0.7)`},
		{"icmp of an IPv6 peer", func(r *RuleText) { r.Protocol, r.Ports, r.Peer = "icmp", nil, "fd00::/8" }, "rule for icmp has the IPv6 peer fd00::/8: write icmpv6"},
		{"icmpv6 of an IPv4 peer", func(r *RuleText) { r.Protocol, r.Ports, r.Peer = "icmpv6", nil, "10.0.0.0/8" }, "rule for icmpv6 has the IPv4 peer 10.0.0.0/8: write icmp"},
		{"a description that is too long", func(r *RuleText) { r.Description = strings.Repeat("x", 256) }, "rule's description has 256 bytes: at most 255 are possible"},
		{"a description of two lines", func(r *RuleText) { r.Description = "a\nb" }, `rule's description "a\nb" has '\n': only printable characters are possible`},
		{"a description that is no text", func(r *RuleText) { r.Description = "\xff" }, `rule's description "\xff" is not UTF-8`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			text := RuleText{Direction: "ingress", Protocol: "tcp", Ports: []string{"80"}, Peer: "any"}
			tt.change(&text)
			if _, err := ParseRule(text); err == nil || err.Error() != tt.want {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
}

func TestRulesThatSayTheSameHaveTheSameID(t *testing.T) {
	one := Rule{Direction: Ingress, Protocol: ProtocolTCP, Ports: []PortRange{{80, 80}, {81, 90}}, Peer: Peer{Kind: PeerCIDR, CIDR: prefix("10.0.0.1/24")}}
	two := rule(t, "ingress", "tcp", "80-90", "10.0.0.0/24")
	if one.ID() != two.ID() || len(two.ID()) != idDigits {
		t.Errorf("IDs are %s and %s", one.ID(), two.ID())
	}
}

// What is read is valid, and written and read again the same.
func FuzzParseRule(f *testing.F) {
	f.Add("ingress", "", "", "tcp", "80", "", "group:web", "", "", false)
	f.Add("egress", "deny", "7", "any", "", "", "10.0.0.0/8", "10.1.0.0/16 10.1.2.3", "no way", true)
	f.Add("egress", "allow", "1000", "icmp", "", "3/4", "::1%1", "", "", false)
	f.Add("ingress", "allow", "0", "icmpv6", "", "128", "fd00::/8", "fd00::1", "é", false)
	f.Fuzz(func(t *testing.T, direction, action, priority, protocol, ports, icmp, peer, except, description string, disabled bool) {
		text := RuleText{
			Direction: direction, Action: action, Priority: priority, Protocol: protocol, ICMP: icmp,
			Peer: peer, Except: strings.Fields(except), Description: description, Disabled: disabled,
		}
		if ports != "" {
			text.Ports = strings.Split(ports, ",")
		}
		r, err := ParseRule(text)
		if err != nil {
			return
		}
		again, err := ParseRule(r.Text())
		if err != nil || !reflect.DeepEqual(again, r) {
			t.Fatalf("%+v is read as %+v, and again as %+v, %v", text, r, again, err)
		}
		if again.ID() != r.ID() || !slices.Equal(again.Text().Except, r.Text().Except) {
			t.Fatalf("%s read again is %s", r, again)
		}
	})
}

func FuzzParseICMP(f *testing.F) {
	for _, seed := range []string{"", "8", "3/4", "0/0", "255/255", "/", "1/2/3"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		m, err := ParseICMP(s)
		if err != nil {
			return
		}
		if err := m.validate(); err != nil || m.String() != s {
			t.Fatalf("ParseICMP(%q) = %+v, written %q, %v", s, m, m, err)
		}
	})
}

func FuzzParsePriority(f *testing.F) {
	for _, seed := range []string{"", "0", "1000", "65535", "65536", "-1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if p, err := ParsePriority(s); err == nil && s != "" && p.String() != s {
			t.Fatalf("ParsePriority(%q) = %s", s, p)
		}
	})
}
