package isolation

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"golang.org/x/net/icmp"
)

const (
	// lostAfter is when an answer will not come any more: an emulated machine may
	// be held up for seconds, which loses nothing.
	lostAfter = time.Minute
	// restBetween bounds how long pings in the background rest.
	restBetween = 20 * time.Millisecond
)

// background pings until it is told to stop, and says how many were lost. It
// rests for ten times as long as a ping takes, so that what it watches is not
// held up by it on slow machines.
func (s *space) background(to string) (stop func() (sent, lost int)) {
	s.t.Helper()
	c := in(s, func() (*icmp.PacketConn, error) { return icmp.ListenPacket("ip4:icmp", "0.0.0.0") })
	var ending atomic.Bool
	type result struct{ sent, lost int }
	done := make(chan result)
	go func() {
		var r result
		for !ending.Load() {
			r.sent++
			began := time.Now()
			if pingOn(c, to, r.sent&0xffff, lostAfter) != nil {
				r.lost++
			}
			time.Sleep(min(10*time.Since(began), restBetween))
		}
		done <- r
	}()
	return func() (int, int) {
		ending.Store(true)
		r := <-done
		_ = c.Close()
		return r.sent, r.lost
	}
}

func TestADatapathIsAdoptedWithoutLosingAPacket(t *testing.T) {
	first := AttachTCX
	if !hasTCX() {
		first = AttachClsact
	}
	h := newHost(t, nodeA, first)
	web, db := newSpace(t), newSpace(t)
	h.endpoint(testVNI, "web", "10.0.0.2", web)
	h.endpoint(testVNI, "db", "10.0.0.3", db)
	h.apply()
	web.reaches("10.0.0.3")
	db.serveTCP("10.0.0.3:80")
	c, err := web.dial("10.0.0.3:80")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	flowsBefore := mapID(t, h.dp.maps.Flows)
	programBefore := programID(t, h.dp.fromEndpoint)

	stop := web.background("10.0.0.3")
	h.reopen(func(*Config) {})
	if programID(t, h.dp.fromEndpoint) != programBefore {
		t.Error("the same program was replaced")
	}
	h.reopen(func(c *Config) { c.kernelTypes = typesWithout(t) }) // another build
	if programID(t, h.dp.fromEndpoint) == programBefore {
		t.Error("another program was not put in its place")
	}
	h.reopen(func(c *Config) { c.Attach = AttachClsact })
	h.reopen(func(c *Config) { c.Attach = AttachAuto; c.MaxFlows = 999 })
	if sent, lost := stop(); lost != 0 || sent == 0 {
		t.Errorf("%d of %d pings were lost", lost, sent)
	}
	if mapID(t, h.dp.maps.Flows) != flowsBefore {
		t.Error("the flows are in another map")
	}
	echoes(t, c, 1<<20)
	if n := h.status(webKey).Counters.TxPackets; n == 0 {
		t.Error("counters began anew")
	}
	h.onlyProgram(vethName(webKey))
}

func (h *host) reopen(change func(*Config)) {
	h.t.Helper()
	h.close()
	change(&h.cfg)
	h.open()
	h.apply()
}

// onlyProgram wants one program on a device, on one hook.
func (h *host) onlyProgram(device string) {
	h.t.Helper()
	h.do(func() {
		link, err := netlink.LinkByName(device)
		if err != nil {
			h.t.Error(err)
			return
		}
		n := 0
		for _, hook := range allHooks(h.dp.nl) {
			ids, err := hook.programs(link.Attrs().Index)
			if err != nil {
				h.t.Error(err)
			}
			n += len(ids)
		}
		if n != 1 {
			h.t.Errorf("%d programs on %s", n, device)
		}
	})
}

func mapID(t *testing.T, m *ebpf.Map) ebpf.MapID {
	t.Helper()
	info, err := m.Info()
	if err != nil {
		t.Fatal(err)
	}
	id, _ := info.ID()
	return id
}

func programID(t *testing.T, p *ebpf.Program) ebpf.ProgramID {
	t.Helper()
	info, err := p.Info()
	if err != nil {
		t.Fatal(err)
	}
	id, _ := info.ID()
	return id
}

func TestNothingIsLeftAfterRemoval(t *testing.T) {
	for name, mode := range modes {
		t.Run(name, func(t *testing.T) {
			h := newHost(t, nodeA, mode)
			before := h.devices()
			web := newSpace(t)
			h.endpoint(testVNI, "web", "10.0.0.2", web)
			h.put(Endpoint{
				Key: Key{testVNI, "vm"}, Kind: KindTap, Device: "vm0", MTU: 1400,
				Addresses: []netip.Addr{dbAddr}, Networks: h.state.Endpoints[webKey].Networks,
			})
			in(h.space, func() (any, error) { return nil, hostTap("tuntest") })
			h.state.Tunnels = []string{"tuntest"}
			h.apply()
			flows, program := mapID(t, h.dp.maps.Flows), programID(t, h.dp.fromEndpoint)

			in(h.space, func() (any, error) { return nil, h.dp.Remove(t.Context()) })
			if now := h.devices(); now != before+" tuntest" {
				t.Errorf("devices are %q, were %q", now, before)
			}
			if now := web.devices(); now != "lo" {
				t.Errorf("the container has %q", now)
			}
			h.close()
			eventually(t, func() error { return gone(flows, program) })
		})
	}
}

func (s *space) devices() string {
	s.t.Helper()
	links := in(s, netlink.LinkList)
	names := make([]string, 0, len(links))
	for _, l := range links {
		names = append(names, l.Attrs().Name)
	}
	return strings.Join(names, " ")
}

// gone says whether the kernel has freed a map and a program.
func gone(m ebpf.MapID, p ebpf.ProgramID) error {
	if got, err := ebpf.NewMapFromID(m); !errors.Is(err, os.ErrNotExist) {
		if err == nil {
			_ = got.Close()
		}
		return errors.New("the map is there")
	}
	if got, err := ebpf.NewProgramFromID(p); !errors.Is(err, os.ErrNotExist) {
		if err == nil {
			_ = got.Close()
		}
		return errors.New("the program is there")
	}
	return nil
}

func TestAnotherFormatIsRefusedAndCanBeRemoved(t *testing.T) {
	h := newHost(t, nodeA, AttachTCX)
	web := newSpace(t)
	h.endpoint(testVNI, "web", "10.0.0.2", web)
	h.apply()
	h.dp.tables.state.Format = 99
	h.close()
	var err error
	h.do(func() { _, err = Open(t.Context(), h.cfg) })
	if !errors.Is(err, ErrFormat) {
		t.Fatalf("open: %v, want %v", err, ErrFormat)
	}
	in(h.space, func() (any, error) { return nil, RemoveAll(t.Context(), nil) })
	if now := h.devices(); now != "lo" {
		t.Errorf("devices are %q", now)
	}
	h.open()
}

func TestEndpointsThatCannotBe(t *testing.T) {
	h := newHost(t, nodeA, AttachAuto)
	web, other := newSpace(t), newSpace(t)
	in(other, func() (any, error) {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = "eth0"
		return nil, netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "eth1"})
	})
	in(h.space, func() (any, error) {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = "wan"
		return nil, netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "far"})
	})
	h.address("wan", "192.0.2.1/24")
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	good := h.endpoint(testVNI, "web", "10.0.0.2", web)
	bad := map[string]struct {
		change func(*Endpoint)
		want   string
	}{
		"absent":                 {func(e *Endpoint) { e.Netns = "/run/netns/absent" }, "no such file"},
		"file":                   {func(e *Endpoint) { e.Netns = file }, "is not a network namespace"},
		"other":                  {func(e *Endpoint) { e.Netns = "/proc/self/ns/mnt" }, "is not a network namespace"},
		"own":                    {func(e *Endpoint) { e.Netns = h.path }, "host's own"},
		"taken":                  {func(e *Endpoint) { e.Netns = other.path }, "is not edgenet's"},
		"zz-second":              {func(*Endpoint) {}, "is not edgenet's"}, // web's namespace and interface
		"device":                 {func(e *Endpoint) { e.Kind, e.Device = KindDevice, "nonesuch" }, "does not exist"},
		"address":                {func(e *Endpoint) { e.Kind, e.Device = KindDevice, "wan" }, "has the host's address"},
		"loopback":               {func(e *Endpoint) { e.Kind, e.Device = KindDevice, "lo" }, "loopback"},
		"tap":                    {func(e *Endpoint) { e.Kind, e.Device = KindTap, "far" }, "is no tap"},
		"kind":                   {func(e *Endpoint) { e.Kind = 9 }, "unknown"},
		"none":                   {func(e *Endpoint) { e.Addresses = nil }, "no address"},
		"link-local":             {func(e *Endpoint) { e.Addresses = []netip.Addr{netip.MustParseAddr("fe80::1")} }, "not one that an interface may have"},
		"narrow":                 {func(e *Endpoint) { e.Addresses, e.MTU = []netip.Addr{webAddr6}, 1279 }, "MTU 1279 is not 1280 to"},
		"mac":                    {func(e *Endpoint) { e.MAC = net.HardwareAddr{1, 2, 3, 4, 5, 6} }, "unicast"},
		strings.Repeat("x", 128): {func(*Endpoint) {}, "name has"},
	}
	for name, c := range bad {
		e := good
		e.Name = name
		c.change(&e)
		h.put(e)
	}
	err := h.tryApply()
	var failed *ApplyError
	if !errors.As(err, &failed) || failed.Other != nil {
		t.Fatalf("apply: %v", err)
	}
	for name, c := range bad {
		if got := failed.Endpoints[Key{testVNI, name}]; got == nil || !strings.Contains(got.Error(), c.want) {
			t.Errorf("%s: %v, want %s", name, got, c.want)
		}
	}
	if got := failed.Endpoints[good.Key]; got != nil {
		t.Errorf("the good one: %v", got)
	}
	if now := other.devices(); now != "lo eth1 eth0" {
		t.Errorf("the other namespace has %q", now)
	}
	if now := h.devices(); now != "lo far wan "+vethName(good.Key) {
		t.Errorf("the host has %q", now)
	}
}

func TestTwoEndpointsCannotShareADevice(t *testing.T) {
	h := newHost(t, nodeA, AttachAuto)
	for _, name := range []string{"a", "b"} {
		h.put(Endpoint{Key: Key{testVNI, name}, Kind: KindTap, Device: "vm0", MTU: 1400, Addresses: []netip.Addr{webAddr}, Networks: []Network{{vpc, gateway}}})
	}
	var failed *ApplyError
	if err := h.tryApply(); !errors.As(err, &failed) || len(failed.Endpoints) != 1 || failed.Endpoints[Key{testVNI, "b"}] == nil {
		t.Fatalf("apply: %v", failed)
	}
}

func TestAContainerThatMovesIsFollowed(t *testing.T) {
	h := newHost(t, nodeA, AttachAuto)
	web, db, next := newSpace(t), newSpace(t), newSpace(t)
	h.endpoint(testVNI, "web", "10.0.0.2", web)
	h.endpoint(testVNI, "db", "10.0.0.3", db)
	h.apply()
	web.reaches("10.0.0.3")
	h.endpoint(testVNI, "db", "10.0.0.3", next)
	h.apply()
	web.reaches("10.0.0.3")
	if now := db.devices(); now != "lo" {
		t.Errorf("the old namespace has %q", now)
	}
	// Another address of the same endpoint is another endpoint to its flows.
	delete(h.state.Addresses, Address{testVNI, dbAddr})
	h.endpoint(testVNI, "db", "10.0.0.4", next)
	h.apply()
	web.reaches("10.0.0.4")
	web.doesNotReach("10.0.0.3")
}

func TestWhatBreaksInAContainerIsRepaired(t *testing.T) {
	h := newHost(t, nodeA, AttachAuto)
	web, db := newSpace(t), newSpace(t)
	h.endpoint(testVNI, "web", "10.0.0.2", web)
	e := h.endpoint(testVNI, "db", "10.0.0.3", db)
	h.apply()
	in(db, func() (any, error) {
		link, err := netlink.LinkByName("eth0")
		if err != nil {
			return nil, err
		}
		return nil, errors.Join(netlink.LinkSetMTU(link, 900), netlink.LinkSetDown(link))
	})
	h.dp.now = func() time.Time { return time.Now().Add(recheckAfter + time.Second) }
	h.apply()
	web.reaches("10.0.0.3")
	link := in(db, func() (netlink.Link, error) { return netlink.LinkByName("eth0") })
	if link.Attrs().MTU != e.MTU {
		t.Errorf("MTU %d, want %d", link.Attrs().MTU, e.MTU)
	}
	routes := in(db, func() ([]netlink.Route, error) { return netlink.RouteList(link, netlink.FAMILY_V4) })
	if len(routes) != 2 {
		t.Errorf("routes: %v", routes)
	}
}

func TestAddressesAndRoutesInAContainerAreRepaired(t *testing.T) {
	p := newDualPair(t, 1400)
	addresses := func(change func() error) []string {
		return in(p.web, func() ([]string, error) {
			link, err := netlink.LinkByName("eth0")
			if err != nil {
				return nil, err
			}
			list, err := netlink.AddrList(link, netlink.FAMILY_ALL)
			var have []string
			for _, a := range list {
				if !a.IP.IsLinkLocalUnicast() {
					have = append(have, a.IPNet.String())
				}
			}
			slices.Sort(have)
			return have, errors.Join(err, change())
		})
	}
	// What the container does not want it may not refuse; what is behind it is its own.
	addresses(func() error {
		link, err := netlink.LinkByName("eth0")
		for _, a := range []string{"10.0.0.77/24", "fd00:64::77/64", "10.9.0.9/32", "fd00:9::9/128"} {
			addr, parsed := netlink.ParseAddr(a)
			err = errors.Join(err, parsed, netlink.AddrAdd(link, nodad(addr)))
		}
		own, parsed := netlink.ParseAddr("fd00:64::2/64")
		return errors.Join(err, parsed, netlink.AddrDel(link, own), netlink.RouteDel(&netlink.Route{LinkIndex: link.Attrs().Index, Gw: gateway.AsSlice(), Dst: ipNet(netip.MustParsePrefix("0.0.0.0/0"))}))
	})
	p.a.dp.now = func() time.Time { return time.Now().Add(recheckAfter + time.Second) }
	p.a.apply()
	want := []string{"10.0.0.2/24", "10.9.0.9/32", "fd00:64::2/64", "fd00:9::9/128"}
	if got := addresses(func() error { return nil }); !slices.Equal(got, want) {
		t.Errorf("addresses are %v, want %v", got, want)
	}
	// The default routes lead to the gateway, which says that there is nothing else.
	for family, gw := range map[int]netip.Addr{netlink.FAMILY_V4: gateway, netlink.FAMILY_V6: gateway6} {
		routes := in(p.web, func() ([]netlink.Route, error) {
			return netlink.RouteListFiltered(family, &netlink.Route{Protocol: routeProtocol}, netlink.RT_FILTER_PROTOCOL)
		})
		if len(routes) != 1 || !routes[0].Gw.Equal(gw.AsSlice()) {
			t.Errorf("routes are %v", routes)
		}
	}
	p.web.reaches("fd00:64::4")
	// The kernel forgets IPv6 with an interface that was down.
	in(p.web, func() (any, error) {
		link, err := netlink.LinkByName("eth0")
		return nil, errors.Join(err, netlink.LinkSetDown(link))
	})
	p.a.dp.now = func() time.Time { return time.Now().Add(3 * recheckAfter) }
	p.a.apply()
	p.web.reaches("fd00:64::4")
	p.web.reaches("10.0.0.4")
}

// An MTU that is only assumed does not replace one that an earlier process found.
func TestAnAssumedMTUReplacesNone(t *testing.T) {
	b := newBench(t)
	mtuOf := func(n Node) uint32 {
		t.Helper()
		b.state.Nodes[nodeB] = n
		b.refill()
		var found edgenetNode
		if err := b.dp.maps.Nodes.Lookup(prefixWord(nodeB), &found); err != nil {
			t.Fatal(err)
		}
		return found.Mtu
	}
	node := Node{Prefix: nodeB, Device: "lo", MTU: 1200, Assumed: true}
	third := netip.MustParsePrefix("fd12:340c::/64")
	b.state.Nodes[third] = Node{Prefix: third, Device: "lo", MTU: 1200, Assumed: true}
	if got := mtuOf(node); got != 1420 {
		t.Errorf("MTU %d, want what there was", got)
	}
	var fresh edgenetNode
	if err := b.dp.maps.Nodes.Lookup(prefixWord(third), &fresh); err != nil || fresh.Mtu != 1200 {
		t.Errorf("MTU %d of a new node, %v, want what is assumed", fresh.Mtu, err)
	}
	node.Assumed = false
	if got := mtuOf(node); got != 1200 {
		t.Errorf("MTU %d, want what was found", got)
	}
}
