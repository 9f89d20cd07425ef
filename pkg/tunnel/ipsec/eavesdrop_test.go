package ipsec

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"edgenet.dev/edgenet/pkg/tunnel/tunneltest"
)

// secret is what tenants send and an eavesdropper must not see.
const secret = "edgenet-tenant-plaintext"

// eavesdropper reads all packets of a device.
type eavesdropper struct {
	fd   int
	task sync.WaitGroup

	mu     sync.Mutex
	sealed int                // packets of IKE and ESP
	whole  int                // of ESP, those that no router may cut
	pieces int                // of ESP, those that one may, or that were cut
	clear  []string           // what should not have been there
	from   map[netip.Addr]int // IPv6 without a link header, by source
}

// eavesdrop listens at a device, where a program at its tc ingress does.
func eavesdrop(t *testing.T, space *tunneltest.Space, port string) *eavesdropper {
	t.Helper()
	e := &eavesdropper{from: make(map[netip.Addr]int)}
	space.Must(t, func() error {
		link, err := netlink.LinkByName(port)
		if err != nil {
			return err
		}
		all := binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, unix.ETH_P_ALL))
		if e.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(all)); err != nil {
			return err
		}
		tick := unix.NsecToTimeval(int64(50 * time.Millisecond))
		if err := unix.SetsockoptTimeval(e.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tick); err != nil {
			return err
		}
		return unix.Bind(e.fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: link.Attrs().Index})
	})
	ctx, cancel := context.WithCancel(t.Context())
	e.task.Go(func() { e.run(ctx) })
	t.Cleanup(func() {
		cancel()
		e.task.Wait()
		_ = unix.Close(e.fd)
	})
	return e
}

func (e *eavesdropper) run(ctx context.Context) {
	buf := make([]byte, 65536)
	for ctx.Err() == nil {
		n, _, err := unix.Recvfrom(e.fd, buf, 0)
		if err == nil {
			e.judge(buf[:n])
		}
	}
}

// judge looks for the secret, and for addresses of the overlay in whatever
// protocol.
func (e *eavesdropper) judge(frame []byte) {
	e.mu.Lock()
	defer e.mu.Unlock()
	prefix := mesh.Addr().As16()
	if len(frame) >= 40 && frame[0]>>4 == 6 {
		e.from[netip.AddrFrom16([16]byte(frame[8:24]))]++
	}
	switch {
	case bytes.Contains(frame, []byte(secret)):
		e.clear = append(e.clear, "what a tenant sent")
	case bytes.Contains(frame, prefix[:6]):
		e.clear = append(e.clear, "an address of the overlay")
	case isSealed(frame):
		e.sealed++
		e.count(frame)
	}
}

// isSealed says whether a frame is IPv4 with UDP to the tunnels' port.
func isSealed(frame []byte) bool {
	const ethernet, ipv4 = 14, 20
	return len(frame) >= ethernet+ipv4+8 && frame[ethernet] == 0x45 && frame[ethernet+9] == unix.IPPROTO_UDP &&
		binary.BigEndian.Uint16(frame[ethernet+ipv4+2:]) == listenPort
}

// count tells what routers may cut into fragments from what they may not.
func (e *eavesdropper) count(frame []byte) {
	const ethernet, ipv4, udp, dontFragment = 14, 20, 8, 0x4000
	esp := frame[ethernet+ipv4+udp:]
	switch flags := binary.BigEndian.Uint16(frame[ethernet+6:]); {
	case len(esp) < 4 || binary.BigEndian.Uint32(esp) == 0: // IKE, or a keepalive
	case flags == dontFragment:
		e.whole++
	default:
		e.pieces++
	}
}

// since returns how many sealed packets came since the last call, and fails t for
// what came in clear.
func (e *eavesdropper) since(t *testing.T, phase string) int {
	t.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.clear) > 0 {
		t.Errorf("%s: %d packets in clear, the first with %s", phase, len(e.clear), e.clear[0])
	}
	n := e.sealed
	e.sealed, e.clear = 0, nil
	return n
}

// awaitClear waits until something has been heard in clear: the eavesdropper is
// no deaf one.
func (e *eavesdropper) awaitClear(t *testing.T) {
	t.Helper()
	deadline := time.Now().Add(tunneltest.DeliverTimeout)
	for e.heard() == 0 {
		if time.Now().After(deadline) {
			t.Fatal("the eavesdropper does not hear what is sent in clear")
		}
		time.Sleep(time.Millisecond)
	}
}

func (e *eavesdropper) heard() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.clear)
}

// of is how many packets came from an address.
func (e *eavesdropper) of(addr netip.Addr) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.from[addr]
}

// forget drops what was heard so far.
func (e *eavesdropper) forget() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.sealed, e.clear = 0, nil
}

func TestUserspaceShowsNothingInClear(t *testing.T) { showsNothingInClear(t, KindUserspace) }

func TestKernelShowsNothingInClear(t *testing.T) {
	requireKernel(t)
	showsNothingInClear(t, KindKernel)
}

// A node sends all the time, while its SAs come, are replaced, and go:
//
//	0 ── switch ── 1
//	        │
//	   eavesdropper
func showsNothingInClear(t *testing.T, kind Kind) {
	t.Parallel() // most of its time is spent waiting
	h := newHarness(t, kind, 2)
	h.lifetimes = Lifetimes{IKE: time.Hour, Child: 3 * time.Second}
	// Without edgenet's routes, packets would take this one.
	for _, s := range h.lab.Spaces {
		s.Must(t, func() error { return defaultRoute() })
	}
	ear := eavesdrop(t, h.lab.Switch, "port0")
	c := h.chat(t, 0, 1)
	ear.awaitClear(t) // without edgenet

	f := newFleet(t, h)
	for _, s := range h.lab.Spaces {
		s.Must(t, forgetNeighbors)
	}
	ear.forget()
	f.put(t, 0, f.peer(1)) // which does not know node 0 yet
	f.peers(t, 0)
	ear.since(t, "before there are SAs")

	f.put(t, 1, f.peer(0))
	stop := f.keep(t, 0, f.peer(1))
	f.keep(t, 1, f.peer(0))
	c.more(t)
	if n := ear.since(t, "while SAs come"); n == 0 {
		t.Error("the eavesdropper hears nothing")
	}

	f.awaitRekeys(t, 3)
	if n := ear.since(t, "while SAs are replaced"); n == 0 {
		t.Error("the eavesdropper hears nothing")
	}

	f.kill(t, 0)
	c.more(t)
	ear.since(t, "while charon dies and comes again")

	f.kill(t, 1)
	c.more(t)
	ear.since(t, "while the peer's charon dies and comes again")

	stop()
	if err := f.drivers[0].Delete(t.Context(), f.keys[1].Public()); err != nil {
		t.Fatal(err)
	}
	f.silence(t, c)
	ear.since(t, "while SAs go")
}

// defaultRoute leads all of IPv6 onto the underlay.
func defaultRoute() error {
	link, err := netlink.LinkByName(tunneltest.UnderlayDevice)
	if err != nil {
		return err
	}
	return netlink.RouteAdd(&netlink.Route{
		LinkIndex: link.Attrs().Index,
		Dst:       &net.IPNet{IP: net.IPv6zero, Mask: net.CIDRMask(0, 128)},
	})
}

// forgetNeighbors drops what the underlay's device learned of the mesh's addresses
// while they were reached in clear: some seconds later the kernel would ask whether
// they are still there, by packets that name them.
func forgetNeighbors() error {
	link, err := netlink.LinkByName(tunneltest.UnderlayDevice)
	if err != nil {
		return err
	}
	known, err := netlink.NeighList(link.Attrs().Index, netlink.FAMILY_V6)
	if err != nil {
		return err
	}
	for _, n := range known {
		if addr, ok := netip.AddrFromSlice(n.IP); ok && mesh.Contains(addr) {
			err = errors.Join(err, netlink.NeighDel(&n))
		}
	}
	return err
}

// awaitRekeys waits until node 0's child SA with node 1 has been replaced so
// often.
func (f *fleet) awaitRekeys(t *testing.T, count int) {
	t.Helper()
	spis := make(map[uint32]bool)
	// Where the replacements of an IKE SA and of its child meet, 30 s may pass.
	deadline := time.Now().Add(tunneltest.DeliverTimeout + time.Duration(count)*30*time.Second)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for time.Now().Before(deadline) {
		s, err := readOf(t, f)
		if err == nil {
			for _, sa := range s.sas[f.keys[1].Public()] {
				if c := sa.newest(); c != nil && sa.lasts() {
					spis[c.spiIn] = true
				}
			}
		}
		if len(spis) > count {
			return
		}
		<-tick.C
	}
	t.Fatalf("keys were replaced %d times, want %d", len(spis)-1, count)
}

// readOf lists node 0's with a driver of its own, for the node's is in use.
func readOf(t *testing.T, f *fleet) (*snapshot, error) {
	t.Helper()
	return f.driver(t, 0).(tunneltest.Spaced).Driver.(*driver).read(t.Context())
}
