package wan

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"
)

const (
	// udpHeader is that of UDP, in bytes.
	udpHeader = 8
	// inboxSize is how many packets wait to be read; the rest is dropped.
	inboxSize = 4096
)

// packet is a datagram that has come.
type packet struct {
	from *net.UDPAddr
	data []byte
}

// packetConn is a UDP port of a host.
type packetConn struct {
	host    *Host
	addr    netip.AddrPort
	flow    *counter
	inbox   chan packet
	closing chan struct{}
	once    sync.Once
	read    deadline
}

var _ net.PacketConn = (*packetConn)(nil)

// ListenPacket opens a UDP port of the host.
func (h *Host) ListenPacket(_ context.Context, addr netip.AddrPort) (net.PacketConn, error) {
	if addr.Addr() != h.addr {
		return nil, fmt.Errorf("listen on %s: %w", addr, syscall.EADDRNOTAVAIL)
	}
	c := &packetConn{
		host: h, addr: addr, flow: h.counter(Flow{"udp", addr.Port()}),
		inbox: make(chan packet, inboxSize), closing: make(chan struct{}),
	}
	c.read.init()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.packets[addr.Port()] != nil {
		return nil, fmt.Errorf("listen on %s: %w", addr, syscall.EADDRINUSE)
	}
	h.packets[addr.Port()] = c
	return c, nil
}

// ReadFrom waits for a packet.
func (c *packetConn) ReadFrom(b []byte) (int, net.Addr, error) {
	select {
	case p := <-c.inbox:
		return copy(b, p.data), p.from, nil
	case <-c.closing:
		return 0, nil, net.ErrClosed
	case <-c.read.passed():
		return 0, nil, os.ErrDeadlineExceeded
	}
}

// WriteTo sends a packet. What becomes of it is not told.
func (c *packetConn) WriteTo(b []byte, addr net.Addr) (int, error) {
	udp, ok := addr.(*net.UDPAddr)
	if !ok {
		return 0, fmt.Errorf("send to %s: %w", addr, errors.ErrUnsupported)
	}
	select {
	case <-c.closing:
		return 0, net.ErrClosed
	default:
	}
	h, n := c.host, c.host.network
	to := netip.AddrPortFrom(udp.AddrPort().Addr().Unmap(), udp.AddrPort().Port())
	size := len(b) + h.headers(udpHeader)
	c.flow.send(1, size)
	other := n.host(to.Addr())
	if h.backlog() > queueDelay {
		return len(b), nil
	}
	at := h.depart(time.Now(), size)
	if other == nil || h.loses() || n.severed(h, other) {
		return len(b), nil
	}
	at = at.Add(n.base(h, other) + h.jitter())
	p := packet{from: net.UDPAddrFromAddrPort(c.addr), data: slices.Clone(b)}
	time.AfterFunc(n.until(at), func() { other.deliver(to.Port(), p, size) })
	return len(b), nil
}

// deliver hands a packet to whoever listens.
func (h *Host) deliver(port uint16, p packet, size int) {
	h.mu.Lock()
	c := h.packets[port]
	h.mu.Unlock()
	if c == nil {
		return
	}
	select {
	case c.inbox <- p:
		c.flow.receive(1, size)
	default:
	}
}

// Close closes the port.
func (c *packetConn) Close() error {
	c.once.Do(func() {
		close(c.closing)
		c.host.mu.Lock()
		defer c.host.mu.Unlock()
		delete(c.host.packets, c.addr.Port())
	})
	return nil
}

// LocalAddr returns the port's address.
func (c *packetConn) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(c.addr) }

// SetDeadline bounds reading: writing never waits.
func (c *packetConn) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }

// SetReadDeadline bounds reading.
func (c *packetConn) SetReadDeadline(t time.Time) error {
	c.read.set(t)
	return nil
}

// SetWriteDeadline does nothing: writing never waits.
func (c *packetConn) SetWriteDeadline(time.Time) error { return nil }

// deadline is an instant that can be waited for, and moved.
type deadline struct {
	mu    sync.Mutex
	over  chan struct{}
	timer *time.Timer
}

func (d *deadline) init() { d.over = make(chan struct{}) }

// passed returns what is closed when the deadline passes.
func (d *deadline) passed() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.over
}

// set moves the deadline; the zero Time is none. Who waits already goes on
// waiting for the one before only if that has come to its end.
func (d *deadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil && !d.timer.Stop() {
		d.over = make(chan struct{})
	}
	d.timer = nil
	select {
	case <-d.over:
		d.over = make(chan struct{})
	default:
	}
	if t.IsZero() {
		return
	}
	over := d.over
	if wait := time.Until(t); wait > 0 {
		d.timer = time.AfterFunc(wait, func() { close(over) })
		return
	}
	close(over)
}
