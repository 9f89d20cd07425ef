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

// Via returns what opens a socket like the usual one, whose packets leave by a
// device whatever the routes say. Answers may come by any.
func Via(device string) func(netip.Addr) (net.PacketConn, error) {
	return func(source netip.Addr) (net.PacketConn, error) {
		c, err := listen(source)
		if err != nil {
			return nil, err
		}
		return &via{PacketConn: c, ip: ipv6.NewPacketConn(c), device: device}, nil
	}
}

// via is a socket that sends by one device.
type via struct {
	net.PacketConn
	ip     *ipv6.PacketConn
	device string
}

// WriteTo finds the device anew: the one of that name may be another by now.
func (v *via) WriteTo(b []byte, to net.Addr) (int, error) {
	d, err := net.InterfaceByName(v.device)
	if err != nil {
		return 0, fmt.Errorf("find device %s: %w", v.device, err)
	}
	return v.ip.WriteTo(b, &ipv6.ControlMessage{IfIndex: d.Index}, to)
}

// sendWhole has the kernel send packets as they are, or not at all: one that is
// cut into fragments tells nothing about a size.
func sendWhole(c net.PacketConn) error {
	conn, ok := c.(syscall.Conn)
	if !ok {
		return errors.New("set up ICMPv6 socket: it has no descriptor")
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return fmt.Errorf("set up ICMPv6 socket: %w", err)
	}
	var set error
	err = raw.Control(func(fd uintptr) {
		set = errors.Join(
			unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_PROBE),
			unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_DONTFRAG, 1),
		)
	})
	if err := errors.Join(err, set); err != nil {
		return fmt.Errorf("set up ICMPv6 socket: %w", err)
	}
	return nil
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
