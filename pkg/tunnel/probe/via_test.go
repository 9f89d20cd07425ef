package probe

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"edgenet.dev/edgenet/pkg/tunnel/internal/device"
	"edgenet.dev/edgenet/pkg/tunnel/tunneltest"
)

var (
	viaSelf = netip.MustParseAddr("fd12:3400:0:1::1")
	viaPeer = netip.MustParseAddr("fd12:3400:0:2::1")
)

// openTUN makes a device that goes with its descriptor, and leads to the mesh by a
// metric.
func openTUN(name string, metric int) (*os.File, error) {
	fd, err := unix.Open(device.TUN, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	request, err := unix.NewIfreq(name)
	if err == nil {
		request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, request)
	}
	tun := os.NewFile(uintptr(fd), name)
	if err == nil {
		err = setUp(name, metric)
	}
	if err != nil {
		return nil, errors.Join(err, tun.Close())
	}
	return tun, nil
}

func setUp(name string, metric int) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	return errors.Join(
		netlink.LinkSetUp(link),
		device.EnsureAddress(link, viaSelf, nil),
		device.EnsureRoutes(link, netip.MustParsePrefix("fd12:3400::/24"), metric, nil),
	)
}

// asked tells whether a request has left by a device, of which it is the next packet
// from one node to the other.
func asked(t *testing.T, tun *os.File) bool {
	t.Helper()
	if err := tun.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	for packet := make([]byte, 2000); ; {
		n, err := tun.Read(packet)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return false
		}
		if err != nil {
			t.Fatal(err)
		}
		if n > ipv6HeaderLen && packet[6] == unix.IPPROTO_ICMPV6 && packet[ipv6HeaderLen] == typeEchoRequest {
			return true
		}
	}
}

// answer has one come by a device.
func answer(t *testing.T, tun *os.File, seq uint16) {
	t.Helper()
	reply := request(1, seq, nonce{})
	reply[0] = typeEchoReply
	packet := make([]byte, ipv6HeaderLen, ipv6HeaderLen+len(reply))
	packet[0], packet[5], packet[6], packet[7] = 6<<4, byte(len(reply)), unix.IPPROTO_ICMPV6, 64
	copy(packet[8:], viaPeer.AsSlice())
	copy(packet[24:], viaSelf.AsSlice())
	sum := uint32(len(reply)) + unix.IPPROTO_ICMPV6
	for i, b := range append(packet[8:ipv6HeaderLen:ipv6HeaderLen], reply...) {
		sum += uint32(b) << (8 * (1 - i%2))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	reply[2], reply[3] = byte(^sum>>8), byte(^sum)
	if _, err := tun.Write(append(packet, reply...)); err != nil {
		t.Fatal(err)
	}
}

// heard is the number of the first answer.
func heard(t *testing.T, c net.PacketConn) uint16 {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 100)
	n, _, err := c.ReadFrom(b)
	if err != nil {
		t.Fatal(err)
	}
	seq, err := parseReply(b[:n], 1, nonce{})
	if err != nil {
		t.Fatal(err)
	}
	return seq
}

// What proves a tunnel goes by that tunnel and comes by it, though every route leads
// into another one: first that of the mesh, then the peer's own, too.
func TestAProofIsOfItsDevice(t *testing.T) {
	space := tunneltest.NewSpace(t)
	var old, tunnel *os.File
	var c net.PacketConn
	space.Must(t, func() (err error) {
		if old, err = openTUN("old", 1024); err != nil {
			return err
		}
		if tunnel, err = openTUN("new", 2048); err != nil {
			return err
		}
		c, err = Via("new")(viaSelf)
		return err
	})
	t.Cleanup(func() { _, _, _ = old.Close(), tunnel.Close(), c.Close() })
	ask := func(name string) {
		t.Helper()
		if _, err := c.WriteTo(request(1, 0, nonce{}), &net.IPAddr{IP: viaPeer.AsSlice()}); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !asked(t, tunnel) || asked(t, old) {
			t.Errorf("%s: the request leaves by another device", name)
		}
	}
	ask("the mesh is led into the old device")
	space.Must(t, func() error {
		link, err := netlink.LinkByName("old")
		if err != nil {
			return err
		}
		return netlink.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Dst: device.IPNet(netip.PrefixFrom(viaPeer, 64).Masked())})
	})
	ask("the peer is led into the old device")
	answer(t, old, 1)
	answer(t, tunnel, 2)
	if got := heard(t, c); got != 2 {
		t.Errorf("answer %d is heard, want that which came by the device", got)
	}
	space.Must(t, func() (err error) { // as by a process that dies
		if err := tunnel.Close(); err != nil {
			return err
		}
		tunnel, err = openTUN("new", 2048)
		return err
	})
	ask("the device is made anew")
	answer(t, tunnel, 3)
	if got := heard(t, c); got != 3 {
		t.Errorf("answer %d is heard by the device that was made anew", got)
	}
}
