package mesh

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"

	"github.com/hashicorp/memberlist"
	"golang.org/x/sys/unix"
)

const (
	// gossipPacket is the most that a datagram carries, in bytes, and maxSegment
	// the most that a segment of TCP does. With their headers they fit into the
	// 1,280 bytes that every path carries over IPv6, and nearly every one over
	// IPv4. The mesh says little, and must not depend on routers that tell of
	// narrow paths; paths of tunnels are measured.
	gossipPacket = 1280 - 40 - 8
	maxSegment   = 1280 - 40 - 20
)

// newDialer makes connections of which neither side sends larger segments.
func newDialer() *net.Dialer {
	return &net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
		var set error
		err := c.Control(func(fd uintptr) {
			set = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_MAXSEG, maxSegment)
		})
		if err = errors.Join(err, set); err != nil {
			return fmt.Errorf("bound segments: %w", err)
		}
		return nil
	}}
}

// gossipTransport is memberlist's own, but that the end of a session also ends
// what it is waiting for.
type gossipTransport struct {
	*memberlist.NetTransport
	ctx context.Context // memberlist's interface has none.
}

var _ memberlist.NodeAwareTransport = gossipTransport{}

// DialTimeout opens a stream to an address.
func (t gossipTransport) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	return t.DialAddressTimeout(memberlist.Address{Addr: addr}, timeout)
}

// DialAddressTimeout opens a stream to an address.
func (t gossipTransport) DialAddressTimeout(addr memberlist.Address, timeout time.Duration) (net.Conn, error) {
	dialer := newDialer()
	dialer.Timeout = timeout
	conn, err := dialer.DialContext(t.ctx, "tcp", addr.Addr)
	if err != nil {
		return nil, fmt.Errorf("dial member: %w", err)
	}
	return &boundConn{Conn: conn, release: context.AfterFunc(t.ctx, func() { _ = conn.Close() })}, nil
}

// boundConn is a connection that a context ends.
type boundConn struct {
	net.Conn
	release func() bool
}

// Close closes the connection and lets go of the context.
func (c *boundConn) Close() error {
	c.release()
	return c.Conn.Close()
}
