package userspace

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/conn"
)

// wholeBind has the kernel send datagrams whole or not at all, whatever a router
// has said of the path. By default it would cut them into fragments once it has
// heard that the path is narrow: then the tunnel seems wider than it is, and
// batches for segmentation offload, which it does not cut, are refused and lost.
type wholeBind struct{ conn.Bind }

// Open opens the sockets. wireguard-go has no way to be told of their options,
// so they are looked for by their port.
func (b wholeBind) Open(port uint16) ([]conn.ReceiveFunc, uint16, error) {
	receive, actual, err := b.Bind.Open(port)
	if err != nil {
		return nil, 0, err
	}
	if err := sendWhole(actual); err != nil {
		return nil, 0, errors.Join(fmt.Errorf("set up sockets: %w", err), b.Close())
	}
	return receive, actual, nil
}

// sendWhole sets the option of all UDP sockets of this process with that port.
func sendWhole(port uint16) error {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return fmt.Errorf("list own descriptors: %w", err)
	}
	found := 0
	for _, entry := range entries {
		fd, err := strconv.Atoi(entry.Name())
		if err != nil || !isUDP(fd) {
			continue
		}
		address, err := unix.Getsockname(fd)
		if err != nil {
			continue
		}
		switch a := address.(type) {
		case *unix.SockaddrInet4:
			if a.Port != int(port) {
				continue
			}
			err = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_PROBE)
		case *unix.SockaddrInet6:
			if a.Port != int(port) {
				continue
			}
			err = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_PROBE)
		}
		if err != nil {
			return fmt.Errorf("have packets sent whole: %w", err)
		}
		found++
	}
	if found == 0 {
		return fmt.Errorf("have packets sent whole: no socket has port %d", port)
	}
	return nil
}

func isUDP(fd int) bool {
	protocol, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL)
	return err == nil && protocol == unix.IPPROTO_UDP
}
