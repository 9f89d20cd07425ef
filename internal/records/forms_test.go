package records

import (
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"edgenet.dev/edgenet/pkg/mesh"
)

// What one payload says no other payload says: not with fields in another order,
// twice, or longer than they need to be, and not with more than is known here,
// however deep.
func TestPayloadsInOtherFormsAreRefused(t *testing.T) {
	vpc := &VPC{Vni: 7, Cidrs: []string{"10.0.0.0/24"}, CreatedMs: 5}
	rule := &Rule{Direction: "ingress", Protocol: "tcp", Ports: "80", Peer: "any"}
	unknown := protowire.AppendVarint(protowire.AppendTag(nil, 100, protowire.VarintType), 1)
	nested := func(number protowire.Number, inner []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(nil, number, protowire.BytesType), inner)
	}
	vni := marshal(t, &VPC{Vni: 7})
	cidrs := marshal(t, &VPC{Cidrs: vpc.GetCidrs()})
	endpoint := marshal(t, goodEndpoint())
	for name, c := range map[string]struct {
		kind    mesh.Kind
		key     string
		payload []byte
		good    bool
	}{
		"a VPC":                           {mesh.KindVPC, "blue", slices.Concat(vni, cidrs), true},
		"fields in another order":         {mesh.KindVPC, "blue", slices.Concat(cidrs, vni), false},
		"a field twice":                   {mesh.KindVPC, "blue", slices.Concat(vni, vni, cidrs), false},
		"another value before it":         {mesh.KindVPC, "blue", slices.Concat(marshal(t, &VPC{Vni: 8}), vni, cidrs), false},
		"a number longer than it is":      {mesh.KindVPC, "blue", slices.Concat([]byte{1 << 3, 0x87, 0}, cidrs), false},
		"a number beyond its bits":        {mesh.KindVPC, "blue", slices.Concat([]byte{1 << 3, 0x87, 0x80, 0x80, 0x80, 0x80, 1}, cidrs), false},
		"a zero that is said":             {mesh.KindVPC, "blue", slices.Concat(vni, cidrs, []byte{3 << 3, 0}), false},
		"a field that is unknown":         {mesh.KindVPC, "blue", slices.Concat(vni, cidrs, unknown), false},
		"a group":                         {mesh.KindGroup, "7/web", nested(1, marshal(t, rule)), true},
		"a rule with an unknown field":    {mesh.KindGroup, "7/web", nested(1, slices.Concat(marshal(t, rule), unknown)), false},
		"candidates":                      {mesh.KindShadow, "7", nested(1, slices.Concat(nested(1, []byte("web")), nested(2, marshal(t, rule)))), true},
		"an unknown field deep down":      {mesh.KindShadow, "7", nested(1, slices.Concat(nested(1, []byte("web")), nested(2, slices.Concat(marshal(t, rule), unknown)))), false},
		"an endpoint":                     {mesh.KindEndpoint, EndpointKey(nodeID, 7, "e"), endpoint, true},
		"an endpoint with a field of old": {mesh.KindEndpoint, EndpointKey(nodeID, 7, "e"), slices.Concat(nested(1, []byte("10.0.0.9")), endpoint), false},
	} {
		if err := Validate(mesh.Record{Kind: c.kind, Key: c.key, Payload: c.payload}); (err == nil) != c.good {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The biggest endpoint that there can be is taken; many empty parts are not even
// looked at.
func TestEndpointsAreBounded(t *testing.T) {
	long := func(n int) string { return strings.Repeat("x", n) }
	e := &Endpoint{
		Ip: "10.0.0.5", Mac: "02:00:00:00:00:01", Kind: KindNetns, Netns: "/" + long(maxText-1), Ifname: long(maxInterfaceName),
		Claim: 1<<64 - 1, AttachedMs: 1<<63 - 1, Problem: long(maxText), Superseded: true,
	}
	for range MaxGroups {
		e.Groups = append(e.Groups, long(63))
	}
	for i := range MaxAddresses - 1 {
		e.MoreIps = append(e.MoreIps, strings.ReplaceAll("2001:db81:1111:1111:1111:1111:1111:11xx", "xx", string(rune('a'+i%6))+string(rune('a'+i/6))))
	}
	for range MaxAnnounced {
		e.Announced = append(e.Announced, &Announced{Address: "2001:db81:1111:1111:1111:1111:1111:1111", Version: 1<<64 - 1})
	}
	for range MaxPrefixes {
		e.Prefixes = append(e.Prefixes, "2001:db81:1111:1111:1111:1111:1111:1111/128")
	}
	if n := len(marshal(t, e)); n > maxEndpoint/2 {
		t.Errorf("the biggest endpoint has %d bytes", n)
	}
	flood := slices.Repeat([]byte{14<<3 | 2, 0}, mesh.MaxPayload/2)
	r := mesh.Record{Kind: mesh.KindEndpoint, Key: EndpointKey(nodeID, 7, "e"), Payload: flood}
	cost := testing.AllocsPerRun(1, func() {
		if Validate(r) == nil {
			t.Error("it is taken")
		}
	})
	if cost > 100 {
		t.Errorf("refusing it takes %.0f allocations", cost)
	}
}

// Keys are taken apart without a panic, and are what they are made of.
func FuzzKeys(f *testing.F) {
	f.Add(EndpointKey(nodeID, 7, "web-1"))
	f.Add(GroupKey(1, "web"))
	f.Add(VPCKey(MaxVNI))
	f.Fuzz(func(t *testing.T, key string) {
		if vni, name, err := SplitGroupKey(key); err == nil && GroupKey(vni, name) != key {
			t.Errorf("%q is %d and %q", key, vni, name)
		}
		if node, vni, name, err := SplitEndpointKey(key); err == nil && EndpointKey(node, vni, name) != key {
			t.Errorf("%q is %q, %d and %q", key, node, vni, name)
		}
		if vni, err := SplitVPCKey(key); err == nil && VPCKey(vni) != key {
			t.Errorf("%q is %d", key, vni)
		}
	})
}

// Texts that people and other nodes write are taken in one form.
func FuzzTexts(f *testing.F) {
	for _, text := range []string{"10.0.0.0/24", "fd00:1::/64", "10.0.0.5", "02:00:00:00:00:01", "eth0", "node:a,node:b", "cloud-edge", "any"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if ps, err := ParseCIDRs([]string{text}); err == nil && (len(ps) != 1 || ps[0] != ps[0].Masked()) {
			t.Errorf("%q is %v", text, ps)
		}
		if a, err := ParseAddress(text); err == nil && (!a.IsValid() || a.Is4In6() || a.Zone() != "") {
			t.Errorf("%q is %v", text, a)
		}
		if m, err := ParseMAC(text); err == nil && (len(m) != 6 || m[0]&1 != 0) {
			t.Errorf("%q is %v", text, m)
		}
		if CheckInterfaceName(text) == nil && (len(text) > maxInterfaceName || strings.ContainsAny(text, "/\x00 ")) {
			t.Errorf("%q names an interface", text)
		}
		s, err := ParseTunnelSelector(text)
		if err != nil {
			return
		}
		if again, err := ParseTunnelSelector(s.String()); err != nil || again != s {
			t.Errorf("%q is %v, which is %v, %v", text, s, again, err)
		}
	})
}
