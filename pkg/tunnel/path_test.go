package tunnel_test

import (
	"errors"
	"net/netip"
	"testing"

	"edgenet.dev/edgenet/pkg/tunnel"
)

func links(pairs ...string) []tunnel.Link {
	var out []tunnel.Link
	for i := 0; i < len(pairs); i += 2 {
		out = append(out, tunnel.Link{Addr: netip.MustParseAddr(pairs[i]), Carrier: pairs[i+1]})
	}
	return out
}

func TestChooseLinks(t *testing.T) {
	for _, c := range []struct {
		name          string
		local, remote []tunnel.Link
		from, to      string // empty: no path
	}{
		{"the only pair", links("192.0.2.1", ""), links("198.51.100.1", ""), "192.0.2.1", "198.51.100.1"},
		{
			"the first pair of no common carrier",
			links("192.0.2.1", "telecom", "192.0.2.2", "mobile"),
			links("198.51.100.1", "unicom", "198.51.100.2", ""),
			"192.0.2.1", "198.51.100.1",
		},
		{
			"a common carrier before the order",
			links("192.0.2.1", "telecom", "192.0.2.2", "mobile"),
			links("198.51.100.1", "unicom", "198.51.100.2", "mobile"),
			"192.0.2.2", "198.51.100.2",
		},
		{
			"the local order among common carriers",
			links("192.0.2.2", "mobile", "192.0.2.1", "telecom"),
			links("198.51.100.1", "telecom", "198.51.100.2", "mobile"),
			"192.0.2.2", "198.51.100.2",
		},
		{
			"unknown carriers are not common",
			links("192.0.2.1", "telecom", "192.0.2.2", ""),
			links("198.51.100.1", "", "198.51.100.2", "telecom"),
			"192.0.2.1", "198.51.100.2",
		},
		{
			"a common family before a common carrier",
			links("2001:db8::1", "telecom", "192.0.2.2", "mobile"),
			links("198.51.100.1", "telecom"),
			"192.0.2.2", "198.51.100.1",
		},
		{"IPv6", links("192.0.2.1", "", "2001:db8::1", ""), links("2001:db8::2", ""), "2001:db8::1", "2001:db8::2"},
		{"IPv4 mapped to IPv6 is IPv4", links("::ffff:192.0.2.1", ""), links("198.51.100.1", ""), "192.0.2.1", "198.51.100.1"},
		{"no common family", links("192.0.2.1", "telecom"), links("2001:db8::2", "telecom"), "", ""},
		{"an invalid address", []tunnel.Link{{}}, []tunnel.Link{{}}, "", ""},
		{"no links", nil, links("2001:db8::2", ""), "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			from, to, err := tunnel.ChooseLinks(c.local, c.remote)
			if c.from == "" {
				if !errors.Is(err, tunnel.ErrNoPath) {
					t.Errorf("got %s, %s, %v, want %v", from, to, err, tunnel.ErrNoPath)
				}
				return
			}
			if err != nil || from.String() != c.from || to.String() != c.to {
				t.Errorf("got %s, %s, %v, want %s, %s", from, to, err, c.from, c.to)
			}
		})
	}
}

func TestMTU(t *testing.T) {
	v4, v6 := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	for _, c := range []struct {
		underlay int
		remote   netip.Addr
		want     int
	}{
		{1500, v4, 1440},
		{1500, v6, 1420},
		{1500, netip.MustParseAddr("::ffff:192.0.2.1"), 1440},
		{1492, v4, 1432},
		{9000, v6, 8920},
		{1300, v4, tunnel.MinMTU},
		{0, v6, tunnel.MinMTU},
	} {
		if got := tunnel.MTU(c.underlay, c.remote); got != c.want {
			t.Errorf("MTU(%d, %s) is %d, want %d", c.underlay, c.remote, got, c.want)
		}
	}
}

// A packet of the MTU fits the underlay, and one of a byte more does not.
func TestESPMTU(t *testing.T) {
	for outer, remote := range map[int]netip.Addr{
		20: netip.MustParseAddr("::ffff:192.0.2.1"), 40: netip.MustParseAddr("2001:db8::1"),
	} {
		// ESP's header, IV and ICV around padding to multiples of 4, within UDP.
		size := func(inner int) int { return outer + 8 + 8 + 8 + (inner+2+3)/4*4 + 16 }
		for underlay := 1280; underlay <= 9000; underlay++ {
			got := tunnel.ESPRoom(underlay, remote)
			if size(got) > underlay || size(got+1) <= underlay || tunnel.ESPMTU(underlay, remote) != max(got, tunnel.MinMTU) {
				t.Fatalf("ESPRoom(%d, %s) is %d: packets are of %d bytes outside", underlay, remote, got, size(got))
			}
		}
		if got := tunnel.ESPMTU(1300, remote); got != tunnel.MinMTU {
			t.Errorf("ESPMTU(1300, %s) is %d, want %d", remote, got, tunnel.MinMTU)
		}
	}
}

func TestUnderlayMTU(t *testing.T) {
	got, err := tunnel.UnderlayMTU(netip.MustParseAddr("127.0.0.1"))
	if err != nil || got < 1500 {
		t.Errorf("MTU of loopback is %d, %v, want at least 1500", got, err)
	}
	if _, err := tunnel.UnderlayMTU(netip.MustParseAddr("192.0.2.1")); err == nil {
		t.Error("an address that no device carries has an MTU")
	}
}
