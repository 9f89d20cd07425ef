package ipsec

import (
	"log/slog"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"edgenet.dev/edgenet/pkg/tunnel"
	"edgenet.dev/edgenet/pkg/tunnel/internal/device"
	"edgenet.dev/edgenet/pkg/tunnel/internal/proc"
)

func TestTheKernelIsCompared(t *testing.T) {
	key, prefix := tunnel.PublicKey{1}, netip.MustParsePrefix("fd12:3400:0:2::/64")
	own := netip.MustParsePrefix("fd12:3400:0:1::/64")
	s := &snapshot{
		conns: map[tunnel.PublicKey]conn{key: {prefix: prefix, child: childName{reqID: 3}}},
		sas: map[tunnel.PublicKey][]ikeSA{key: {{
			id: 5, state: "ESTABLISHED",
			children: []childSA{{state: "INSTALLED", reqID: 3, spiIn: 10, spiOut: 11}},
		}}},
	}
	began := time.Unix(1000, 0)
	state := func(spi, reqID int) netlink.XfrmState {
		return netlink.XfrmState{Spi: spi, Reqid: reqID, Statistics: netlink.XfrmStateStats{AddTime: 999}}
	}
	young := state(12, 3)
	young.Statistics.AddTime = 1000
	policies := []netlink.XfrmPolicy{
		{Dir: netlink.XFRM_DIR_OUT, Src: device.IPNet(own), Dst: device.IPNet(prefix)},
		{Dir: netlink.XFRM_DIR_IN, Src: device.IPNet(prefix), Dst: device.IPNet(own)},
		{Dir: netlink.XFRM_DIR_FWD, Src: device.IPNet(prefix), Dst: device.IPNet(own)},
	}
	both := []netlink.XfrmState{state(10, 3), state(11, 3)}
	for _, c := range []struct {
		name                    string
		states                  []netlink.XfrmState
		policies                []netlink.XfrmPolicy
		lost, orphans, deserted int
	}{
		{name: "all is there", states: both, policies: policies},
		{name: "no states", policies: policies, lost: 1},
		{name: "half of the states", states: both[:1], policies: policies, lost: 1},
		{name: "no policies", states: both, lost: 1},
		{name: "no outbound policy", states: both, policies: policies[1:], lost: 1},
		{name: "an orphan", states: append(slices.Clone(both), state(12, 3)), policies: policies, orphans: 1},
		{name: "a deserted one", states: append(slices.Clone(both), state(12, 4)), policies: policies, deserted: 1},
		{name: "one that charon does not speak of yet", states: append(slices.Clone(both), young), policies: policies},
	} {
		k := newKernelView(s, c.states, c.policies, began)
		if len(k.lost) != c.lost || c.lost == 1 && k.lost[10] != (lostSA{peer: key, ike: 5}) || len(k.orphans) != c.orphans || len(k.deserted) != c.deserted {
			t.Errorf("%s: got %+v", c.name, k)
		}
	}
}

// What is left for a peer that is configured, or has SAs, stays; what is left for
// others goes.
func TestStalePoliciesAreFound(t *testing.T) {
	own := netip.MustParsePrefix("fd12:3400:0:1::/64")
	policy := func(dir netlink.Dir, remote string, reqID int) netlink.XfrmPolicy {
		p := netlink.XfrmPolicy{
			Dir: dir, Src: device.IPNet(netip.MustParsePrefix(remote)), Dst: device.IPNet(own),
			Tmpls: []netlink.XfrmPolicyTmpl{{Reqid: reqID}},
		}
		if dir == netlink.XFRM_DIR_OUT {
			p.Src, p.Dst = p.Dst, p.Src
		}
		return p
	}
	s := &snapshot{
		conns: map[tunnel.PublicKey]conn{{1}: {prefix: netip.MustParsePrefix("fd12:3400:0:2::/64"), child: childName{reqID: 3}}},
		sas:   map[tunnel.PublicKey][]ikeSA{{2}: {{state: "ESTABLISHED", children: []childSA{{reqID: 4}}}}},
	}
	kept := []netlink.XfrmPolicy{
		policy(netlink.XFRM_DIR_OUT, "fd12:3400:0:2::/64", 3),
		policy(netlink.XFRM_DIR_IN, "fd12:3400:0:2::/64", 9), // of the SAs before, which serve yet
		policy(netlink.XFRM_DIR_OUT, "fd12:3400:0:3::/64", 4),
	}
	left := []netlink.XfrmPolicy{
		policy(netlink.XFRM_DIR_OUT, "fd12:3400:0:4::/64", 3+2),
		policy(netlink.XFRM_DIR_IN, "fd12:3400:0:4::/64", 3+2),
	}
	got := stalePolicies(s, append(slices.Clone(kept), left...))
	if len(got) != len(left) {
		t.Fatalf("stale are %v, want %v", got, left)
	}
	for i, p := range got {
		if p.Dir != left[i].Dir || remotePrefix(p) != remotePrefix(left[i]) {
			t.Errorf("stale is %v, want %v", p, left[i])
		}
	}
}

// What an earlier charon left is of use until this daemon has put all peers, however old
// the charon is that it finds.
func TestNothingIsStaleBeforeAllIsPut(t *testing.T) {
	clock := time.Unix(1000, 0)
	d := newDriver(Config{Logger: slog.New(slog.DiscardHandler), Now: func() time.Time { return clock }}.withDefaults())
	for pid := 7; pid < 9; pid++ {
		for range 3 { // rounds
			d.adopted(&proc.Process{PID: pid})
			if d.hasPut() {
				t.Errorf("charon %d is done with after %s", pid, d.now().Sub(d.met))
			}
			clock = clock.Add(freshAge / 3)
		}
		clock = clock.Add(freshAge % 3)
		if d.adopted(&proc.Process{PID: pid}); !d.hasPut() {
			t.Errorf("charon %d is not done with after %s", pid, freshAge)
		}
	}
}
