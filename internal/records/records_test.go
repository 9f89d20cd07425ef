package records

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"edgenet.dev/edgenet/pkg/mesh"
	"edgenet.dev/edgenet/pkg/policy"
)

const nodeID = mesh.NodeID("0123456789abcdef0123456789abcdef01234567")

func marshal(t testing.TB, m proto.Message) []byte {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func goodEndpoint() *Endpoint {
	return &Endpoint{Ip: "10.0.0.5", Kind: KindNetns, Netns: "/run/netns/web", Ifname: "eth0", Groups: []string{"web"}}
}

func goodGrant() *Grant {
	return &Grant{
		Ips: []string{"10.0.0.5", "10.0.0.6", "fd00:1::5"}, Prefixes: []string{"10.0.0.100/32", "10.0.0.128/25"},
		Groups: []string{"db", "web"}, ExpiresMs: 9, CreatedMs: 8,
	}
}

func TestGoodRecordsAreValid(t *testing.T) {
	for name, r := range map[string]mesh.Record{
		"vpc":                  {Kind: mesh.KindVPC, Key: "blue", Payload: marshal(t, &VPC{Vni: 7, Cidrs: []string{"10.0.0.0/24", "10.1.0.0/16"}})},
		"vpc of both families": {Kind: mesh.KindVPC, Key: "blue", Payload: marshal(t, &VPC{Vni: 7, Cidrs: []string{"10.0.0.0/24", "fd00:1::/64", "2001:db8::/126"}})},
		"endpoint of both families": {Kind: mesh.KindEndpoint, Key: EndpointKey(nodeID, 7, "web-1"), Payload: marshal(t, &Endpoint{
			Ip: "10.0.0.5", MoreIps: []string{"fd00:1::5", "10.0.0.6"}, Kind: KindTap, Device: "tap0",
			Prefixes: []string{"10.0.0.100/32", "10.0.0.128/25"}, Announced: []*Announced{{Address: "10.0.0.100", Version: 1}, {Address: "10.0.0.200", Version: 2}},
		})},
		"group":    {Kind: mesh.KindGroup, Key: "7/web", Payload: marshal(t, &Group{Rules: []*Rule{{Direction: "ingress", Protocol: "tcp", Ports: "80,8000-8100", Peer: "group:lb"}}})},
		"endpoint": {Kind: mesh.KindEndpoint, Key: EndpointKey(nodeID, 7, "web-1"), Payload: marshal(t, goodEndpoint())},
		"all of a rule": {Kind: mesh.KindGroup, Key: "7/web", Payload: marshal(t, &Group{
			Rules: []*Rule{{
				Direction: "egress", Action: "deny", Priority: proto.Uint32(0), Protocol: "icmp", Icmp: "3/4", Peer: "10.0.0.0/8",
				Except: []string{"10.1.0.0/16"}, Description: "the lab", Disabled: true,
			}},
			Batch: &Batch{Id: 1, Size: 2},
		})},
		"grant":              {Kind: mesh.KindGrant, Key: EndpointKey(nodeID, 7, "web-1"), Payload: marshal(t, goodGrant())},
		"settings":           {Kind: mesh.KindSettings, Key: mesh.SettingsKey, Payload: marshal(t, &Settings{RequireGrants: true, RequiredFromMs: 7})},
		"settings of nought": {Kind: mesh.KindSettings, Key: mesh.SettingsKey},
		"tombstone":          {Kind: mesh.KindVPC, Key: "blue", Deleted: true},
	} {
		if err := Validate(r); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestBadRecordsAreRefusedByName(t *testing.T) {
	endpoint := func(change func(*Endpoint)) mesh.Record {
		e := goodEndpoint()
		change(e)
		return mesh.Record{Kind: mesh.KindEndpoint, Key: EndpointKey(nodeID, 7, "web-1"), Payload: marshal(t, e)}
	}
	vpc := func(v *VPC) mesh.Record {
		return mesh.Record{Kind: mesh.KindVPC, Key: "blue", Payload: marshal(t, v)}
	}
	grant := func(change func(*Grant)) mesh.Record {
		g := goodGrant()
		change(g)
		return mesh.Record{Kind: mesh.KindGrant, Key: EndpointKey(nodeID, 7, "web-1"), Payload: marshal(t, g)}
	}
	for want, r := range map[string]mesh.Record{
		"no ip: want":            grant(func(g *Grant) { g.Ips = nil }),
		"10.0.0.5 after 10.0.0.": grant(func(g *Grant) { g.Ips = []string{"10.0.0.6", "10.0.0.5"} }),
		"fd00::1 after fd00::1":  grant(func(g *Grant) { g.Ips = []string{"fd00::1", "fd00::1"} }),
		"want it written as fd0": grant(func(g *Grant) { g.Ips = []string{"fd00:0::1"} }),
		"10.0.1.0/24 after 10.0": grant(func(g *Grant) { g.Prefixes = []string{"10.0.2.0/24", "10.0.1.0/24"} }),
		"db after db":            grant(func(g *Grant) { g.Groups = []string{"db", "db"} }),
		"33 ips":                 grant(func(g *Grant) { g.Ips = make([]string, 33) }),
		"33 groups":              grant(func(g *Grant) { g.Groups = make([]string, 33) }),
		"expires at -1 ms":       grant(func(g *Grant) { g.ExpiresMs = -1 }),
		"created at 25340230080": grant(func(g *Grant) { g.CreatedMs = 253402300800000 }),
		"grant: key":             {Kind: mesh.KindGrant, Key: "7/web"},
		"grant 0123456789abcdef": {Kind: mesh.KindGrant, Key: EndpointKey(nodeID, 7, "e"), Payload: make([]byte, maxEndpoint+1)},
		"required from at -5 ms": {Kind: mesh.KindSettings, Key: mesh.SettingsKey, Payload: marshal(t, &Settings{RequiredFromMs: -5})},
		"settings: decode paylo": {Kind: mesh.KindSettings, Key: mesh.SettingsKey, Payload: []byte{8, 0}},
		"VNI 0":                  vpc(&VPC{Cidrs: []string{"10.0.0.0/24"}}),
		"VNI 16777216":           vpc(&VPC{Vni: 1 << 24, Cidrs: []string{"10.0.0.0/24"}}),
		"want at least one":      vpc(&VPC{Vni: 7}),
		"overlaps 10.0.0.0/16":   vpc(&VPC{Vni: 7, Cidrs: []string{"10.0.0.0/16", "10.0.1.0/24"}}),
		"did you mean 10.0.0.0":  vpc(&VPC{Vni: 7, Cidrs: []string{"10.0.0.1/24"}}),
		"a length of 48 to 126":  vpc(&VPC{Vni: 7, Cidrs: []string{"fd00::/32"}}),
		"cidr fe80::/64":         vpc(&VPC{Vni: 7, Cidrs: []string{"fe80::/64"}}),
		"cidr ff05::/64":         vpc(&VPC{Vni: 7, Cidrs: []string{"ff05::/64"}}),
		"cidr ::ffff:0.0.0.0/9":  vpc(&VPC{Vni: 7, Cidrs: []string{"::ffff:0.0.0.0/96"}}),
		"overlaps fd00:1::/64":   vpc(&VPC{Vni: 7, Cidrs: []string{"fd00:1::/64", "10.0.0.0/24", "fd00:1::100/120"}}),
		"a length of 8 to 30":    vpc(&VPC{Vni: 7, Cidrs: []string{"10.0.0.0/31"}}),
		"for unicast hosts":      vpc(&VPC{Vni: 7, Cidrs: []string{"224.0.0.0/24"}}),
		"does not know":          {Kind: mesh.KindVPC, Key: "blue", Payload: append(marshal(t, &VPC{Vni: 7, Cidrs: []string{"10.0.0.0/24"}}), 0x78, 1)},
		"decode payload":         {Kind: mesh.KindGroup, Key: "7/web", Payload: []byte{0xff}},
		`want VNI/name`:          {Kind: mesh.KindGroup, Key: "web"},
		`VNI "07"`:               {Kind: mesh.KindGroup, Key: "07/web"},
		"rule 1: ":               {Kind: mesh.KindGroup, Key: "7/web", Payload: marshal(t, &Group{Rules: []*Rule{{Direction: "sideways"}}})},
		"is there twice":         {Kind: mesh.KindGroup, Key: "7/web", Payload: marshal(t, &Group{Rules: slices.Repeat([]*Rule{{Direction: "ingress", Protocol: "any", Peer: "any"}}, 2)})},
		"batch 1 of 1 records":   {Kind: mesh.KindGroup, Key: "7/web", Payload: marshal(t, &Group{Batch: &Batch{Id: 1, Size: 1}})},
		"parse priority":         {Kind: mesh.KindGroup, Key: "7/web", Payload: marshal(t, &Group{Rules: []*Rule{{Direction: "ingress", Protocol: "any", Peer: "any", Priority: proto.Uint32(65536)}}})},
		"want an IPv4 or IPv6":   endpoint(func(e *Endpoint) { e.Ip = "10.0.0.05" }),
		"ip \"fe80::1%eth0\"":    endpoint(func(e *Endpoint) { e.MoreIps = []string{"fe80::1%eth0"} }),
		"written as fd00::1":     endpoint(func(e *Endpoint) { e.MoreIps = []string{"fd00:0::1"} }),
		"ip 10.0.0.5: is there":  endpoint(func(e *Endpoint) { e.MoreIps = []string{"fd00::1", "10.0.0.5"} }),
		"33 ips: at most 32":     endpoint(func(e *Endpoint) { e.MoreIps = make([]string, 32) }),
		"33 prefixes":            endpoint(func(e *Endpoint) { e.Prefixes = make([]string, 33) }),
		"host bits":              endpoint(func(e *Endpoint) { e.Prefixes = []string{"10.0.0.7/24"} }),
		"prefix 10.0.1.0/24: i":  endpoint(func(e *Endpoint) { e.Prefixes = []string{"10.0.1.0/24", "10.0.1.0/24"} }),
		"none of the endpoint's": endpoint(func(e *Endpoint) {
			e.Prefixes, e.Announced = []string{"10.0.1.0/24"}, []*Announced{{Address: "10.0.2.1"}}
		}),
		"257 addresses":         endpoint(func(e *Endpoint) { e.Announced = make([]*Announced, 257) }),
		"is the gateway's":      endpoint(func(e *Endpoint) { e.Mac = "02:65:6e:00:00:01" }),
		"is zero":               endpoint(func(e *Endpoint) { e.Mac = "00:00:00:00:00:00" }),
		"path of 601 bytes":     endpoint(func(e *Endpoint) { e.Netns = "/" + strings.Repeat("x", 600) }),
		"is a group address":    endpoint(func(e *Endpoint) { e.Mac = "01:00:5e:00:00:01" }),
		"want an absolute path": endpoint(func(e *Endpoint) { e.Netns = "web" }),
		"want 1 to 15":          endpoint(func(e *Endpoint) { e.Ifname = "a-name-that-is-too-long" }),
		"names no device":       endpoint(func(e *Endpoint) { e.Device = "tap0" }),
		"has no netns":          endpoint(func(e *Endpoint) { e.Kind, e.Device = KindTap, "tap0" }),
		"want netns, tap or":    endpoint(func(e *Endpoint) { e.Kind = "pipe" }),
		"at most 512":           endpoint(func(e *Endpoint) { e.Problem = strings.Repeat("x", 600) }),
		"at most 32":            endpoint(func(e *Endpoint) { e.Groups = slices.Repeat([]string{"web"}, 33) }),
		`record kind "moon"`:    {Kind: "moon"},
		"want node/VNI/name":    {Kind: mesh.KindEndpoint, Key: "web"},
	} {
		t.Run(want, func(t *testing.T) {
			err := Validate(r)
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want an error with %q", err, want)
			}
		})
	}
}

// A rule that says nothing new is written as it was before there was more to say,
// and one that was written then means what it meant.
func TestOldRulesStayAsTheyAre(t *testing.T) {
	old := &Group{Rules: []*Rule{{Direction: "ingress", Protocol: "tcp", Ports: "80,8000-8100", Peer: "group:lb"}}}
	rules, err := old.PolicyRules()
	if err != nil || len(rules) != 1 {
		t.Fatalf("got %v, %v", rules, err)
	}
	if r := rules[0]; r.Action != policy.Allow || r.Priority.Number() != policy.DefaultPriority || r.Disabled || r.ID() != "212f967d526a" {
		t.Errorf("it means %v now, with the id %s", r, r.ID())
	}
	if again := RuleText(rules[0]); !proto.Equal(again, old.GetRules()[0]) {
		t.Errorf("it is written %v now", again)
	}
}

// A claim that no later attach could beat would hold its address for good.
func TestClaimsAreNotFromTheFuture(t *testing.T) {
	e := goodEndpoint()
	e.Claim, e.Prefixes, e.Announced = 6, []string{"10.0.0.100/32"}, []*Announced{{Address: "10.0.0.100", Version: 7}}
	r := mesh.Record{Kind: mesh.KindEndpoint, Key: EndpointKey(nodeID, 7, "web-1"), Payload: marshal(t, e)}
	for version, good := range map[mesh.Version]bool{0: true, 6: false, 7: true, 8: true} {
		r.Version = version
		if err := Validate(r); (err == nil) != good {
			t.Errorf("version %d: %v", version, err)
		}
	}
}

func TestSpecialAddressesAreNotForEndpoints(t *testing.T) {
	prefixes := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/24"), netip.MustParsePrefix("10.1.0.0/30"), netip.MustParsePrefix("fd00:1::/64")}
	for addr, want := range map[string]string{
		"10.0.0.0": "network address", "10.0.0.1": "gateway", "10.0.0.255": "broadcast", "10.1.0.3": "broadcast",
		"10.0.1.5": "in none of the VPC's prefixes", "10.0.0.2": "", "10.0.0.254": "", "10.1.0.2": "",
		"fd00:1::": "network address", "fd00:1::1": "gateway", "fd00:1::2": "", "fd00:1::ffff:ffff:ffff:ffff": "", "fd00:2::5": "in none",
	} {
		_, err := CheckAddress(prefixes, netip.MustParseAddr(addr))
		if (err == nil) != (want == "") || (err != nil && !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: got %v, want %q", addr, err, want)
		}
	}
}

func TestPrefixesBehindAnEndpointAreInsideTheVPC(t *testing.T) {
	prefixes := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/24"), netip.MustParsePrefix("fd00:1::/64")}
	for prefix, want := range map[string]string{
		"10.0.0.0/24": "", "10.0.0.0/25": "", "10.0.0.100/32": "", "fd00:1::/72": "", "fd00:1::5/128": "",
		"10.0.0.0/23": "in none of the VPC's prefixes 10.0.0.0/24,fd00:1::/64", "10.0.1.0/25": "in none", "fd00::/16": "in none",
		"10.0.0.1/32": "gateway", "10.0.0.255/32": "broadcast", "fd00:1::/128": "network address",
	} {
		err := CheckRouted(prefixes, netip.MustParsePrefix(prefix))
		if (err == nil) != (want == "") || (err != nil && !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: got %v, want %q", prefix, err, want)
		}
	}
}

// What is valid can be decoded and used without a panic.
func FuzzValidate(f *testing.F) {
	f.Add("endpoint", EndpointKey(nodeID, 7, "web-1"), marshal(f, goodEndpoint()))
	f.Add("vpc", "blue", marshal(f, &VPC{Vni: 7, Cidrs: []string{"10.0.0.0/24"}}))
	f.Add("group", "7/web", marshal(f, &Group{Rules: []*Rule{{Direction: "ingress", Protocol: "tcp", Ports: "80", Peer: "any"}}}))
	f.Add("tunnels", "policy", marshal(f, &Tunnels{Rules: []*TunnelRule{{Between: "any", Technology: "ipsec"}}}))
	f.Add("grant", EndpointKey(nodeID, 7, "web-1"), marshal(f, goodGrant()))
	f.Add("settings", "mesh", marshal(f, &Settings{RequireGrants: true, RequiredFromMs: 1}))
	f.Add("tests", "7", marshal(f, &Tests{Tests: []*Test{{Assertion: "a reaches b:1"}}}))
	f.Add("shadow", "7", marshal(f, &Shadow{Groups: []*ShadowGroup{{Name: "web", Rules: []*Rule{{Direction: "ingress", Protocol: "tcp", Ports: "80", Peer: "any"}}}}}))
	f.Fuzz(func(t *testing.T, kind, key string, payload []byte) {
		r := mesh.Record{Kind: mesh.Kind(kind), Key: key, Payload: payload}
		if Validate(r) != nil {
			return
		}
		if r.Kind != mesh.KindNode && Validate(mesh.Record{Kind: r.Kind, Key: key, Payload: append(slices.Clone(payload), 0xa0, 0x06, 1)}) == nil {
			t.Errorf("a %s record with one field more is as good", kind)
		}
		checkValid(t, r)
	})
}

// checkValid decodes what is valid.
func checkValid(t *testing.T, r mesh.Record) {
	t.Helper()
	switch r.Kind {
	case mesh.KindVPC:
		v, err := DecodeVPC(r)
		if err != nil || len(v.Prefixes()) != len(v.GetCidrs()) {
			t.Errorf("a valid VPC gives %v, %v", v, err)
		}
	case mesh.KindGroup:
		g, err := DecodeGroup(r)
		if err != nil {
			t.Fatal(err)
		}
		rules, err := g.PolicyRules()
		if err != nil || len(rules) != len(g.GetRules()) {
			t.Errorf("a valid group gives %v, %v", rules, err)
		}
	case mesh.KindEndpoint:
		e, err := DecodeEndpoint(r)
		if err != nil {
			t.Fatal(err)
		}
		if addrs, err := e.Addresses(); err != nil || len(addrs) == 0 {
			t.Errorf("a valid endpoint gives %v, %v", addrs, err)
		}
		if routed, err := e.Routed(); err != nil || len(routed) != len(e.GetPrefixes()) {
			t.Errorf("a valid endpoint gives %v, %v", routed, err)
		}
	case mesh.KindTunnels:
		checkTunnels(t, r)
	case mesh.KindGrant:
		checkGrant(t, r)
	case mesh.KindSettings:
		if _, err := DecodeSettings(r); err != nil {
			t.Error(err)
		}
	case mesh.KindTests:
		if _, err := DecodeTests(r); err != nil {
			t.Error(err)
		}
	case mesh.KindShadow:
		s, err := DecodeShadow(r)
		if err != nil {
			t.Fatal(err)
		}
		if groups, err := s.PolicyGroups(); err != nil || len(groups) != len(s.GetGroups()) {
			t.Errorf("valid candidates give %v, %v", groups, err)
		}
	case mesh.KindNode, mesh.KindEviction, mesh.KindGossipKey: // pkg/mesh reads them itself
	}
}

// checkGrant decodes a valid grant: it is what it is made of.
func checkGrant(t *testing.T, r mesh.Record) {
	t.Helper()
	g, err := DecodeGrant(r)
	if err != nil {
		t.Fatal(err)
	}
	addrs, err := g.Addresses()
	routed, wrong := g.Routed()
	again := GrantOf(addrs, routed, g.GetGroups())
	again.ExpiresMs, again.CreatedMs = g.GetExpiresMs(), g.GetCreatedMs()
	if err != nil || wrong != nil || !proto.Equal(again, g) {
		t.Errorf("a valid grant is %v, %v, %v", again, err, wrong)
	}
}

// A record that gets an earlier version says of no later one.
func TestRestampedClaimsAreNoLaterThanTheirRecord(t *testing.T) {
	e := &Endpoint{
		Ip: "10.0.0.5", Kind: KindTap, Device: "tap0", Claim: 900, Prefixes: []string{"10.0.1.0/24"},
		Announced: []*Announced{{Address: "10.0.1.1", Version: 950}, {Address: "10.0.1.2", Version: 7}},
	}
	r := mesh.Record{Kind: mesh.KindEndpoint, Key: "1111111111111111111111111111111111111111/7/e", Version: 100, Payload: marshal(t, e)}
	if err := Validate(r); err == nil {
		t.Fatal("a claim from the future is valid")
	}
	payload, err := Restamp(r)
	if err != nil {
		t.Fatal(err)
	}
	r.Payload = payload
	if err := Validate(r); err != nil {
		t.Error(err)
	}
	if e, err := DecodeEndpoint(r); err != nil || e.GetClaim() != 100 || e.GetAnnounced()[1].GetVersion() != 7 {
		t.Errorf("it is %v, %v", e, err)
	}
	group := mesh.Record{Kind: mesh.KindGroup, Payload: []byte("as it is")}
	if payload, err := Restamp(group); err != nil || string(payload) != "as it is" {
		t.Errorf("a group becomes %q, %v", payload, err)
	}
}
