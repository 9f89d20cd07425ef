package policy

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func TestParsePorts(t *testing.T) {
	tests := []struct {
		in   string
		want string // the formatted result, or the error
		ok   bool
	}{
		{"80", "80", true},
		{"80,8000-8100", "80,8000-8100", true},
		{"8000-8100,80", "80,8000-8100", true},
		{"80,81,82", "80-82", true},
		{"1-10,5-20,20-21", "1-21", true},
		{"1-100,5-6", "1-100", true},
		{"1-65535", "1-65535", true},
		{"65535", "65535", true},
		{"80,80", "80", true},
		{"", `parse ports "": empty: write ports and ranges as in 80,8000-8100`, false},
		{"80,,81", `parse ports "80,,81": item 2: empty: write ports and ranges as in 80,8000-8100`, false},
		{"80,", `parse ports "80,": item 2: empty: write ports and ranges as in 80,8000-8100`, false},
		{"0", `parse ports "0": "0" is no port: write a number from 1 to 65535`, false},
		{"65536", `parse ports "65536": "65536" is no port: write a number from 1 to 65535`, false},
		{"080", `parse ports "080": "080" is no port: write a number from 1 to 65535`, false},
		{"+80", `parse ports "+80": "+80" is no port: write a number from 1 to 65535`, false},
		{"80, 81", `parse ports "80, 81": item 2: " 81" is no port: write a number from 1 to 65535`, false},
		{"-80", `parse ports "-80": "" is no port: write a number from 1 to 65535`, false},
		{"http", `parse ports "http": "http" is no port: write a number from 1 to 65535`, false},
		{"90-80", `parse ports "90-80": "90-80" runs backwards: write 80-90`, false},
		{"1-2-3", `parse ports "1-2-3": "2-3" is no port: write a number from 1 to 65535`, false},
	}
	for _, tt := range tests {
		t.Run(tt.in, func(t *testing.T) {
			ports, err := ParsePorts(tt.in)
			got := FormatPorts(ports)
			if err != nil {
				got = err.Error()
			}
			if got != tt.want || (err == nil) != tt.ok {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestParsePeer(t *testing.T) {
	tests := []struct {
		in   string
		want string
		ok   bool
	}{
		{"any", "any", true},
		{"10.0.0.0/24", "10.0.0.0/24", true},
		{"0.0.0.0/0", "0.0.0.0/0", true},
		{"10.0.0.7", "10.0.0.7/32", true},
		{"group:web", "group:web", true},
		{"group:any", "group:any", true},
		{"", `parse peer "": write a CIDR (10.0.0.0/24), an address (10.0.0.7), group:NAME or any`, false},
		{"web", `parse peer "web": write a CIDR (10.0.0.0/24), an address (10.0.0.7), group:NAME or any`, false},
		{"10.0.0.0/33", `parse peer "10.0.0.0/33": write a CIDR (10.0.0.0/24), an address (10.0.0.7), group:NAME or any`, false},
		{"10.0.0.7/24", `parse peer "10.0.0.7/24": 10.0.0.7/24 has bits set behind its length: write 10.0.0.0/24 for the network or 10.0.0.7 for the address`, false},
		{"group:", `parse peer "group:": name is empty: write 1 to 63 lower-case letters, digits or '-'`, false},
		{"group:Web", `parse peer "group:Web": name "Web" has 'W' at position 1: only lower-case letters, digits and '-' are possible`, false},
		{"fd00::/8", "fd00::/8", true},
		{"fd00:0::1", "fd00::1/128", true},
		{"fd00::1/64", `parse peer "fd00::1/64": fd00::1/64 has bits set behind its length: write fd00::/64 for the network or fd00::1 for the address`, false},
		{"fe80::1%eth0", `parse peer "fe80::1%eth0": write a CIDR (10.0.0.0/24), an address (10.0.0.7), group:NAME or any`, false},
		{"::ffff:10.0.0.1", `parse peer "::ffff:10.0.0.1": ::ffff:10.0.0.1/128 is IPv4 within IPv6: write 10.0.0.1`, false},
	}
	for _, tt := range tests {
		t.Run(tt.in, func(t *testing.T) {
			peer, err := ParsePeer(tt.in)
			got := peer.String()
			if err != nil {
				got = err.Error()
			}
			if got != tt.want || (err == nil) != tt.ok {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestValidateName(t *testing.T) {
	for _, name := range []string{"a", "7", "web-1", "a--b", strings.Repeat("x", 63)} {
		if err := ValidateName(name); err != nil {
			t.Errorf("ValidateName(%q) = %v", name, err)
		}
	}
	for name, want := range map[string]string{
		"":                      "name is empty: write 1 to 63 lower-case letters, digits or '-'",
		"-a":                    `name "-a" has '-' at its end or beginning: begin and end with a letter or digit`,
		"a-":                    `name "a-" has '-' at its end or beginning: begin and end with a letter or digit`,
		"a b":                   `name "a b" has ' ' at position 2: only lower-case letters, digits and '-' are possible`,
		"é":                     `name "é" has 'é' at position 1: only lower-case letters, digits and '-' are possible`,
		strings.Repeat("x", 64): `name "xxxxxxxxxxxxxxxxxxxx"... has 64 characters: at most 63 are possible`,
	} {
		if err := ValidateName(name); err == nil || err.Error() != want {
			t.Errorf("ValidateName(%q) = %v\nwant %s", name, err, want)
		}
	}
}

func TestRuleValidateRefusesWhatIsNotCanonical(t *testing.T) {
	tests := []struct {
		name string
		rule Rule
		want string
	}{
		{
			"ports out of order",
			Rule{Direction: Ingress, Protocol: ProtocolTCP, Ports: []PortRange{{90, 90}, {80, 80}}},
			"rule: ports 90,80 are not sorted and merged: write 80,90",
		},
		{
			"port 0",
			Rule{Direction: Ingress, Protocol: ProtocolUDP, Ports: []PortRange{{0, 9}}},
			"rule: ports 0-9: a range is from 1 to 65535 and begins with the lower port",
		},
		{
			"a range backwards",
			Rule{Direction: Ingress, Protocol: ProtocolUDP, Ports: []PortRange{{9, 8}}},
			"rule: ports 9-8: a range is from 1 to 65535 and begins with the lower port",
		},
		{
			"a CIDR with host bits",
			Rule{Direction: Egress, Peer: Peer{Kind: PeerCIDR, CIDR: netip.MustParsePrefix("10.0.0.1/8")}},
			"rule's peer: 10.0.0.1/8 has bits set behind its length: write 10.0.0.0/8 for the network or 10.0.0.1 for the address",
		},
		{"a CIDR that is not set", Rule{Direction: Egress, Peer: Peer{Kind: PeerCIDR}}, "rule's peer: CIDR is not set or not valid"},
		{"an unknown kind of peer", Rule{Direction: Egress, Peer: Peer{Kind: 9}}, "rule's peer: kind 9 is none of any, CIDR and group"},
		{
			"too many ranges",
			Rule{Direction: Ingress, Protocol: ProtocolTCP, Ports: make([]PortRange, 257)},
			"rule: 257 ports and ranges: at most 256 are possible in one rule",
		},
		{
			"exceptions out of order",
			Rule{Direction: Ingress, Peer: Peer{Kind: PeerCIDR, CIDR: netip.MustParsePrefix("10.0.0.0/8"), Except: []netip.Prefix{
				netip.MustParsePrefix("10.2.0.0/16"), netip.MustParsePrefix("10.1.0.0/16"),
			}}},
			"rule's peer: exceptions 10.2.0.0/16,10.1.0.0/16 are not sorted and merged: write 10.1.0.0/16,10.2.0.0/16",
		},
		{
			"an exception that is all of it",
			Rule{Direction: Ingress, Peer: Peer{Kind: PeerCIDR, CIDR: netip.MustParsePrefix("10.0.0.0/8"), Except: []netip.Prefix{
				netip.MustParsePrefix("10.0.0.0/8"),
			}}},
			"rule's peer: exception: 10.0.0.0/8 is no part of 10.0.0.0/8: write CIDRs inside it",
		},
		{
			"exceptions of a group",
			Rule{Direction: Ingress, Peer: Peer{Kind: PeerGroup, Group: "web", Except: make([]netip.Prefix, 1)}},
			"rule's peer: group:web has exceptions: only a CIDR has them",
		},
		{"an unknown action", Rule{Direction: Egress, Action: 7}, "rule has action 7: set allow or deny"},
		{"a code without a type", Rule{Direction: Egress, Protocol: ProtocolICMP, ICMP: ICMP{Code: 1, HasCode: true}}, "rule: ICMP code without a type: set the type too"},
		{"a code that does not count", Rule{Direction: Egress, Protocol: ProtocolICMP, ICMP: ICMP{HasType: true, Code: 1}}, "rule: ICMP code 1 is set and does not count: set HasCode"},
		{"an unknown protocol", Rule{Direction: Egress, Protocol: 9}, "rule has protocol 9: set tcp, udp, sctp, icmp, icmpv6 or any"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := tt.rule.Validate(); err == nil || err.Error() != tt.want {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
}

func FuzzParsePorts(f *testing.F) {
	for _, seed := range []string{"80", "80,8000-8100", "", ",", "1-65535", "5-1", "0", "80-80,81"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		ports, err := ParsePorts(s)
		if err != nil {
			return
		}
		if err := validatePorts(ports); err != nil {
			t.Fatalf("ParsePorts(%q) = %v: %v", s, ports, err)
		}
		again, err := ParsePorts(FormatPorts(ports))
		if err != nil || !slices.Equal(again, ports) {
			t.Fatalf("ParsePorts(%q) = %v, and again %v, %v", s, ports, again, err)
		}
	})
}

func FuzzValidateName(f *testing.F) {
	f.Add("web-1")
	f.Add("\xff")
	f.Fuzz(func(t *testing.T, name string) {
		if ValidateName(name) != nil {
			return
		}
		if peer, err := ParsePeer(groupPrefix + name); err != nil || peer.Group != name {
			t.Fatalf("group:%s is read as %v, %v", name, peer, err)
		}
	})
}
