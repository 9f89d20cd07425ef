package isolation

import (
	"bytes"
	"errors"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// control calls f with a connection's descriptor.
func control(t testing.TB, c syscall.Conn, f func(fd int) error) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var inner error
	if err := errors.Join(raw.Control(func(fd uintptr) { inner = f(int(fd)) }), inner); err != nil {
		t.Fatal(err)
	}
}

// needUSO skips by name where taps and tunnels have no UDP segmentation offload,
// which only asking one for it tells.
func needUSO(t testing.TB) {
	t.Helper()
	err := in(newSpace(t), func() (refused error, err error) {
		fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
		if err != nil {
			return nil, err
		}
		defer func() { _ = unix.Close(fd) }()
		request, err := unix.NewIfreq("uso")
		if err != nil {
			return nil, err
		}
		request.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
		if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, request); err != nil {
			return nil, err
		}
		const offloads = unix.TUN_F_CSUM | unix.TUN_F_USO4 | unix.TUN_F_USO6
		return unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, offloads), nil
	})
	if errors.Is(err, unix.EINVAL) {
		t.Skip("kernel lacks UDP segmentation offload of taps")
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Large UDP sends are cut by the sender's stack, coalesced by the tunnel on
// arrival, translated in one piece, and whole at the receiver.
func TestUDPSegmentationAcrossHosts(t *testing.T) {
	needUSO(t)
	p := newDualPair(t, 1400)
	for _, to := range []string{"10.0.0.4", "fd00:64::4"} {
		t.Run(to, func(t *testing.T) {
			p.web.reaches(to)
			carriesLargeUDP(t, p.web, p.far, net.JoinHostPort(to, "53"))
		})
	}
}

func carriesLargeUDP(t *testing.T, from, to *space, address string) {
	t.Helper()
	server := in(to, func() (net.PacketConn, error) { return net.ListenPacket("udp", address) }).(*net.UDPConn)
	defer func() { _ = server.Close() }()
	control(t, server, func(fd int) error { return unix.SetsockoptInt(fd, unix.IPPROTO_UDP, unix.UDP_GRO, 1) })
	client := in(from, func() (net.Conn, error) { return net.Dial("udp", address) }).(*net.UDPConn)
	defer func() { _ = client.Close() }()
	const segment, count = 1000, 40
	control(t, client, func(fd int) error { return unix.SetsockoptInt(fd, unix.IPPROTO_UDP, unix.UDP_SEGMENT, segment) })

	// What one send brings may be coalesced or not; many are enough for both.
	largest := 0
	for round := range 50 {
		sent := bytes.Repeat([]byte{byte(round), 1, 2, 3, 4, 5, 6, 7}, segment*count/8)
		if _, err := client.Write(sent); err != nil {
			t.Fatal(err)
		}
		got := receive(t, server, len(sent), &largest)
		if !bytes.Equal(got, sent) {
			t.Fatalf("round %d: %d bytes of %d, or others", round, len(got), len(sent))
		}
	}
	if largest <= segment {
		t.Error("no two datagrams arrived in one piece: the offload was not tested")
	}
}

func receive(t testing.TB, c *net.UDPConn, size int, largest *int) []byte {
	t.Helper()
	var got []byte
	for buf := make([]byte, 70000); len(got) < size; {
		if err := c.SetReadDeadline(time.Now().Add(answerWithin)); err != nil {
			t.Fatal(err)
		}
		n, err := c.Read(buf)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return got
		}
		if err != nil {
			t.Fatal(err)
		}
		*largest = max(*largest, n)
		got = append(got, buf[:n]...)
	}
	return got
}
