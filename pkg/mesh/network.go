package mesh

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// Network is the underlay as a node has it. Its methods may be called by several
// goroutines.
type Network interface {
	// Listen takes connections to an address of the node's own.
	Listen(ctx context.Context, addr netip.AddrPort) (net.Listener, error)
	// ListenPacket takes datagrams to an address of the node's own, and sends
	// from there. Their addresses are *net.UDPAddr.
	ListenPacket(ctx context.Context, addr netip.AddrPort) (net.PacketConn, error)
	// Dial connects to another node's address. ctx bounds the attempt, not the
	// connection.
	Dial(ctx context.Context, addr netip.AddrPort) (net.Conn, error)
}

const (
	// gossipPacket is the most that a datagram carries, in bytes, and maxSegment
	// the most that a segment of TCP does. With their headers they fit into the
	// 1,280 bytes that every path carries over IPv6, and nearly every one over
	// IPv4. The mesh says little, and must not depend on routers that tell of
	// narrow paths; paths of tunnels are measured.
	gossipPacket = 1280 - 40 - 8
	maxSegment   = 1280 - 40 - 20
	// receiveBuffer is how many bytes of datagrams wait in the kernel, where it
	// allows that much.
	receiveBuffer = 2 << 20
)

// kernelNetwork is the host's own.
type kernelNetwork struct{}

var _ Network = kernelNetwork{}

// Listen opens a TCP port.
func (kernelNetwork) Listen(ctx context.Context, addr netip.AddrPort) (net.Listener, error) {
	var lc net.ListenConfig
	return lc.Listen(ctx, "tcp", addr.String())
}

// ListenPacket opens a UDP port.
func (kernelNetwork) ListenPacket(ctx context.Context, addr netip.AddrPort) (net.PacketConn, error) {
	var lc net.ListenConfig
	conn, err := lc.ListenPacket(ctx, "udp", addr.String())
	if err != nil {
		return nil, err
	}
	if udp, ok := conn.(*net.UDPConn); ok {
		size := receiveBuffer
		for size > 0 && udp.SetReadBuffer(size) != nil {
			size /= 2
		}
	}
	return conn, nil
}

// Dial opens a TCP connection of which neither side sends larger segments.
func (kernelNetwork) Dial(ctx context.Context, addr netip.AddrPort) (net.Conn, error) {
	dialer := net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
		var set error
		err := c.Control(func(fd uintptr) {
			set = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_MAXSEG, maxSegment)
		})
		if err = errors.Join(err, set); err != nil {
			return fmt.Errorf("bound segments: %w", err)
		}
		return nil
	}}
	return dialer.DialContext(ctx, "tcp", addr.String())
}
