package wireguard

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"edgenet.dev/edgenet/pkg/tunnel"
	"edgenet.dev/edgenet/pkg/tunnel/internal/device"
	"edgenet.dev/edgenet/pkg/tunnel/tunneltest"
)

// node is one side of a harness, for what needs no other.
type node struct {
	*harness
	tunnel.Driver
	space *tunneltest.Space
	want  tunnel.Device
}

func newNode(t *testing.T) *node {
	t.Helper()
	h := newHarness(t, KindUserspace)
	n := &node{
		harness: h, Driver: h.Driver(t, tunneltest.Left),
		space: h.lab.Spaces[tunneltest.Left], want: h.Device(tunneltest.Left),
	}
	t.Cleanup(func() {
		if err := n.Down(contextOfCleanup()); err != nil {
			t.Errorf("down: %v", err)
		}
		if left := h.Leftovers(t, tunneltest.Left); len(left) > 0 {
			t.Errorf("down left %q", left)
		}
	})
	return n
}

func (n *node) up(t *testing.T) {
	t.Helper()
	if _, err := n.Up(t.Context(), n.want); err != nil {
		t.Fatal(err)
	}
}

func (n *node) fails(t *testing.T, reason string) {
	t.Helper()
	_, err := n.Up(t.Context(), n.want)
	if err == nil || !strings.Contains(err.Error(), reason) {
		t.Fatalf("error is %v, want one about %q", err, reason)
	}
}

// route returns how the kernel would send to the address.
func (n *node) route(t *testing.T, to netip.Addr) (device string, err error) {
	t.Helper()
	err = n.space.Do(func() error {
		routes, err := netlink.RouteGet(to.AsSlice())
		if err != nil {
			return err
		}
		link, err := netlink.LinkByIndex(routes[0].LinkIndex)
		if err == nil {
			device = link.Attrs().Name
		}
		return err
	})
	return device, err
}

var someNode = netip.MustParseAddr("fd12:3400:77::1")

// Without its device the mesh is unreachable: nothing follows the default
// route in clear. The next Up makes the device anew.
func TestDeletedDeviceLeaksNothingAndIsMadeAnew(t *testing.T) {
	n := newNode(t)
	n.space.Must(t, func() error {
		link, err := netlink.LinkByName(tunneltest.UnderlayDevice)
		if err != nil {
			return err
		}
		return netlink.RouteAdd(&netlink.Route{
			LinkIndex: link.Attrs().Index, Dst: device.IPNet(netip.MustParsePrefix("::/0")),
		})
	})
	n.up(t)
	if dev, err := n.route(t, someNode); err != nil || dev != n.want.Name {
		t.Fatalf("the mesh is routed to %q, %v, want %s", dev, err, n.want.Name)
	}
	p := n.process(t, tunneltest.Left)
	defer p.Close()
	n.space.Must(t, func() error {
		link, err := netlink.LinkByName(n.want.Name)
		if err != nil {
			return err
		}
		return netlink.LinkDel(link)
	})
	if dev, err := n.route(t, someNode); err == nil {
		t.Fatalf("without the device the mesh is routed to %q", dev)
	}
	if ended, err := p.Ended(t.Context(), endTimeout); !ended || err != nil {
		t.Fatalf("the process of a deleted device does not end: %v", err)
	}
	n.up(t)
	if dev, err := n.route(t, someNode); err != nil || dev != n.want.Name {
		t.Fatalf("the mesh is routed to %q, %v, want %s", dev, err, n.want.Name)
	}
}

// The device outlives its process, and so does what is attached to it.
func TestDeviceOutlivesItsProcess(t *testing.T) {
	for _, sig := range []unix.Signal{unix.SIGTERM, unix.SIGKILL} {
		t.Run(unix.SignalName(sig), func(t *testing.T) {
			n := newNode(t)
			n.up(t)
			before := n.index(t)
			p := n.process(t, tunneltest.Left)
			defer p.Close()
			if err := p.Signal(sig); err != nil {
				t.Fatal(err)
			}
			if ended, err := p.Ended(t.Context(), endTimeout); !ended || err != nil {
				t.Fatalf("the process does not end: %v", err)
			}
			if dev, err := n.route(t, someNode); err != nil || dev != n.want.Name {
				t.Errorf("the mesh is routed to %q, %v, want %s", dev, err, n.want.Name)
			}
			n.up(t)
			if after := n.index(t); after != before {
				t.Errorf("the device has index %d, want %d as before", after, before)
			}
		})
	}
}

func (n *node) index(t *testing.T) (index int) {
	t.Helper()
	n.space.Must(t, func() error {
		link, err := netlink.LinkByName(n.want.Name)
		if err == nil {
			index = link.Attrs().Index
		}
		return err
	})
	return index
}

func TestRemovedSocketIsRepaired(t *testing.T) {
	n := newNode(t)
	n.up(t)
	p := n.process(t, tunneltest.Left)
	defer p.Close()
	if err := os.Remove(socketPath(n.want.Name)); err != nil {
		t.Fatal(err)
	}
	if ended, err := p.Ended(t.Context(), endTimeout); !ended || err != nil {
		t.Fatalf("a process without a socket does not end: %v", err)
	}
	n.up(t)
}

func TestStaleSocketIsReplaced(t *testing.T) {
	n := newNode(t)
	if err := os.MkdirAll(socketDir, 0o755); err != nil {
		t.Fatal(err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socketPath(n.want.Name)})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	n.up(t)
	st, err := os.Stat(socketPath(n.want.Name))
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("mode of the socket is %v, %v, want 0600", st.Mode(), err)
	}
}

func TestTakenPortIsAnErrorUntilItIsFree(t *testing.T) {
	n := newNode(t)
	var taken *net.UDPConn
	n.space.Must(t, func() (err error) {
		taken, err = net.ListenUDP("udp4", &net.UDPAddr{Port: int(n.want.ListenPort)})
		return err
	})
	n.fails(t, "listen on UDP port 51820")
	n.fails(t, "listen on UDP port 51820")
	if err := taken.Close(); err != nil {
		t.Fatal(err)
	}
	n.up(t)
}

func TestIPv6IsEnabledOnTheDeviceAlone(t *testing.T) {
	n := newNode(t)
	all := []string{"all", "default", "lo"}
	n.space.Must(t, func() error {
		for _, name := range all {
			if err := os.WriteFile("/proc/sys/net/ipv6/conf/"+name+"/disable_ipv6", []byte("1"), 0); err != nil {
				return err
			}
		}
		return nil
	})
	n.up(t)
	n.up(t)
	n.space.Must(t, func() error {
		for _, name := range all {
			b, err := os.ReadFile("/proc/sys/net/ipv6/conf/" + name + "/disable_ipv6")
			if err != nil || strings.TrimSpace(string(b)) != "1" {
				t.Errorf("disable_ipv6 of %s is %q, %v, want 1", name, b, err)
			}
		}
		return nil
	})
	if dev, err := n.route(t, someNode); err != nil || dev != n.want.Name {
		t.Errorf("the mesh is routed to %q, %v, want %s", dev, err, n.want.Name)
	}
}

func TestStrangersDeviceIsLeftAlone(t *testing.T) {
	n := newNode(t)
	link := func() (netlink.Link, error) { return netlink.LinkByName(n.want.Name) }
	n.space.Must(t, func() error {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = n.want.Name
		return netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attrs})
	})
	n.fails(t, "of type bridge")
	if err := n.Down(t.Context()); err == nil {
		t.Error("down of a stranger's device is no error")
	}
	n.space.Must(t, func() error {
		l, err := link()
		if err != nil {
			return err
		}
		return netlink.LinkDel(l)
	})
}

// Control sockets are named after devices, whatever namespace those are in.
func TestNameOfAnotherNamespaceIsRefused(t *testing.T) {
	n := newNode(t)
	n.up(t)
	other := tunneltest.Spaced{Driver: n.Driver.(tunneltest.Spaced).Driver, Space: n.lab.Spaces[tunneltest.Right]}
	_, err := other.Up(t.Context(), n.want)
	if err == nil || !strings.Contains(err.Error(), "another network namespace") {
		t.Errorf("error is %v, want one about another network namespace", err)
	}
	if err := other.Down(t.Context()); err != nil {
		t.Error(err)
	}
	p := n.process(t, tunneltest.Left)
	if p == nil {
		t.Fatal("down in another namespace has ended the process")
	}
	p.Close()
}

func TestChangedMeshReplacesAddressAndRoutes(t *testing.T) {
	n := newNode(t)
	n.up(t)
	n.want.Mesh = netip.MustParsePrefix("fdab:cd00::/24")
	n.want.Address = netip.MustParseAddr("fdab:cd00:0:1::1")
	n.up(t)
	if dev, err := n.route(t, someNode); err == nil {
		t.Errorf("the former mesh is routed to %q", dev)
	}
	n.space.Must(t, func() error {
		link, err := netlink.LinkByName(n.want.Name)
		if err != nil {
			return err
		}
		addrs, err := netlink.AddrList(link, netlink.FAMILY_ALL)
		if err != nil || len(addrs) != 1 || addrs[0].IP.String() != n.want.Address.String() {
			t.Errorf("addresses are %v, %v, want %s alone", addrs, err, n.want.Address)
		}
		routes, err := device.OwnRoutes()
		if err != nil || len(routes) != 2 {
			t.Errorf("routes are %v, %v, want two", routes, err)
		}
		return nil
	})
}

func TestKernelDriverSaysWhatTheKernelLacks(t *testing.T) {
	n := newNode(t)
	d, err := New(Config{Logger: discard, Key: newKey(t), Kind: KindKernel, Device: n.want.Name})
	if err != nil {
		t.Fatal(err)
	}
	_, err = tunneltest.Spaced{Driver: d, Space: n.space}.Up(t.Context(), n.want)
	if err == nil {
		t.Skip("kernel has WireGuard")
	}
	if !errors.Is(err, tunnel.ErrUnsupported) || d.Name() != NameKernel {
		t.Errorf("error of %s is %v, want %v", d.Name(), err, tunnel.ErrUnsupported)
	}
}

func TestProgramThatIsNoneOfOursIsReported(t *testing.T) {
	for name, script := range map[string]string{
		"ends at once": "#!/bin/sh\nexit 3\n",
		"says why":     "#!/bin/sh\necho out of memory >&3\nexit 1\n",
	} {
		t.Run(name, func(t *testing.T) {
			n := newNode(t)
			path := filepath.Join(t.TempDir(), "program")
			if err := os.WriteFile(path, []byte(script), 0o700); err != nil {
				t.Fatal(err)
			}
			d := n.Driver.(tunneltest.Spaced).Driver.(*driver)
			d.cfg.Executable = path
			n.fails(t, map[string]string{"ends at once": "without an answer", "says why": "out of memory"}[name])
			if d.pid != 0 {
				t.Errorf("process %d is still remembered", d.pid)
			}
		})
	}
}
