package wan

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"
)

// listenBacklog is how many connections wait to be accepted.
const listenBacklog = 512

// firstSyn is after how long an unanswered attempt to connect is repeated.
const firstSyn = time.Second

// listener is a TCP port of a host.
type listener struct {
	host    *Host
	addr    netip.AddrPort
	backlog chan net.Conn
	closing chan struct{}
	once    sync.Once
}

// Listen opens a TCP port of the host.
func (h *Host) Listen(_ context.Context, addr netip.AddrPort) (net.Listener, error) {
	if addr.Addr() != h.addr {
		return nil, fmt.Errorf("listen on %s: %w", addr, syscall.EADDRNOTAVAIL)
	}
	l := &listener{host: h, addr: addr, backlog: make(chan net.Conn, listenBacklog), closing: make(chan struct{})}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.listeners[addr.Port()] != nil {
		return nil, fmt.Errorf("listen on %s: %w", addr, syscall.EADDRINUSE)
	}
	h.listeners[addr.Port()] = l
	return l, nil
}

// Accept waits for a connection.
func (l *listener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.backlog:
		return conn, nil
	case <-l.closing:
		return nil, net.ErrClosed
	}
}

// Close closes the port and the connections that nobody has accepted.
func (l *listener) Close() error {
	l.once.Do(func() {
		l.host.mu.Lock()
		delete(l.host.listeners, l.addr.Port())
		close(l.closing)
		l.host.mu.Unlock()
		for {
			select {
			case conn := <-l.backlog:
				_ = conn.Close()
			default:
				return
			}
		}
	})
	return nil
}

// Addr returns the port's address.
func (l *listener) Addr() net.Addr { return net.TCPAddrFromAddrPort(l.addr) }

// Dial connects to a port of another host.
func (h *Host) Dial(ctx context.Context, addr netip.AddrPort) (net.Conn, error) {
	conn, err := h.dial(ctx, addr)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Addr: net.TCPAddrFromAddrPort(addr), Err: err}
	}
	return conn, nil
}

func (h *Host) dial(ctx context.Context, addr netip.AddrPort) (net.Conn, error) {
	n := h.network
	other := n.host(addr.Addr())
	if other == nil {
		return nil, errNoHost
	}
	flow := Flow{"tcp", addr.Port()}
	ours, theirs := h.counter(flow), other.counter(flow)
	for again := firstSyn; ; again = min(2*again, mostTimeout) {
		ours.send(1, h.headers(tcpHeader))
		if h.loses() || n.severed(h, other) {
			if err := Wait(ctx, again); err != nil {
				return nil, err
			}
			continue
		}
		if err := Wait(ctx, n.until(time.Now().Add(n.base(h, other)+h.jitter()))); err != nil {
			return nil, err
		}
		theirs.send(1, other.headers(tcpHeader))
		there, here := other.answer(h, addr, ours, theirs)
		back, lost := n.until(time.Now().Add(n.base(other, h)+other.jitter())), false
		if other.loses() || n.severed(other, h) {
			back, lost = again, true
		}
		err := Wait(ctx, back)
		if err == nil && here != nil && !n.severed(other, h) {
			ours.send(1, h.headers(tcpHeader))
			return here, nil
		}
		if here != nil { // Nobody will know of it.
			_ = here.Close()
			_ = there.Close()
		}
		switch {
		case err != nil:
			return nil, err
		case here == nil && !lost:
			return nil, syscall.ECONNREFUSED
		}
	}
}

// answer takes a connection, and returns both its ends, nil if nobody listens.
func (h *Host) answer(from *Host, addr netip.AddrPort, caller, called *counter) (there, here *conn) {
	port := netip.AddrPortFrom(from.addr, from.ephemeral())
	out, in := newPipe(from, h, caller, called), newPipe(h, from, called, caller)
	here = &conn{in: in, out: out, local: net.TCPAddrFromAddrPort(port), remote: net.TCPAddrFromAddrPort(addr)}
	there = &conn{in: out, out: in, local: here.remote, remote: here.local}
	reset := func() {
		out.breakOff(syscall.ECONNRESET)
		in.breakOff(syscall.ECONNRESET)
	}
	in.reset, out.reset = reset, reset
	h.mu.Lock()
	defer h.mu.Unlock()
	l := h.listeners[addr.Port()]
	if l == nil {
		return nil, nil
	}
	select {
	case l.backlog <- there:
		return there, here
	default:
		return nil, nil
	}
}

// Wait waits, unless ctx ends first.
func Wait(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// conn is one end of a stream.
type conn struct {
	in, out       *pipe
	local, remote *net.TCPAddr
	once          sync.Once
}

var _ net.Conn = (*conn)(nil)

// Read waits for what the other side has written.
func (c *conn) Read(b []byte) (int, error) { return c.in.receive(b) }

// Write sends. It never waits.
func (c *conn) Write(b []byte) (int, error) {
	c.in.mu.Lock()
	closed := c.in.closed
	c.in.mu.Unlock()
	if closed {
		return 0, net.ErrClosed
	}
	return c.out.write(b, false)
}

// Close ends the stream: what was written still arrives.
func (c *conn) Close() error {
	c.once.Do(func() {
		c.in.close()
		_, _ = c.out.write(nil, true) // A stream that is broken needs no end.
	})
	return nil
}

// LocalAddr returns this end's address.
func (c *conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr returns the other end's.
func (c *conn) RemoteAddr() net.Addr { return c.remote }

// SetDeadline bounds reading: writing never waits.
func (c *conn) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }

// SetReadDeadline bounds reading.
func (c *conn) SetReadDeadline(t time.Time) error {
	c.in.read.set(t)
	c.in.poke() // Who waits has to look again.
	return nil
}

// SetWriteDeadline does nothing: writing never waits.
func (c *conn) SetWriteDeadline(time.Time) error { return nil }
