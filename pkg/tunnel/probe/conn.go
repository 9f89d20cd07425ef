package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
)

// listen opens a raw ICMPv6 socket on the address that sees echo replies only.
// The socket stays usable when the address goes and comes back.
func listen(source netip.Addr) (net.PacketConn, error) {
	var config net.ListenConfig
	c, err := config.ListenPacket(context.Background(), "ip6:ipv6-icmp", source.String())
	if err != nil {
		return nil, fmt.Errorf("open ICMPv6 socket: %w", err)
	}
	if err := sendWhole(c); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	var filter ipv6.ICMPFilter
	filter.SetAll(true)
	filter.Accept(ipv6.ICMPTypeEchoReply)
	if err := ipv6.NewPacketConn(c).SetICMPFilter(&filter); err != nil {
		return nil, errors.Join(fmt.Errorf("filter ICMPv6 socket: %w", err), c.Close())
	}
	return c, nil
}

// Via returns what opens a socket like the usual one that is of one device: its packets
// leave by that, and answers are heard that come by it.
func Via(device string) func(netip.Addr) (net.PacketConn, error) {
	return func(source netip.Addr) (net.PacketConn, error) {
		c, err := listen(source)
		if err != nil {
			return nil, err
		}
		return &via{PacketConn: c, device: device}, nil
	}
}

// via is a socket of one device.
type via struct {
	net.PacketConn
	device string
	bound  int // the index of the device that it is bound to; 0 before the first
}

// WriteTo finds the device anew: the one of that name may be another by now.
func (v *via) WriteTo(b []byte, to net.Addr) (int, error) {
	if err := control(v.PacketConn, v.bind); err != nil {
		return 0, fmt.Errorf("send by device %s: %w", v.device, err)
	}
	return v.PacketConn.WriteTo(b, to)
}

// bind binds the socket. To name the device with each packet is not enough: where the
// source is given, too, the kernel takes that for a wish, and a better route by another
// device before it (ip6_route_output_flags in net/ipv6/route.c).
func (v *via) bind(fd int) error {
	request, err := unix.NewIfreq(v.device)
	if err == nil {
		err = unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, request)
	}
	if err != nil {
		return err
	}
	index := int(request.Uint32())
	if index == v.bound {
		return nil
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, index); err != nil {
		return err
	}
	v.bound = index
	return nil
}

// sendWhole has the kernel send packets as they are, or not at all: one that is
// cut into fragments tells nothing about a size.
func sendWhole(c net.PacketConn) error {
	err := control(c, func(fd int) error {
		return errors.Join(
			unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_PROBE),
			unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_DONTFRAG, 1),
		)
	})
	if err != nil {
		return fmt.Errorf("set up ICMPv6 socket: %w", err)
	}
	return nil
}

// control runs do with the descriptor of a socket.
func control(c net.PacketConn, do func(fd int) error) error {
	conn, ok := c.(syscall.Conn)
	if !ok {
		return errors.New("it has no descriptor")
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var done error
	err = raw.Control(func(fd uintptr) { done = do(int(fd)) })
	return errors.Join(err, done)
}

// source returns the sender's address, or the zero address.
func source(a net.Addr) netip.Addr {
	ip, ok := a.(*net.IPAddr)
	if !ok {
		return netip.Addr{}
	}
	addr, _ := netip.AddrFromSlice(ip.IP)
	return addr
}
