package userspace

import (
	"os"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/conn"
)

func TestDatagramsAreSentWhole(t *testing.T) {
	b := wholeBind{conn.NewStdNetBind()}
	_, port, err := b.Open(0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	sockets := 0
	for _, entry := range entries {
		fd, err := strconv.Atoi(entry.Name())
		if err != nil || !isUDP(fd) {
			continue
		}
		got, want := 0, unix.IP_PMTUDISC_PROBE
		address, err := unix.Getsockname(fd)
		if err != nil {
			t.Fatal(err)
		}
		switch a := address.(type) {
		case *unix.SockaddrInet4:
			if a.Port != int(port) {
				continue
			}
			got, err = unix.GetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER)
		case *unix.SockaddrInet6:
			if a.Port != int(port) {
				continue
			}
			got, err = unix.GetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER)
			want = unix.IPV6_PMTUDISC_PROBE
		}
		if err != nil || got != want {
			t.Errorf("socket %d: %d, %v, want %d", fd, got, err, want)
		}
		sockets++
	}
	if sockets == 0 {
		t.Error("no socket was found")
	}
}
