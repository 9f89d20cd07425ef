package records

import (
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"edgenet.dev/edgenet/pkg/mesh"
	"edgenet.dev/edgenet/pkg/tunnel"
)

func TestAnnouncementsAreChecked(t *testing.T) {
	key, other := make([]byte, 32), append([]byte{1}, make([]byte, 31)...)
	for _, c := range []struct {
		want string // empty: is good
		a    *Announcement
	}{
		{"", &Announcement{Wireguard: &WireGuard{PublicKey: key, Port: 51820}}},
		{"", &Announcement{Wireguard: &WireGuard{PublicKey: key, Port: 51820}, Ipsec: &IPsec{Port: 4500}}},
		{"", &Announcement{Ipsec: &IPsec{Port: 1, Driver: "ipsec-kernel"}}},
		{"", &Announcement{Wireguard: &WireGuard{PublicKey: key, Port: 51820, NextPublicKey: other}}},
		{"next WireGuard key of 31 bytes", &Announcement{Wireguard: &WireGuard{PublicKey: key, Port: 51820, NextPublicKey: other[1:]}}},
		{"same half", &Announcement{Wireguard: &WireGuard{PublicKey: key, Port: 51820, NextPublicKey: key}}},
		{"names no tunnel", &Announcement{}},
		{"key of 31 bytes", &Announcement{Wireguard: &WireGuard{PublicKey: key[1:], Port: 51820}}},
		{"key of 31 bytes", &Announcement{Wireguard: &WireGuard{PublicKey: key[1:], Port: 51820}, Ipsec: &IPsec{Port: 4500}}},
		{"port 65536", &Announcement{Wireguard: &WireGuard{PublicKey: key, Port: 65536}}},
		{"IPsec port 0", &Announcement{Ipsec: &IPsec{}}},
		{"IPsec port 65536", &Announcement{Wireguard: &WireGuard{PublicKey: key, Port: 51820}, Ipsec: &IPsec{Port: 65536}}},
	} {
		_, err := DecodeAnnouncement(marshal(t, c.a))
		if (err == nil) != (c.want == "") || (err != nil && !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%v: got %v, want %q", c.a, err, c.want)
		}
	}
}

// One from before there was more than WireGuard, and one from a version that
// knows a technology that this one does not.
func TestAnnouncementsOfOtherVersionsAreUnderstood(t *testing.T) {
	old := protowire.AppendTag(nil, 1, protowire.BytesType)
	old = protowire.AppendBytes(old, marshal(t, &WireGuard{PublicKey: make([]byte, 32), Port: 51820, Driver: "wireguard-kernel"}))
	newer := protowire.AppendTag(slices.Clone(old), 15, protowire.BytesType)
	newer = protowire.AppendBytes(newer, []byte("what is to come"))
	for _, b := range [][]byte{old, newer} {
		a, err := DecodeAnnouncement(b)
		if err != nil || !slices.Equal(a.Drivers(), []string{"wireguard-kernel"}) || a.GetWireguard().GetPort() != 51820 {
			t.Errorf("got %v, %v", a, err)
		}
	}
	if _, err := DecodeAnnouncement(newer[len(old):]); err == nil {
		t.Error("an announcement of nothing that is known here is taken")
	}
}

func FuzzDecodeAnnouncement(f *testing.F) {
	f.Add(marshal(f, &Announcement{Wireguard: &WireGuard{PublicKey: make([]byte, 32), Port: 51820}, Ipsec: &IPsec{Port: 4500}}))
	f.Add(marshal(f, &Announcement{Lacks: "no /dev/net/tun", Excluded: []string{"ipsec-kernel"}, IdleMs: proto.Uint64(5)}))
	f.Add(marshal(f, &Announcement{Wireguard: &WireGuard{
		PublicKey: make([]byte, 32), Port: 51820, Driver: "wireguard-kernel", NextPublicKey: slices.Repeat([]byte{9}, 32), Proof: []byte("p"), NextProof: []byte("q"),
	}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := DecodeAnnouncement(b)
		if err != nil {
			return
		}
		if n := len(a.Drivers()); n < 1 && a.GetLacks() == "" || n > 2 {
			t.Errorf("a good announcement has %d drivers", n)
		}
		if w := a.GetWireguard(); w != nil && len(w.GetPublicKey()) != len(tunnel.PublicKey{}) {
			t.Errorf("a good announcement has a key of %d bytes", len(w.GetPublicKey()))
		}
	})
}

func TestTunnelPoliciesAreValidated(t *testing.T) {
	many := &Tunnels{Rules: slices.Repeat([]*TunnelRule{{Between: "any", Technology: "ipsec"}}, tunnel.MaxRules+1)}
	for _, c := range []struct {
		want string // empty: is valid
		t    *Tunnels
	}{
		{"", &Tunnels{}},
		{"", &Tunnels{Rules: []*TunnelRule{
			{Between: "node:a,node:b", Technology: "wireguard"}, {Between: "cloud-edge", Technology: "ipsec"}, {Between: "any", Technology: "wireguard"},
		}}},
		{"1025 rules", many},
		{"two rules for cloud-edge", &Tunnels{Rules: []*TunnelRule{{Between: "cloud-edge", Technology: "ipsec"}, {Between: "edge-cloud", Technology: "ipsec"}}}},
		{`role "moon"`, &Tunnels{Rules: []*TunnelRule{{Between: "edge-moon", Technology: "ipsec"}}}},
		{"write any", &Tunnels{Rules: []*TunnelRule{{Between: "all", Technology: "ipsec"}}}},
		{"parse technology", &Tunnels{Rules: []*TunnelRule{{Between: "any", Technology: "plain"}}}},
	} {
		err := Validate(mesh.Record{Kind: mesh.KindTunnels, Key: mesh.PolicyKey, Payload: marshal(t, c.t)})
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %q", err, c.want)
		}
	}
	r := mesh.Record{Kind: mesh.KindTunnels, Key: mesh.PolicyKey, Payload: append(marshal(t, &Tunnels{}), 0x78, 1)}
	if err := Validate(r); err == nil || !strings.Contains(err.Error(), "does not know") {
		t.Errorf("a policy that says more than is known here: %v", err)
	}
}

// checkTunnels checks what is made of a valid policy.
func checkTunnels(t *testing.T, r mesh.Record) {
	t.Helper()
	p, err := DecodeTunnels(r)
	if err != nil {
		t.Fatal(err)
	}
	again, err := TunnelsOf(p).Policy()
	if err != nil || !slices.Equal(again.Rules(), p.Rules()) {
		t.Errorf("a valid tunnel policy %v becomes %v, %v", p.Rules(), again.Rules(), err)
	}
}
