package policy

import (
	"strings"
	"testing"
)

// rules reads rules as Rule.String writes them; a # before one disables it.
func rules(t testing.TB, lines ...string) []Rule {
	t.Helper()
	var list []Rule
	for _, line := range lines {
		var text RuleText
		line, text.Disabled = strings.CutPrefix(line, "#")
		words := strings.Fields(line)
		next := func() (word string) {
			if len(words) > 0 {
				word, words = words[0], words[1:]
			}
			return word
		}
		text.Direction, text.Protocol = next(), next()
		for text.Protocol == "deny" || text.Protocol == "priority" {
			if text.Protocol == "deny" {
				text.Action = "deny"
			} else {
				text.Priority = next()
			}
			text.Protocol = next()
		}
		if word := next(); word != "from" && word != "to" {
			if strings.HasPrefix(text.Protocol, "icmp") {
				text.ICMP = word
			} else {
				text.Ports = []string{word}
			}
			next()
		}
		text.Peer = next()
		if next() == "except" {
			text.Except = strings.Split(next(), ",")
		}
		r, err := ParseRule(text)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		list = append(list, r)
	}
	return list
}

// The rules of one group, db, decide on what web (10.0.0.2, fd00::2) or someone
// else sends to it (10.0.0.3, fd00::3).
func TestWhichRuleDecides(t *testing.T) {
	world := func(lines ...string) VPC {
		v := VPC{
			VNI:    7,
			Groups: []Group{{Name: "web"}, {Name: "db", Rules: rules(t, lines...)}},
			Hosts: []Host{
				host("10.0.0.2", "web"), host("fd00::2", "web"),
				host("10.0.0.3", "db"), host("fd00::3", "db"),
				host("10.0.1.0"), host("10.0.1.255"), host("10.0.2.0"), host("10.0.0.255"),
				{Prefix: prefix("10.9.0.0/16"), Groups: []string{"web"}},
				{Prefix: prefix("10.9.9.0/24")},
			},
		}
		v.Sets = setsOf(v.Hosts)
		return v
	}
	tcp := func(from string, port uint16) Flow { return flow(protoTCP, from, "10.0.0.3", port) }
	tests := []struct {
		name  string
		rules []string
		flow  Flow
		want  bool
		by    string // the text of the rule, or nothing for the default
	}{
		{"equal priority: the denial", []string{"ingress tcp 80 from any", "ingress deny tcp 80 from any"}, tcp("10.0.0.2", 80), false, "ingress deny tcp 80 from any"},
		{"the lower number, though it allows", []string{"ingress priority 999 tcp 80 from any", "ingress deny tcp 80 from any"}, tcp("10.0.0.2", 80), true, "ingress priority 999 tcp 80 from any"},
		{"the lower number, though it denies", []string{"ingress tcp from any", "ingress deny priority 0 tcp 80 from any"}, tcp("10.0.0.2", 80), false, "ingress deny priority 0 tcp 80 from any"},
		{"a denial inside a wider permission", []string{"ingress tcp 1-65535 from any", "ingress deny tcp 80 from any"}, tcp("10.0.0.2", 81), true, "ingress tcp 1-65535 from any"},
		{"and beside it", []string{"ingress tcp 1-65535 from any", "ingress deny tcp 80 from any"}, tcp("10.0.0.2", 79), true, "ingress tcp 1-65535 from any"},
		{"a denial by CIDR inside a permission by group", []string{"ingress any from group:web", "ingress deny any from 10.0.0.0/24"}, tcp("10.0.0.2", 1), false, "ingress deny any from 10.0.0.0/24"},
		{"a permission behind a denial of everything", []string{"ingress deny priority 1 any from any", "ingress tcp from any"}, tcp("10.0.0.2", 1), false, "ingress deny priority 1 any from any"},
		{"what is disabled decides nothing", []string{"ingress tcp 80 from any", "#ingress deny priority 0 any from any"}, tcp("10.0.0.2", 80), true, "ingress tcp 80 from any"},
		{"nor permits it", []string{"#ingress tcp 80 from any"}, tcp("10.0.0.2", 80), false, ""},
		{"port 0 is of rules without ports", []string{"ingress tcp from any"}, tcp("10.0.0.2", 0), true, "ingress tcp from any"},
		{"and of no range", []string{"ingress tcp 1-65535 from any"}, tcp("10.0.0.2", 0), false, ""},
		{"the last port", []string{"ingress tcp 1-65535 from any"}, tcp("10.0.0.2", 65535), true, "ingress tcp 1-65535 from any"},

		{"the address before an exception", []string{"ingress any from 10.0.0.0/8 except 10.0.1.0/24"}, tcp("10.0.0.255", 1), true, "ingress any from 10.0.0.0/8 except 10.0.1.0/24"},
		{"the first of an exception", []string{"ingress any from 10.0.0.0/8 except 10.0.1.0/24"}, tcp("10.0.1.0", 1), false, ""},
		{"the last of an exception", []string{"ingress any from 10.0.0.0/8 except 10.0.1.0/24"}, tcp("10.0.1.255", 1), false, ""},
		{"the address after an exception", []string{"ingress any from 10.0.0.0/8 except 10.0.1.0/24"}, tcp("10.0.2.0", 1), true, "ingress any from 10.0.0.0/8 except 10.0.1.0/24"},
		{"an exception of a denial lets others decide", []string{"ingress deny any from 10.0.0.0/8 except 10.0.1.0", "ingress any from any"}, tcp("10.0.1.0", 1), true, "ingress any from any"},
		{"an exception from everything", []string{"ingress any from 0.0.0.0/0 except 10.0.1.0"}, tcp("10.0.1.0", 1), false, ""},
		{"and everything else", []string{"ingress any from 0.0.0.0/0 except 10.0.1.0"}, tcp("10.0.1.255", 1), true, "ingress any from 0.0.0.0/0 except 10.0.1.0/32"},
		{"everything of IPv4 is nothing of IPv6", []string{"ingress any from 0.0.0.0/0"}, flow(protoTCP, "fd00::2", "fd00::3", 1), false, ""},
		{"everything of IPv6", []string{"ingress any from ::/0"}, flow(protoTCP, "fd00::2", "fd00::3", 1), true, "ingress any from ::/0"},
		{"a group is of both families", []string{"ingress any from group:web"}, flow(protoTCP, "fd00::2", "fd00::3", 1), true, "ingress any from group:web"},

		{"an ICMP type has every code", []string{"ingress icmp 8 from any"}, flow(protoICMP, "10.0.0.2", "10.0.0.3", ICMPPort(8, 255)), true, "ingress icmp 8 from any"},
		{"and is not the next type", []string{"ingress icmp 8 from any"}, flow(protoICMP, "10.0.0.2", "10.0.0.3", ICMPPort(9, 0)), false, ""},
		{"an ICMP code", []string{"ingress icmp 3/4 from any"}, flow(protoICMP, "10.0.0.2", "10.0.0.3", ICMPPort(3, 4)), true, "ingress icmp 3/4 from any"},
		{"is not another", []string{"ingress icmp 3/4 from any"}, flow(protoICMP, "10.0.0.2", "10.0.0.3", ICMPPort(3, 5)), false, ""},
		{"ICMP is not ICMPv6", []string{"ingress icmp from any"}, flow(protoICMPv6, "fd00::2", "fd00::3", ICMPPort(128, 0)), false, ""},
		{"ICMPv6 by type", []string{"ingress icmpv6 128 from any"}, flow(protoICMPv6, "fd00::2", "fd00::3", ICMPPort(128, 0)), true, "ingress icmpv6 128 from any"},
		{"SCTP has ports", []string{"ingress sctp 80 from any", "ingress deny sctp from any"}, flow(protoSCTP, "10.0.0.2", "10.0.0.3", 81), false, "ingress deny sctp from any"},
		{"SCTP is of any", []string{"ingress any from any"}, flow(protoSCTP, "10.0.0.2", "10.0.0.3", 81), true, "ingress any from any"},

		{"a prefix has its endpoint's groups", []string{"ingress any from group:web"}, tcp("10.9.1.2", 1), true, "ingress any from group:web"},
		{"a longer prefix inside has its own", []string{"ingress any from group:web"}, tcp("10.9.9.2", 1), false, ""},
		{"a rule tells parts of a prefix apart", []string{"ingress any from 10.9.1.0/24"}, tcp("10.9.1.2", 1), true, "ingress any from 10.9.1.0/24"},
		{"and leaves the others", []string{"ingress any from 10.9.1.0/24"}, tcp("10.9.2.2", 1), false, ""},
		{"also in the longer prefix", []string{"ingress any from 10.9.9.128/25"}, tcp("10.9.9.129", 1), true, "ingress any from 10.9.9.128/25"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v := world(tt.rules...)
			c := compile(t, v)
			e := agree(t, v, c, live, tt.flow)
			if e.Allowed != tt.want || e.Ingress.Text != tt.by {
				t.Errorf("%s: %s; want %v by %q", tt.flow, e, tt.want, tt.by)
			}
		})
	}
}

func TestEgressIsOpenUntilARuleAllows(t *testing.T) {
	for _, tt := range []struct {
		name  string
		rules []string
		port  uint16
		want  bool
		why   string
	}{
		{"without rules", nil, 80, true, "10.0.0.2 (groups web) has no egress rule, so everything goes out"},
		{"a denial only subtracts", []string{"egress deny tcp 22 to any"}, 80, true, "10.0.0.2 (groups web) has no egress rule that permits anything, so all that none denies goes out"},
		{"what it says", []string{"egress deny tcp 22 to any"}, 22, false, "group web rule bd7668148640 denies it: egress deny tcp 22 to any"},
		{"a permission ends that", []string{"egress tcp 443 to any"}, 80, false, "none of the 1 egress rules of 10.0.0.2 (groups web) permits it"},
		{"unless it is disabled", []string{"#egress tcp 443 to any"}, 80, true, "10.0.0.2 (groups web) has no egress rule, so everything goes out"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v := VPC{
				VNI: 7, Groups: []Group{{Name: "web", Rules: rules(t, tt.rules...)}, {Name: "db", Rules: rules(t, "ingress any from any")}},
				Hosts: []Host{host("10.0.0.2", "web"), host("10.0.0.3", "db")},
				Sets:  [][]string{{"web"}, {"db"}},
			}
			e := agree(t, v, compile(t, v), live, flow(protoTCP, "10.0.0.2", "10.0.0.3", tt.port))
			if e.Allowed != tt.want || e.Egress.Why != tt.why {
				t.Errorf("%s\nwant %v, %s", e, tt.want, tt.why)
			}
		})
	}
}
