package ipsec

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"edgenet.dev/edgenet/pkg/tunnel"
)

// What charon says of a configuration is enough to know it again.
func TestConfigurationsAreKnownAgain(t *testing.T) {
	l := local{
		key: someKey(t).Public(), device: tunnel.Device{Address: netip.MustParseAddr("fd12:3400:0:1::1"), ListenPort: 4501},
		lifetimes: DefaultLifetimes,
	}
	want := tunnel.Peer{
		PublicKey: tunnel.PublicKey{9}, Prefix: netip.MustParsePrefix("fd12:3400:0:2::/64"),
		Endpoint: netip.MustParseAddrPort("[2001:db8::1]:4500"), Keepalive: 1500 * time.Millisecond,
	}
	names := make(map[string]bool)
	name := func(l local, p tunnel.Peer, reqID uint32) string {
		c, err := l.config(p, reqID)
		if err != nil {
			t.Fatal(err)
		}
		n, child := c.child()
		if len(child.LocalTS) != 1 || child.LocalTS[0] != "fd12:3400:0:1::/64" || len(child.RemoteTS) != 1 || child.RemoteTS[0] != p.Prefix.String() {
			t.Errorf("selectors are %v and %v, want the two prefixes", child.LocalTS, child.RemoteTS)
		}
		if got, ok := parseChildName(n); !ok || got.String() != n || got.port != p.Endpoint.Port() || got.reqID != reqID {
			t.Errorf("%q is read as %+v", n, got)
		}
		names[n] = true
		return n
	}
	name(l, want, 7)
	name(l, want, 7) // which is the same
	moved, other := want, l
	moved.Endpoint = netip.MustParseAddrPort("[2001:db8::2]:4500")
	name(l, moved, 7)
	moved.Endpoint = netip.AddrPort{}
	name(l, moved, 7)
	moved.Keepalive = 0
	name(l, moved, 7)
	name(l, want, 8)
	other.ifID = 5
	name(other, want, 7)
	other.lifetimes.Child++
	other.device.ListenPort++
	name(other, want, 7)
	if len(names) != 7 {
		t.Errorf("7 configurations have %d names", len(names))
	}
	if key, ok := parseConnName(connName(want.PublicKey)); !ok || key != want.PublicKey {
		t.Error("a name does not lead back to its key")
	}
}

func FuzzNamesOfOthers(f *testing.F) {
	f.Add("p51820-r1-0a1b2c3d")
	f.Add("p0-r4294967295-")
	f.Add("p+1-r1-x")
	f.Fuzz(func(t *testing.T, s string) {
		if n, ok := parseChildName(s); ok && n.String() != s {
			t.Errorf("%q is read as %q", s, n)
		}
		if key, ok := parseConnName(s); ok && !strings.EqualFold(connName(key), s) {
			t.Errorf("%q is read as %q", s, connName(key))
		}
	})
}
