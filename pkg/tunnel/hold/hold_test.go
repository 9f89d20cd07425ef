package hold

import (
	"bytes"
	"encoding/binary"
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"edgenet.dev/edgenet/pkg/tunnel/tunneltest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// ipv6 is a packet to a peer's prefix that carries a number.
func ipv6(to netip.Prefix, n int) []byte {
	b := make([]byte, ipv6HeaderLen+4)
	b[0] = 6 << 4
	binary.BigEndian.PutUint16(b[4:], 4)
	b[6], b[7] = 59, 64 // no next header
	copy(b[8:], netip.MustParseAddr("fd12:3400:1:9::1").AsSlice())
	copy(b[24:], to.Addr().Next().AsSlice())
	binary.BigEndian.PutUint32(b[ipv6HeaderLen:], uint32(n))
	return b
}

// bench is a hold, and a device that stands for a tunnel.
type bench struct {
	*Hold
	space  *tunneltest.Space
	log    bytes.Buffer
	wanted chan struct{}
	lost   chan struct{}
	tunnel *os.File
	// index is the tunnel's, own the hold's.
	index, own int
	socket     int
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{wanted: make(chan struct{}, 100), lost: make(chan struct{}, 1)}
	b.space = tunneltest.NewSpace(t)
	b.space.Must(t, func() (err error) {
		if b.Hold, err = Open(Config{
			Logger: slog.New(slog.NewTextHandler(&b.log, nil)), Device: "hold",
			Wanted: func() { b.wanted <- struct{}{} }, Lost: func() { b.lost <- struct{}{} },
		}); err != nil {
			return err
		}
		if b.tunnel, err = openTUN("tunnel"); err != nil {
			return err
		}
		link, err := netlink.LinkByName("tunnel")
		if err != nil {
			return err
		}
		b.index = link.Attrs().Index
		if link, err = netlink.LinkByName("hold"); err != nil {
			return err
		}
		b.own = link.Attrs().Index
		if addrs, err := netlink.AddrList(link, netlink.FAMILY_ALL); err != nil || len(addrs) > 0 {
			t.Errorf("the device has the addresses %v, %v", addrs, err)
		}
		b.socket, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		return err
	})
	t.Cleanup(func() {
		if err := errors.Join(b.Close(), b.tunnel.Close(), unix.Close(b.socket)); err != nil {
			t.Error(err)
		}
	})
	return b
}

// arrive has packets come into the hold, as the datapath sends them there.
func (b *bench) arrive(t *testing.T, to netip.Prefix, from, until int) {
	t.Helper()
	for n := from; n < until; n++ {
		addr := &unix.SockaddrLinklayer{Protocol: toNetwork(unix.ETH_P_IPV6), Ifindex: b.own}
		if err := unix.Sendto(b.socket, ipv6(to, n), 0, addr); err != nil {
			t.Fatal(err)
		}
		if n%64 == 63 {
			time.Sleep(time.Millisecond) // a device's queue is shorter than a flood
		}
	}
}

// leaves expects the numbers from the tunnel, in their order.
func (b *bench) leaves(t *testing.T, to netip.Prefix, from, until int) {
	t.Helper()
	buffer := make([]byte, maxPacket)
	for n := from; n < until; n++ {
		if err := b.tunnel.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
			t.Fatal(err)
		}
		size, err := b.tunnel.Read(buffer)
		if err != nil {
			t.Fatalf("packet %d: %v", n, err)
		}
		if got, want := string(buffer[:size]), string(ipv6(to, n)); got != want {
			t.Fatalf("packet %d is % x, want % x", n, got, want)
		}
	}
}

func (b *bench) awaitWaiting(t *testing.T, to netip.Prefix, packets int) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		b.mu.Lock()
		one, waiting := b.queues.to[to], 0
		if one != nil {
			waiting = len(one.packets)
		}
		all := uint64(waiting) + b.queues.dropped
		b.mu.Unlock()
		if all == uint64(packets) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d packets have come, want %d", all, packets)
		}
	}
}

// Packets wait until their tunnel is there, leave in their order, and those that
// come after that go straight on. Somebody is told once that they are there.
func TestPacketsWaitForTheirTunnel(t *testing.T) {
	b := newBench(t)
	b.arrive(t, peer, 0, 10)
	<-b.wanted
	b.awaitWaiting(t, peer, 10)
	if got := b.Asked(); len(got) != 1 || got[0] != peer {
		t.Errorf("asked for are %v, want %v", got, peer)
	}
	b.Lead(map[netip.Prefix]int{other: b.index})
	b.awaitWaiting(t, peer, 10)
	b.Lead(map[netip.Prefix]int{peer: b.index})
	b.arrive(t, peer, 10, 20)
	b.leaves(t, peer, 0, 20)
	<-b.wanted // those that came after Asked
	if len(b.wanted) > 0 || b.Dropped() > 0 {
		t.Errorf("told %d times more, %d dropped", len(b.wanted), b.Dropped())
	}
	b.Lead(nil)
	b.arrive(t, peer, 20, 21)
	b.awaitWaiting(t, peer, 1)
}

// A burst to a peer that sleeps is bounded, and what was given up is counted.
func TestABurstIsBounded(t *testing.T) {
	b := newBench(t)
	b.arrive(t, peer, 0, 1000)
	b.awaitWaiting(t, peer, 1000)
	if got := b.Dropped(); got != 1000-MaxPackets {
		t.Errorf("%d were given up, want %d", got, 1000-MaxPackets)
	}
	b.Lead(map[netip.Prefix]int{peer: b.index})
	b.leaves(t, peer, 1000-MaxPackets, 1000)
}
