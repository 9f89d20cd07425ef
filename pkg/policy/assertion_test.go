package policy

import (
	"math/rand/v2"
	"net/netip"
	"reflect"
	"strings"
	"testing"
)

func TestParseAssertion(t *testing.T) {
	for in, want := range map[string]string{
		"web-1 reaches db:5432":                       "web-1 reaches db:5432",
		"  web-1   reaches db:udp/53 ":                "web-1 reaches db:udp/53",
		"group:web reaches db:80,8000-8100":           "group:web reaches db:80,8000-8100",
		"group:web reaches group:db:tcp/5432":         "group:web reaches group:db:5432",
		"nobody reaches db:22":                        "nobody reaches db:22",
		"anybody cannot reach db:22":                  "nobody reaches db:22",
		"web-1 cannot reach 10.0.0.9:22":              "web-1 cannot reach 10.0.0.9:22",
		"anybody reaches web:icmp":                    "anybody reaches web:icmp",
		"anybody reaches web:icmp/8":                  "anybody reaches web:icmp/8",
		"anybody reaches web:icmpv6/128/0":            "anybody reaches web:icmpv6/128/0",
		"10.0.0.0/24 reaches group:db:any":            "10.0.0.0/24 reaches group:db:any",
		"fd00::1 reaches [fd00::2]:80":                "fd00::1 reaches [fd00::2]:80",
		"[fd00::/64] cannot reach [fd00:1::/64]:sctp": "fd00::/64 cannot reach [fd00:1::/64]:sctp",
		"nobody reaches anybody:tcp":                  "nobody reaches anybody:tcp",
		"group:reaches reaches cannot:any":            "group:reaches reaches cannot:any",

		"":                             `parse assertion "": write SUBJECT reaches OBJECT:SERVICE or SUBJECT cannot reach OBJECT:SERVICE, as in web-1 reaches db-1:5432`,
		"web-1 reaches db":             `parse assertion "web-1 reaches db": object "db" has no service: write OBJECT:PORT, OBJECT:udp/PORT, OBJECT:icmp or OBJECT:any`,
		"web-1 reaches group:db":       `parse assertion "web-1 reaches group:db": object "group:db" has no service: write OBJECT:PORT, OBJECT:udp/PORT, OBJECT:icmp or OBJECT:any`,
		"web-1 reaches db:":            `parse assertion "web-1 reaches db:": object "db:" has no service: write OBJECT:PORT, OBJECT:udp/PORT, OBJECT:icmp or OBJECT:any`,
		"web-1 reaches db:udp/":        `parse assertion "web-1 reaches db:udp/": service "udp/": nothing is behind the slash: write udp without it for all of it`,
		"web-1 reaches db:any/1":       `parse assertion "web-1 reaches db:any/1": service "any/1": any has no ports: write any, or tcp, udp or sctp with ports`,
		"web-1 reaches db:gre/1":       `parse assertion "web-1 reaches db:gre/1": service "gre/1": parse protocol "gre": write tcp, udp, sctp, icmp, icmpv6 or any`,
		"web-1 reaches db:icmp/256":    `parse assertion "web-1 reaches db:icmp/256": service "icmp/256": "256" is no type: write a number from 0 to 255, as 8, or type and code, as 3/4`,
		"nobody cannot reach db:22":    `parse assertion "nobody cannot reach db:22": nobody and cannot are one too many: write nobody reaches or anybody reaches`,
		"web-1 reaches nobody:22":      `parse assertion "web-1 reaches nobody:22": object: nobody is possible as subject only: write anybody, and nobody or cannot before it`,
		"Web reaches db:22":            `parse assertion "Web reaches db:22": subject: name "Web" has 'W' at position 1: only lower-case letters, digits and '-' are possible`,
		"10.0.0.1/24 reaches db:22":    `parse assertion "10.0.0.1/24 reaches db:22": subject: 10.0.0.1/24 has bits set behind its length: write 10.0.0.0/24 for the network or 10.0.0.1 for the address`,
		"10.0.0.256 reaches db:22":     `parse assertion "10.0.0.256 reaches db:22": subject: "10.0.0.256" is no address or CIDR: write 10.0.0.7, 10.0.0.0/24, an endpoint's name, group:NAME or anybody`,
		"web reaches [10.0.0.1]:22":    `parse assertion "web reaches [10.0.0.1]:22": object: "[10.0.0.1]" is no IPv6 address or CIDR in brackets: write [fd00::1], [fd00::/64], or IPv4 without brackets`,
		"web reaches fd00::1:22":       `parse assertion "web reaches fd00::1:22": object "fd00::1:22": IPv6 is in brackets there: write [fd00::1]:22`,
		"[fd00::1 reaches db:22":       `parse assertion "[fd00::1 reaches db:22": subject: "[fd00::1" is no IPv6 address or CIDR in brackets: write [fd00::1], [fd00::/64], or IPv4 without brackets`,
		"web-1 reaches db:22 or later": `parse assertion "web-1 reaches db:22 or later": service "22 or later": "22 or later" is no port: write a number from 1 to 65535`,
		"web-1 reaches fd00::1":        `parse assertion "web-1 reaches fd00::1": object "fd00::1": IPv6 is in brackets there: write [fd00::1]:SERVICE`,
		"web-1 reaches db:http":        `parse assertion "web-1 reaches db:http": service "http": neither ports nor a protocol: write 80,8000-8100, udp/53, icmp, icmp/8 or any`,
		"web-1 reaches db:80,0":        `parse assertion "web-1 reaches db:80,0": service "80,0": item 2: "0" is no port: write a number from 1 to 65535`,
		"web-1 reaches any:80":         `parse assertion "web-1 reaches any:80": object: any is a word of rules: write anybody`,
		"web-1 reaches [fd00::1:80":    `parse assertion "web-1 reaches [fd00::1:80": object "[fd00::1:80": the bracket is not closed: write [ADDRESS]:SERVICE`,
		"web-1 reaches [fd00::1]":      `parse assertion "web-1 reaches [fd00::1]": object "[fd00::1]" has no service: write OBJECT:PORT, OBJECT:udp/PORT, OBJECT:icmp or OBJECT:any`,
		"web-1 reaches :80":            `parse assertion "web-1 reaches :80": object: name is empty: write 1 to 63 lower-case letters, digits or '-'`,
	} {
		t.Run(in, func(t *testing.T) {
			a, err := ParseAssertion(in)
			got := a.String()
			if err != nil {
				got = err.Error()
			}
			if got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
}

func FuzzParseAssertion(f *testing.F) {
	for _, seed := range []string{
		"web-1 reaches db:5432", "nobody reaches group:db:udp/53", "fd00::1 cannot reach [fd00::/64]:icmpv6/128",
		"anybody reaches 10.0.0.0/8:any", "a reaches b:1-2,5", " cannot reach  reaches :",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := ParseAssertion(s)
		if err != nil {
			return
		}
		again, err := ParseAssertion(a.String())
		if err != nil || !reflect.DeepEqual(again, a) {
			t.Fatalf("%q is read as %+v, written %q, and read again as %+v, %v", s, a, a, again, err)
		}
	})
}

// shop is a VPC as it could be: web reaches db, ops reaches all of it by SSH.
func shop(t testing.TB) VPC {
	t.Helper()
	named := func(name, addr string, groups ...string) Host {
		return Host{Name: name, Addr: netip.MustParseAddr(addr), Groups: groups}
	}
	return VPC{
		VNI: 7,
		Groups: []Group{
			{Name: "web", Rules: rules(t, "ingress tcp 80,443 from any", "ingress icmp 8 from any", "ingress icmpv6 128 from any")},
			{Name: "db", Rules: rules(t, "ingress tcp 5432 from group:web", "ingress deny tcp 5432 from 10.0.0.12")},
			{Name: "ops", Rules: rules(t, "egress tcp 22 to 10.0.0.0/24 except 10.0.0.200")},
			{Name: "base", Rules: rules(t, "ingress tcp 22 from group:ops")},
		},
		Hosts: []Host{
			named("web-1", "10.0.0.11", "web", "base"), named("web-1", "fd00::11", "web", "base"),
			named("web-2", "10.0.0.12", "web", "base"),
			named("db", "10.0.0.20", "db", "base"),
			named("ops", "10.0.0.30", "ops"), named("vault", "10.0.0.200", "base"),
			{Name: "router", Prefix: prefix("10.1.0.0/16"), Groups: []string{"web"}},
		},
	}
}

func TestCheckFindsTheFirstCounterExample(t *testing.T) {
	v := shop(t)
	for in, want := range map[string]string{
		"web-1 reaches db:5432":           "holds",
		"group:web reaches db:5432":       "web-2 to db: tcp 10.0.0.12 -> 10.0.0.20 port 5432",
		"nobody reaches db:22":            "ops to db: tcp 10.0.0.30 -> 10.0.0.20 port 22",
		"nobody reaches vault:22":         "holds",
		"web-1 cannot reach 10.0.0.20:22": "holds",
		"web-1 cannot reach db:any":       "web-1 to db: tcp 10.0.0.11 -> 10.0.0.20 port 5432",
		"web-1 cannot reach db:1-5431":    "holds",
		"anybody reaches web-1:80":        "ops to web-1: tcp 10.0.0.30 -> 10.0.0.11 port 80",
		"web-2 reaches web-1:80,443":      "holds",
		"web-2 reaches web-1:80-443":      "web-2 to web-1: tcp 10.0.0.12 -> 10.0.0.11 port 81",
		"group:web reaches web-1:icmp/8":  "holds",
		"web-2 reaches web-1:icmp":        "web-2 to web-1: icmp 10.0.0.12 -> 10.0.0.11 type 0 code 0",
		"web-1 reaches web-1:icmpv6/128":  "undecided",
		"ops reaches 10.0.0.0/24:22":      "ops to vault: tcp 10.0.0.30 -> 10.0.0.200 port 22",
		"ops reaches 10.0.0.0/25:22":      "holds",
		"10.1.2.3 reaches db:5432":        "holds",
		"10.1.2.0/24 reaches db:5433":     "router to db: tcp 10.1.2.0 -> 10.0.0.20 port 5433",
		"router reaches 10.1.0.0/16:80":   "undecided",
		"nobody reaches gone:22":          "holds",
		"gone reaches db:22":              "undecided",
		"gone cannot reach db:22":         "holds",
		"group:gone reaches db:22":        "undecided",
		"10.9.9.9 reaches db:22":          "undecided",
		"fd00::11 reaches db:22":          "undecided",
		"web-2 cannot reach db:5432":      "holds",
		"nobody reaches anybody:sctp":     "holds",
	} {
		t.Run(in, func(t *testing.T) {
			a, err := ParseAssertion(in)
			if err != nil {
				t.Fatal(err)
			}
			results, err := v.Check([]Assertion{a})
			if err != nil {
				t.Fatal(err)
			}
			r := results[0]
			got := r.Outcome.String()
			if r.Outcome == Broken {
				got = r.Source + " to " + r.Destination + ": " + r.Flow.String()
				if r.Explanation.Allowed != a.Cannot || !strings.Contains(r.Why, r.Explanation.String()) {
					t.Errorf("the counter-example contradicts nothing: %s", r.Why)
				}
			}
			if (r.Outcome == Holds) != (r.Why == "") {
				t.Errorf("%s: why is %q", r.Outcome, r.Why)
			}
			if got != want {
				t.Errorf("got  %s (%s)\nwant %s", got, r.Why, want)
			}
		})
	}
}

// Check against asking about flows at random.
func TestCheckIsRight(t *testing.T) {
	w := world{rand.New(rand.NewPCG(31, 7))}
	outcomes := map[Outcome]int{}
	for range 1500 {
		v := w.vpc()
		for i := range v.Hosts {
			v.Hosts[i].Name = pick(w, "a", "b", "c", "d", "e")
		}
		a := w.assertion()
		results, err := v.Check([]Assertion{a})
		if err != nil {
			t.Fatal(err)
		}
		r := results[0]
		outcomes[r.Outcome]++
		if r.Outcome == Broken {
			if naive(v, r.Flow) != a.Cannot || !speaksOf(v, a, r.Flow) {
				t.Fatalf("%s: %s contradicts nothing\n%+v", a, r.Flow, v)
			}
			continue
		}
		for range 60 {
			f := w.flow(v)
			if !speaksOf(v, a, f) {
				continue
			}
			if r.Outcome == Undecided || naive(v, f) == a.Cannot {
				t.Fatalf("%s %s, but there is %s\n%+v", a, r.Outcome, f, v)
			}
		}
	}
	if outcomes[Holds] < 100 || outcomes[Broken] < 100 || outcomes[Undecided] < 50 {
		t.Errorf("outcomes are %v: the test tries too little of one", outcomes)
	}
}

func (w world) assertion() Assertion {
	party := func() Party {
		switch w.IntN(4) {
		case 0:
			return Party{Kind: PartyGroup, Name: w.group()}
		case 1:
			return Party{Kind: PartyCIDR, CIDR: w.cidr(w.addr())}
		case 2:
			return Party{Kind: PartyEndpoint, Name: pick(w, "a", "b", "c", "d", "e")}
		default:
			return Party{Kind: PartyAnybody}
		}
	}
	a := Assertion{Subject: party(), Cannot: w.IntN(2) == 0, Object: party()}
	r := w.rule()
	a.Service = Service{Protocol: r.Protocol, Ports: r.Ports, ICMP: r.ICMP}
	return a
}

// speaksOf tells whether a flow is one that an assertion is about.
func speaksOf(v VPC, a Assertion, f Flow) bool {
	hostOf := func(addr netip.Addr) *Host {
		var found *Host
		longest := -1
		for i := range v.Hosts {
			h := &v.Hosts[i]
			if h.Addr == addr {
				return h
			}
			if h.Prefix.Contains(addr) && h.Prefix.Bits() > longest {
				found, longest = h, h.Prefix.Bits()
			}
		}
		return found
	}
	is := func(p Party, addr netip.Addr, h *Host) bool {
		switch p.Kind {
		case PartyEndpoint:
			return h.Name == p.Name
		case PartyGroup:
			return naiveIn(h.Groups, p.Name)
		case PartyCIDR:
			return p.CIDR.Contains(addr)
		default:
			return true
		}
	}
	s, d := hostOf(f.Source), hostOf(f.Destination)
	if s == nil || d == nil || s.Name == d.Name || !ofOneFamily(f) {
		return false
	}
	service := Rule{Protocol: a.Service.Protocol, Ports: a.Service.Ports, ICMP: a.Service.ICMP}
	return is(a.Subject, f.Source, s) && is(a.Object, f.Destination, d) && naivePacket(service, f)
}

func BenchmarkCheck(b *testing.B) {
	v := bounds(5_000)
	for i := range v.Hosts {
		v.Hosts[i].Name = v.Hosts[i].Groups[0] + "-" + v.Hosts[i].Addr.String()
	}
	for _, s := range []string{"group:group-1 cannot reach group:group-2:22", "nobody reaches group:group-1:9999", "nobody reaches anybody:9999"} {
		a, err := ParseAssertion(s)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(s, func(b *testing.B) {
			processorTime(b)
			for b.Loop() {
				if _, err := v.Check([]Assertion{a}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
