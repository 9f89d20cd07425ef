package isolation

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"edgenet.dev/edgenet/pkg/policy"
)

// needRoot skips by name on a person's machine and fails in CI.
func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("EDGENET_E2E") == "must" {
		t.Fatal("needs root")
	}
	t.Skip("needs root")
}

// needMode skips by name what asks for tcx on a kernel that has none; such a
// kernel is not wrong.
func needMode(t testing.TB, mode Mode) {
	t.Helper()
	if mode == AttachTCX && !hasTCX() {
		t.Skip("kernel lacks tcx")
	}
}

func hasTCX() bool {
	_, err := tcx{}.query(loopback)
	return !errors.Is(err, ebpf.ErrNotSupported)
}

// space is a network namespace of its own, with a thread in it.
type space struct {
	t     testing.TB
	path  string
	calls chan func()
}

func newSpace(t testing.TB) *space {
	t.Helper()
	needRoot(t)
	s := &space{t: t, calls: make(chan func())}
	ready := make(chan error, 1)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		runtime.LockOSThread() // The thread ends with the goroutine.
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			ready <- err
			return
		}
		fd, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			ready <- err
			return
		}
		defer func() { _ = unix.Close(fd) }()
		s.path = fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), fd)
		ready <- nil
		for f := range s.calls {
			f()
		}
	}()
	if err := <-ready; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { close(s.calls); <-ended })
	s.do(func() {
		lo, err := netlink.LinkByName("lo")
		if err == nil {
			err = netlink.LinkSetUp(lo)
		}
		if err != nil {
			t.Error(err)
		}
	})
	return s
}

// do runs f in the namespace.
func (s *space) do(f func()) {
	done := make(chan struct{})
	s.calls <- func() { defer close(done); f() }
	<-done
}

// in runs f in the namespace and returns what it returns.
func in[T any](s *space, f func() (T, error)) T {
	s.t.Helper()
	var (
		v   T
		err error
	)
	s.do(func() { v, err = f() })
	if err != nil {
		s.t.Fatal(err)
	}
	return v
}

const (
	testVNI  = 100
	otherVNI = 200
)

var (
	testMesh = netip.MustParsePrefix("fd12:3400::/24")
	nodeA    = netip.MustParsePrefix("fd12:340a:aaaa:aaaa::/64")
	nodeB    = netip.MustParsePrefix("fd12:340b:bbbb:bbbb::/64")
	vpc      = netip.MustParsePrefix("10.0.0.0/24")
	gateway  = netip.MustParseAddr("10.0.0.1")
)

// Policies of the tests: what permits everything, and what permits TCP 80 and
// pings only. All addresses carry identity 7 unless a test says otherwise.
const (
	allowAll policy.ID       = 0xa11
	allowWeb policy.ID       = 0x3eb
	someone  policy.Identity = 7
)

func allowAllTable(identities ...policy.Identity) *policy.Table {
	t := &policy.Table{Verdicts: map[policy.Match][]policy.Interval{}}
	for _, id := range append(identities, someone) {
		for _, protocol := range []uint8{0, 1, 6, 17, 58, 132} {
			t.Verdicts[policy.Match{Identity: id, Protocol: protocol}] = []policy.Interval{{First: 0, Last: 65535}}
		}
	}
	return t
}

func allowWebTable() *policy.Table {
	return &policy.Table{Verdicts: map[policy.Match][]policy.Interval{
		{Identity: someone, Protocol: 6}: {{First: 80, Last: 80}, {First: 8000, Last: 8100}},
		{Identity: someone, Protocol: 1}: {{First: 8 << 8, Last: 8<<8 | 255}},
	}}
}

// host is a host with a datapath.
type host struct {
	*space
	prefix netip.Prefix
	dp     *Datapath
	state  flatState
	cfg    Config
}

func newHost(t testing.TB, prefix netip.Prefix, mode Mode) *host {
	t.Helper()
	needMode(t, mode)
	h := &host{space: newSpace(t), prefix: prefix}
	h.cfg = Config{MeshPrefix: testMesh, NodePrefix: prefix, Attach: mode, MaxEndpoints: 64, MaxAddresses: 1024, MaxFlows: 4096, MaxVerdicts: 256}
	h.state = flatState{
		Prefix: prefix, Endpoints: map[Key]Endpoint{}, Addresses: map[Address]Location{},
		Nodes:    map[netip.Prefix]Node{},
		Policies: map[policy.ID]*policy.Table{allowAll: allowAllTable(), allowWeb: allowWebTable()},
	}
	h.open()
	t.Cleanup(func() {
		if h.dp != nil {
			h.close()
		}
	})
	return h
}

func (h *host) open() {
	h.t.Helper()
	h.dp = in(h.space, func() (*Datapath, error) { return Open(h.t.Context(), h.cfg) })
}

func (h *host) close() {
	h.t.Helper()
	if err := h.dp.Close(); err != nil {
		h.t.Fatal(err)
	}
	h.dp = nil
}

func (h *host) apply() {
	h.t.Helper()
	if err := h.tryApply(); err != nil {
		h.t.Fatal(err)
	}
}

func (h *host) tryApply() (err error) {
	h.do(func() { err = h.dp.Apply(h.t.Context(), h.state.State()) })
	return err
}

// change is apply for when only the state has changed.
func (h *host) change() {
	h.t.Helper()
	h.do(func() {
		if err := h.dp.Change(h.t.Context(), h.state.State()); err != nil {
			h.t.Error(err)
		}
	})
}

// endpoint adds a container at an address of a VPC to the state.
func (h *host) endpoint(vni uint32, name, address string, c *space) Endpoint {
	e := Endpoint{
		Key: Key{vni, name}, Kind: KindNetns, Addresses: []netip.Addr{netip.MustParseAddr(address)},
		Networks: []Network{{vpc, gateway}}, MTU: 1400,
		Ingress: allowAll, Egress: allowAll,
	}
	if c != nil {
		e.Netns, e.Ifname = c.path, "eth0"
	}
	h.put(e)
	// Runs before the container goes, and its endpoint with it.
	h.t.Cleanup(func() {
		if h.t.Failed() {
			h.report()
		}
	})
	return e
}

func (h *host) put(e Endpoint) {
	h.state.Endpoints[e.Key] = e
	for _, a := range e.Addresses {
		h.state.Addresses[Address{e.VNI, a}] = Location{Endpoint: e.Key, Identity: someone}
	}
}

// knows adds an address of another node to the state.
func (h *host) knows(vni uint32, address string, node netip.Prefix) {
	h.state.Addresses[Address{vni, netip.MustParseAddr(address)}] = Location{Node: node, Identity: someone}
}

func (h *host) status(key Key) Status {
	h.t.Helper()
	return in(h.space, func() (map[Key]Status, error) { return h.dp.Status(h.t.Context()) })[key]
}

func mustMAC(s string) net.HardwareAddr {
	mac, err := net.ParseMAC(s)
	if err != nil {
		panic(err)
	}
	return mac
}

// report says what the datapath counted, for failures.
func (h *host) report() {
	if h.dp == nil {
		return
	}
	h.do(func() {
		all, err := h.dp.Status(context.Background())
		h.t.Logf("%v: %v %v", h.prefix, all, err)
		drops, err := h.dp.GlobalDrops()
		h.t.Logf("%v: nobody's %v %v", h.prefix, drops, err)
	})
}
