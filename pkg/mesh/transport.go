package mesh

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/hashicorp/memberlist"
)

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
	dialer := net.Dialer{Timeout: timeout}
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
