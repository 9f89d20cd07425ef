package daemon

import (
	"net/netip"
	"testing"
)

func TestAnInterfaceWithIPv6HasTheMTUThatIPv6Needs(t *testing.T) {
	v4, v6 := netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("fd00::2")
	for _, c := range []struct {
		addrs      []netip.Addr
		over, want int
	}{
		{[]netip.Addr{v4}, 1260, 1260},
		{[]netip.Addr{v4, v6}, 1260, 1280},
		{[]netip.Addr{v6}, 1400, 1400},
	} {
		if got := (&endpoint{addrs: c.addrs}).mtu(c.over); got != c.want {
			t.Errorf("MTU of %v over %d is %d, want %d", c.addrs, c.over, got, c.want)
		}
	}
}
