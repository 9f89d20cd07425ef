package ipsec

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/strongswan/govici/vici"
	"github.com/vishvananda/netlink"

	"edgenet.dev/edgenet/pkg/tunnel"
)

// What charon says that no Put made is a stray, whatever it is.
func TestStrangeListsAreStrays(t *testing.T) {
	nested := func(pairs ...any) *vici.Message {
		m := vici.NewMessage()
		for i := 0; i < len(pairs); i += 2 {
			if err := m.Set(pairs[i].(string), pairs[i+1]); err != nil {
				t.Fatal(err)
			}
		}
		return m
	}
	own := connName(tunnel.PublicKey{1})
	child := func(name string, ts ...string) *vici.Message {
		return nested("remote_addrs", []string{"192.0.2.1"}, "dpd_delay", "25",
			"children", nested(name, nested("remote-ts", ts)))
	}
	for what, m := range map[string]*vici.Message{
		"another name":        nested("web", child("p1-r1-00", "fd12:3400:0:2::/64")),
		"no section":          nested(own, "text"),
		"no child":            nested(own, nested("children", nested())),
		"a strange child":     nested(own, child("net", "fd12:3400:0:2::/64")),
		"two selectors":       nested(own, child("p1-r1-00", "fd12:3400:0:2::/64", "::/0")),
		"a strange selector":  nested(own, child("p1-r1-00", "dynamic")),
		"no address":          nested(own, nested("remote_addrs", []string{"%any"}, "children", nested("p1-r1-00", nested("remote-ts", []string{"::/0"})))),
		"upper-case hex name": nested(strings.ToUpper(connName(tunnel.PublicKey{0xab})), child("net", "::/0")),
	} {
		s := &snapshot{conns: map[tunnel.PublicKey]conn{}, sas: map[tunnel.PublicKey][]ikeSA{}, loaded: map[string]bool{}}
		s.addConns(m)
		if len(s.conns) != 0 || len(s.strays) != 1 || !s.loaded[s.strays[0]] {
			t.Errorf("%s: read as %+v", what, s)
		}
	}
	s := &snapshot{conns: map[tunnel.PublicKey]conn{}, sas: map[tunnel.PublicKey][]ikeSA{}, loaded: map[string]bool{}}
	s.addConns(nested(own, child("p5-r1-00", "fd12:3400:0:2::/64")))
	want := conn{
		child: childName{port: 5, reqID: 1, digest: "00"}, endpoint: netip.MustParseAddrPort("192.0.2.1:5"),
		prefix: netip.MustParsePrefix("fd12:3400:0:2::/64"), keepalive: 25 * time.Second,
	}
	if s.conns[tunnel.PublicKey{1}] != want {
		t.Errorf("read as %+v, want %+v", s.conns, want)
	}
	s.addSAs(nested("(unnamed)", nested("state", "CONNECTING"), "web", nested("state", "ESTABLISHED"), own, "text"))
	if !slices.Equal(s.strays, []string{"web"}) || len(s.sas[tunnel.PublicKey{1}]) != 1 {
		t.Errorf("strays are %q, SAs %+v", s.strays, s.sas)
	}
}

func TestBytesOutliveTheirSA(t *testing.T) {
	key, tr := tunnel.PublicKey{1}, make(traffic)
	sa := func(pairs ...uint64) []ikeSA {
		var children []childSA
		for i := 0; i < len(pairs); i += 2 {
			children = append(children, childSA{spiIn: uint32(pairs[i]), rx: pairs[i+1], tx: 1})
		}
		return []ikeSA{{children: children}}
	}
	for i, step := range []struct {
		sas    []ikeSA
		rx, tx uint64
	}{
		{sa(100, 10), 10, 1},
		{sa(100, 30), 30, 1},
		{sa(100, 31, 200, 5), 36, 2},
		{sa(200, 7), 38, 2},
		{nil, 38, 2},
		{sa(300, 1), 39, 3},
		{sa(0, 99), 39, 3}, // not installed yet
	} {
		if got := tr.sum(key, step.sas); got != (counts{rx: step.rx, tx: step.tx}) {
			t.Errorf("step %d: %+v, want %d and %d bytes", i, got, step.rx, step.tx)
		}
	}
}

// What the kernel has dropped is counted for the peer that it came from, also when
// its keys are replaced.
func TestDroppedPacketsAreCountedByPeer(t *testing.T) {
	keys, tr := []tunnel.PublicKey{{1}, {2}}, make(traffic)
	s := &snapshot{sas: map[tunnel.PublicKey][]ikeSA{
		keys[0]: {{children: []childSA{{spiIn: 100, spiOut: 101}}}},
		keys[1]: {{children: []childSA{{spiIn: 200, spiOut: 201}}}},
	}}
	state := func(spi int, stats netlink.XfrmStateStats) netlink.XfrmState {
		return netlink.XfrmState{Spi: spi, Statistics: stats}
	}
	s.count([]netlink.XfrmState{
		state(100, netlink.XfrmStateStats{ReplayWindow: 1, Replay: 2, Failed: 4}), state(101, netlink.XfrmStateStats{Failed: 64}),
		state(200, netlink.XfrmStateStats{}),
	})
	if got := tr.sum(keys[0], s.sas[keys[0]]); got != (counts{replayed: 3, forged: 4}) {
		t.Errorf("got %+v", got)
	}
	if got := tr.sum(keys[1], s.sas[keys[1]]); got != (counts{}) {
		t.Errorf("of the other peer: %+v", got)
	}
	next := []ikeSA{{children: []childSA{{spiIn: 300, replayed: 8}}}}
	if got := tr.sum(keys[0], next); got != (counts{replayed: 11, forged: 4}) {
		t.Errorf("with new keys: %+v", got)
	}
}
