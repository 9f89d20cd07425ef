package wireguard

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
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

// harness is two nodes of a lab.
type harness struct {
	kind   Kind
	lab    *tunneltest.Lab
	keys   [2]PrivateKey
	names  [2]string
	runDir [2]string
	pids   map[int]bool
}

var _ tunneltest.Harness = (*harness)(nil)

func newHarness(t *testing.T, kind Kind) *harness {
	t.Helper()
	h := &harness{kind: kind, lab: tunneltest.NewLab(t, 2), pids: make(map[int]bool)}
	for s := range h.names {
		h.keys[s] = newKey(t)
		h.names[s] = uniqueName(t)
		h.runDir[s] = t.TempDir()
	}
	return h
}

func newKey(t *testing.T) PrivateKey {
	t.Helper()
	key, err := GenerateKey()
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
	return "en" + hex.EncodeToString(b) + "w"
}

func (h *harness) Driver(t *testing.T, side tunneltest.Side) tunnel.Driver {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	d, err := New(Config{
		Logger:     slog.New(slog.NewTextHandler(t.Output(), nil)),
		Key:        h.keys[side],
		RunDir:     h.runDir[side],
		Executable: exe,
		Kind:       h.kind,
		Device:     h.names[side],
	})
	if err != nil {
		t.Fatal(err)
	}
	return tunneltest.Spaced{Driver: d, Space: h.lab.Spaces[side]}
}

func (h *harness) Device(side tunneltest.Side) tunnel.Device {
	return tunnel.Device{
		Name:       h.names[side],
		ListenPort: 51820,
		MTU:        1440,
		Address:    h.Peer(side).Prefix.Addr().Next(),
		Mesh:       netip.MustParsePrefix("fd12:3400::/24"),
	}
}

func (h *harness) Peer(side tunneltest.Side) tunnel.Peer {
	return tunnel.Peer{
		PublicKey: h.keys[side].Public(),
		Endpoint:  netip.AddrPortFrom(h.lab.Underlay(int(side)), 51820),
		Prefix:    netip.MustParsePrefix(fmt.Sprintf("fd12:3400:0:%x::/64", 1+int(side))),
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
	return h.lab.Stream(t, int(from), int(from.Other()), h.Device(from).Address, h.Device(from.Other()).Address)
}

func (h *harness) process(t *testing.T, side tunneltest.Side) *proc.Process {
	t.Helper()
	p, err := findProcess(t.Context(), h.names[side])
	if err != nil {
		t.Fatal(err)
	}
	if p != nil {
		h.pids[p.PID] = true
	}
	return p
}

func (h *harness) Crash(t *testing.T, side tunneltest.Side) bool {
	t.Helper()
	p := h.process(t, side)
	if p == nil {
		return false
	}
	defer p.Close()
	if err := p.Signal(unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	// Not reaped here: that is the driver's to do.
	fds := []unix.PollFd{{Fd: int32(p.FD), Events: unix.POLLIN}}
	if n, err := unix.Poll(fds, 5000); n != 1 {
		t.Fatalf("killed process %d does not end: %v", p.PID, err)
	}
	return true
}

func (h *harness) Fingerprint(t *testing.T, side tunneltest.Side) string {
	t.Helper()
	var b strings.Builder
	if p := h.process(t, side); p != nil {
		fmt.Fprintf(&b, "process %d; ", p.PID)
		p.Close()
	}
	h.lab.Spaces[side].Must(t, func() error {
		link, err := netlink.LinkByName(h.names[side])
		if err != nil {
			return err
		}
		a := link.Attrs()
		fmt.Fprintf(&b, "index %d mtu %d queue %d alias %s flags %#x; ", a.Index, a.MTU, a.TxQLen, a.Alias, a.RawFlags)
		addrs, err := netlink.AddrList(link, netlink.FAMILY_ALL)
		if err != nil {
			return err
		}
		routes, err := device.OwnRoutes()
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "addresses %v; routes %v; sockets %v", addrs, routes, udpInodes(h.Device(side).ListenPort))
		return nil
	})
	got, err := h.Driver(t, side).Peers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	peers := make([]string, 0, len(got))
	for _, p := range got {
		peers = append(peers, fmt.Sprintf("; peer %v", p.Peer))
	}
	slices.Sort(peers)
	return b.String() + strings.Join(peers, "")
}

// udpInodes returns the sockets of the port: a new one means that it was bound
// again.
func udpInodes(port uint16) []string {
	var inodes []string
	for _, file := range []string{"udp", "udp6"} {
		text, err := os.ReadFile("/proc/thread-self/net/" + file)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(text)) {
			f := strings.Fields(line)
			if len(f) > 9 && strings.HasSuffix(f[1], fmt.Sprintf(":%04X", port)) {
				inodes = append(inodes, f[9])
			}
		}
	}
	return inodes
}

// lives says whether the process of the device is there, or has ended and is not
// reaped within seconds although it was this one's child: a goroutine does it, which
// may have to wait for a processor.
func lives(pid int, device string) bool {
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); runtime.Gosched() {
		args, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err != nil {
			return false
		}
		if len(args) > 0 {
			return strings.Contains(string(args), device)
		}
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil || !strings.Contains(string(status), fmt.Sprintf("\nPPid:\t%d\n", os.Getpid())) {
			return false
		}
	}
	return true
}

func (h *harness) Leftovers(t *testing.T, side tunneltest.Side) []string {
	t.Helper()
	var left []string
	h.lab.Spaces[side].Must(t, func() error {
		if _, err := net.InterfaceByName(h.names[side]); err == nil {
			left = append(left, h.names[side])
		}
		routes, err := device.OwnRoutes()
		for _, r := range routes {
			left = append(left, r.String())
		}
		return err
	})
	for pid := range h.pids {
		if lives(pid, h.names[side]) {
			left = append(left, fmt.Sprintf("process %d", pid))
		}
	}
	if _, err := os.Stat(socketPath(h.names[side])); err == nil {
		left = append(left, socketPath(h.names[side]))
	}
	files, err := filepath.Glob(h.runDir[side] + "/*")
	if err != nil {
		t.Fatal(err)
	}
	return append(left, files...)
}
