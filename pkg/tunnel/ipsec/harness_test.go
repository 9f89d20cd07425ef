package ipsec

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"edgenet.dev/edgenet/pkg/tunnel"
	"edgenet.dev/edgenet/pkg/tunnel/internal/device"
	"edgenet.dev/edgenet/pkg/tunnel/internal/proc"
	"edgenet.dev/edgenet/pkg/tunnel/tunneltest"
)

const listenPort = 51820

var mesh = netip.MustParsePrefix("fd12:3400::/24")

// harness is nodes of a lab, of which the first two are the suite's sides.
type harness struct {
	kind      Kind
	kinds     map[int]Kind // of nodes that are of another kind
	lab       *tunneltest.Lab
	keys      []PrivateKey
	names     []string
	runDirs   []string
	lifetimes Lifetimes
	pids      map[int]bool
}

var _ tunneltest.Harness = (*harness)(nil)

func newHarness(t *testing.T, kind Kind, nodes int) *harness {
	t.Helper()
	requireCharon(t)
	h := &harness{kind: kind, lab: tunneltest.NewLab(t, nodes), pids: make(map[int]bool)}
	for range nodes {
		h.keys = append(h.keys, newKey(t))
		h.names = append(h.names, uniqueName(t))
		h.runDirs = append(h.runDirs, shortTempDir(t))
	}
	return h
}

// requireCharon skips on a person's machine and fails in CI.
func requireCharon(t *testing.T) {
	t.Helper()
	if _, err := os.Stat(DefaultProgram); err == nil {
		return
	}
	if os.Getenv("EDGENET_E2E") == "must" {
		t.Fatalf("there is no %s", DefaultProgram)
	}
	t.Skipf("there is no %s", DefaultProgram)
}

// shortTempDir is short enough for a socket's path, which t.TempDir is not.
func shortTempDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "ipsec") //nolint:usetesting // see above
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func newKey(t *testing.T) PrivateKey {
	t.Helper()
	_, raw, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := NewKey(raw)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func uniqueName(t *testing.T) string {
	t.Helper()
	b := make([]byte, 5)
	if _, err := rand.Read(b); err != nil {
		t.Fatal(err)
	}
	return "en" + hex.EncodeToString(b) + "i"
}

func (h *harness) Driver(t *testing.T, side tunneltest.Side) tunnel.Driver {
	t.Helper()
	return h.driver(t, int(side))
}

func (h *harness) driver(t *testing.T, node int) tunnel.Driver {
	t.Helper()
	d, err := New(Config{
		Logger:    slog.New(slog.NewTextHandler(t.Output(), nil)),
		Kind:      h.kindOf(node),
		Key:       h.keys[node],
		RunDir:    h.runDirs[node],
		Device:    h.names[node],
		Lifetimes: h.lifetimes,
	})
	if err != nil {
		t.Fatal(err)
	}
	return tunneltest.Spaced{Driver: d, Space: h.lab.Spaces[node]}
}

func (h *harness) kindOf(node int) Kind {
	if k, ok := h.kinds[node]; ok {
		return k
	}
	return h.kind
}

func (h *harness) Device(side tunneltest.Side) tunnel.Device { return h.device(int(side)) }

func (h *harness) device(node int) tunnel.Device {
	return tunnel.Device{
		Name:       h.names[node],
		ListenPort: listenPort,
		MTU:        1400,
		Address:    h.peer(node).Prefix.Addr().Next(),
		Mesh:       mesh,
	}
}

func (h *harness) Peer(side tunneltest.Side) tunnel.Peer { return h.peer(int(side)) }

func (h *harness) peer(node int) tunnel.Peer {
	return tunnel.Peer{
		PublicKey: h.keys[node].Public(),
		Endpoint:  netip.AddrPortFrom(h.lab.Underlay(node), listenPort),
		Prefix:    netip.MustParsePrefix(fmt.Sprintf("fd12:3400:0:%x::/64", 1+node)),
		Keepalive: 25 * time.Second,
	}
}

func (h *harness) Rekey(t *testing.T, side tunneltest.Side) tunnel.Peer {
	t.Helper()
	p := h.Peer(side)
	p.PublicKey = newKey(t).Public()
	return p
}

func (h *harness) Deliver(t *testing.T, from tunneltest.Side, src, dst netip.Addr) bool {
	t.Helper()
	return h.lab.Deliver(t, int(from), int(from.Other()), src, dst, h.Device(from).Address)
}

func (h *harness) Stream(t *testing.T, from tunneltest.Side) func() (int, int) {
	t.Helper()
	h.settle(t)
	return h.lab.Stream(t, int(from), int(from.Other()), h.Device(from).Address, h.Device(from.Other()).Address)
}

// settle has the two sides end what is too much when both began at once: a packet on
// its way through an SA that is ended meets nobody.
func (h *harness) settle(t *testing.T) {
	t.Helper()
	deadline := time.Now().Add(tunneltest.DeliverTimeout)
	for _, side := range []tunneltest.Side{tunneltest.Left, tunneltest.Right} {
		d := h.Driver(t, side).(tunneltest.Spaced)
		if _, err := d.Up(t.Context(), h.Device(side)); err != nil {
			t.Fatal(err)
		}
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			s, err := d.Driver.(*driver).read(t.Context())
			if err == nil && len(s.sas[h.Peer(side.Other()).PublicKey]) == 1 {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s has not one IKE SA after %s: %v", side, tunneltest.DeliverTimeout, err)
			}
			if err := d.Put(t.Context(), h.Peer(side.Other())); err != nil {
				t.Fatal(err)
			}
			<-tick.C
		}
	}
}

func (h *harness) dir(node int) string { return directory(h.runDirs[node], h.names[node]) }

// charon returns the node's, or nil.
func (h *harness) charon(t *testing.T, node int) *proc.Process {
	t.Helper()
	p, err := proc.Listening(t.Context(), socketPath(h.dir(node)))
	if err != nil {
		t.Fatal(err)
	}
	if p != nil {
		h.pids[p.PID] = true
		t.Cleanup(p.Close)
	}
	return p
}

func (h *harness) Crash(t *testing.T, side tunneltest.Side) bool {
	t.Helper()
	h.kill(t, int(side))
	return true
}

func (h *harness) kill(t *testing.T, node int) {
	t.Helper()
	p := h.charon(t, node)
	if p == nil {
		t.Fatal("there is no charon to kill")
	}
	if err := p.Signal(unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	// Not reaped here: that is the driver's to do.
	fds := []unix.PollFd{{Fd: int32(p.FD), Events: unix.POLLIN}}
	if n, err := unix.Poll(fds, 5000); n != 1 {
		t.Fatalf("killed charon %d does not end: %v", p.PID, err)
	}
}

// deviceName is the name that the device has, which is charon's choice in
// userspace.
func (h *harness) deviceName(t *testing.T, node int) string {
	t.Helper()
	if h.kindOf(node) == KindKernel {
		return h.names[node]
	}
	name, err := tunOf(h.charon(t, node).PID)
	if err != nil {
		t.Fatal(err)
	}
	return name
}

func (h *harness) Fingerprint(t *testing.T, side tunneltest.Side) string {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "process %d; ", h.charon(t, int(side)).PID)
	name := h.deviceName(t, int(side))
	h.lab.Spaces[side].Must(t, func() error {
		link, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		a := link.Attrs()
		fmt.Fprintf(&b, "%s index %d mtu %d queue %d alias %s flags %#x; ", name, a.Index, a.MTU, a.TxQLen, a.Alias, a.RawFlags)
		addrs, err := netlink.AddrList(link, netlink.FAMILY_ALL)
		if err != nil {
			return err
		}
		routes, err := device.OwnRoutes()
		if err != nil {
			return err
		}
		queues, err := netlink.QdiscList(link)
		fmt.Fprintf(&b, "addresses %v; routes %v; queues %v", addrs, routes, queues)
		return err
	})
	settings, err := os.Stat(settingsPath(h.dir(int(side))))
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(&b, "; settings of %s", settings.ModTime())
	got, err := h.Driver(t, side).(tunneltest.Spaced).Driver.(*driver).read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for key, c := range got.conns {
		fmt.Fprintf(&b, "; peer %x %+v", key, c)
	}
	return b.String()
}

func (h *harness) Leftovers(t *testing.T, side tunneltest.Side) []string {
	t.Helper()
	return h.leftovers(t, int(side))
}

func (h *harness) leftovers(t *testing.T, node int) []string {
	t.Helper()
	var left []string
	h.lab.Spaces[node].Must(t, func() error {
		links, err := netlink.LinkList()
		if err != nil {
			return err
		}
		for _, l := range links {
			if name := l.Attrs().Name; name != "lo" && name != tunneltest.UnderlayDevice {
				left = append(left, name)
			}
		}
		routes, err := device.OwnRoutes()
		for _, r := range routes {
			left = append(left, r.String())
		}
		if err != nil {
			return err
		}
		rules, err := netlink.RuleList(netlink.FAMILY_ALL)
		for _, r := range rules {
			if r.Table == routeTable {
				left = append(left, r.String())
			}
		}
		if err != nil {
			return err
		}
		states, err := statesOf(interfaceID(h.names[node]))
		if err != nil {
			return err
		}
		policies, err := policiesOf(interfaceID(h.names[node]))
		if n := len(states) + len(policies); n > 0 {
			left = append(left, fmt.Sprintf("%d states and policies", n))
		}
		return err
	})
	for pid := range h.pids {
		if args, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid)); err == nil && strings.Contains(string(args), h.dir(node)) {
			left = append(left, fmt.Sprintf("charon %d", pid))
		}
	}
	files, err := os.ReadDir(h.runDirs[node])
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		left = append(left, f.Name())
	}
	return left
}
