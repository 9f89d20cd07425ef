package mesh

import (
	"net"
	"net/netip"
	"sync"
)

// sourceListener accepts a limited number of connections from each source: an
// IPv4 address or an IPv6 /64.
type sourceListener struct {
	net.Listener
	limit int
	mu    sync.Mutex
	count map[netip.Prefix]int
}

func limitSources(ln net.Listener, limit int) *sourceListener {
	return &sourceListener{Listener: ln, limit: limit, count: make(map[netip.Prefix]int)}
}

// Accept returns the next connection of a source that has not too many; others
// are closed.
func (l *sourceListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		source := sourceOf(conn.RemoteAddr())
		if l.take(source) {
			return &sourceConn{Conn: conn, release: sync.OnceFunc(func() { l.release(source) })}, nil
		}
		_ = conn.Close()
	}
}

func (l *sourceListener) take(source netip.Prefix) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.count[source] >= l.limit {
		return false
	}
	l.count[source]++
	return true
}

func (l *sourceListener) release(source netip.Prefix) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.count[source]--; l.count[source] <= 0 {
		delete(l.count, source)
	}
}

// sourceOf returns where a connection is from. What is no IP address is one
// source.
func sourceOf(addr net.Addr) netip.Prefix {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}
	}
	a := tcp.AddrPort().Addr().Unmap().WithZone("")
	bits := a.BitLen()
	if a.Is6() {
		bits = 64
	}
	return netip.PrefixFrom(a, bits).Masked()
}

// sourceConn is a connection that is counted until it is closed.
type sourceConn struct {
	net.Conn
	release func()
}

// Close closes the connection and no longer counts it.
func (c *sourceConn) Close() error {
	c.release()
	return c.Conn.Close()
}
