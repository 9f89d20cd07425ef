package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"edgenet.dev/edgenet/test/netns/lab/frame"
)

// station is one end of a way that frames are sent over as fast as it takes
// them: a network namespace with an eth0.
type station struct {
	path         string
	mac, gateway net.HardwareAddr
	addr         netip.Addr
	socket       int
}

// open makes the socket for frames, and has everything that arrives at eth0
// counted and dropped: what becomes of it afterwards is no part of the way.
func (s *station) open(ctx context.Context) error {
	s.socket = -1
	err := within(s.path, func() (err error) {
		s.socket, err = packetSocket("eth0")
		return err
	})
	if err != nil {
		return err
	}
	_, err = outputOf(ctx, s.path, counting, "nft", "-f", "-")
	return err
}

const counting = `table netdev bench {
	chain arrived {
		type filter hook ingress device "eth0" priority filter
		counter drop
	}
}
`

// packetSocket sends frames out of a device, past its queue.
func packetSocket(device string) (int, error) {
	found, err := net.InterfaceByName(device)
	if err != nil {
		return -1, fmt.Errorf("find %s: %w", device, err)
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open packet socket: %w", err)
	}
	err = unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_QDISC_BYPASS, 1)
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrLinklayer{Ifindex: found.Index})
	}
	if err != nil {
		return -1, errors.Join(fmt.Errorf("bind packet socket to %s: %w", device, err), unix.Close(fd))
	}
	return fd, nil
}

func (s *station) close() error {
	if s.socket < 0 {
		return nil
	}
	return unix.Close(s.socket)
}

// datagram is a small UDP frame to another station.
func (s *station) datagram(to *station, from, port uint16) []byte {
	source, target := netip.AddrPortFrom(s.addr, from), netip.AddrPortFrom(to.addr, port)
	packet := frame.IPv4{Src: s.addr, Dst: to.addr, Protocol: frame.ProtoUDP}.Packet(frame.UDP(source, target, make([]byte, 18)))
	return frame.Ethernet(s.gateway, s.mac, frame.TypeIPv4, packet)
}

// message is struct mmsghdr (sendmmsg(2)).
type message struct {
	header unix.Msghdr
	length uint32
	_      uint32
}

// batch is how many frames one call sends.
const batch = 64

// send sends the frames as fast as the way takes them, and returns how long that
// took. The kernel carries each frame as far as it goes on the sending processor,
// before the next.
func (s *station) send(frames [][]byte) (time.Duration, error) {
	vectors := make([]unix.Iovec, len(frames))
	messages := make([]message, len(frames))
	for i, bytes := range frames {
		vectors[i].Base = unsafe.SliceData(bytes)
		vectors[i].SetLen(len(bytes))
		messages[i].header.Iov = &vectors[i]
		messages[i].header.SetIovlen(1)
	}
	var took time.Duration
	err := within(s.path, func() error {
		if err := stayOn(0); err != nil {
			return err
		}
		began := time.Now()
		for rest := messages; len(rest) > 0; {
			sent, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(s.socket),
				uintptr(unsafe.Pointer(&rest[0])), uintptr(min(len(rest), batch)), 0, 0, 0)
			if errno != 0 && !errors.Is(errno, unix.EINTR) {
				return fmt.Errorf("send frames: %w", errno)
			}
			if errno == 0 {
				rest = rest[sent:]
			}
		}
		took = time.Since(began)
		return nil
	})
	return took, err
}

var countedPackets = regexp.MustCompile(`counter packets (\d+) bytes`)

// arrived counts the frames that have come to the station since it was opened.
func (s *station) arrived(ctx context.Context) (int, error) {
	report, err := output(ctx, s.path, "nft", "list", "chain", "netdev", "bench", "arrived")
	if err != nil {
		return 0, err
	}
	return packetCount(report)
}

func packetCount(report string) (int, error) {
	found := countedPackets.FindStringSubmatch(report)
	if found == nil {
		return 0, fmt.Errorf("no counter in %q", report)
	}
	count, err := strconv.Atoi(found[1])
	if err != nil {
		return 0, fmt.Errorf("read counter: %w", err)
	}
	return count, nil
}
