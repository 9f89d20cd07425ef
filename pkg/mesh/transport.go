package mesh

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
	"golang.org/x/net/netutil"
)

const (
	// maxDatagram is the most that a datagram has, in bytes: memberlist does not count
	// its checksum. Without that bound one packet of 64 KiB of compressed data costs as
	// much as 40 MiB do.
	maxDatagram = gossipPacket + 64
	// maxStreams bounds the streams that others have open here, and maxSourceStreams
	// those of one source. Each lasts for streamTimeout at most and may take some 40 MiB.
	maxStreams       = 128
	maxSourceStreams = 8
	// acceptFirst and acceptLast bound the wait after an error of the network.
	acceptFirst = 5 * time.Millisecond
	acceptLast  = time.Second
)

// gossipTransport carries memberlist's packets and streams over a Network. The
// end of a session also ends what it is waiting for.
type gossipTransport struct {
	network   Network
	ctx       context.Context // memberlist's interface has none.
	advertise netip.AddrPort
	log       *log.Logger
	refused   func(error)
	conn      net.PacketConn
	listener  net.Listener
	packets   chan *memberlist.Packet
	streams   chan net.Conn
	closing   chan struct{}
	closed    sync.Once
	loops     sync.WaitGroup
}

var _ memberlist.NodeAwareTransport = (*gossipTransport)(nil)

// gossipEnd is where a node gossips.
type gossipEnd struct {
	network Network
	addr    netip.AddrPort
	log     *log.Logger
	// refused is told of packets that memberlist does not get to see.
	refused func(error)
}

// newGossipTransport listens at an address until Shutdown.
func newGossipTransport(ctx context.Context, at gossipEnd) (*gossipTransport, error) {
	listener, err := at.network.Listen(ctx, at.addr)
	if err != nil {
		return nil, fmt.Errorf("listen for streams: %w", err)
	}
	listener = netutil.LimitListener(limitSources(listener, maxSourceStreams), maxStreams)
	conn, err := at.network.ListenPacket(ctx, at.addr)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("listen for packets: %w", err), listener.Close())
	}
	t := &gossipTransport{
		network: at.network, ctx: ctx, advertise: at.addr, log: at.log, refused: at.refused, conn: conn, listener: listener,
		packets: make(chan *memberlist.Packet), streams: make(chan net.Conn), closing: make(chan struct{}),
	}
	t.loops.Go(t.accept)
	t.loops.Go(t.receive)
	return t, nil
}

// FinalAdvertiseAddr returns where others reach this node: where it listens.
func (t *gossipTransport) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	return t.advertise.Addr().AsSlice(), int(t.advertise.Port()), nil
}

// WriteTo sends a packet to an address.
func (t *gossipTransport) WriteTo(b []byte, addr string) (time.Time, error) {
	return t.WriteToAddress(b, memberlist.Address{Addr: addr})
}

// WriteToAddress sends a packet to an address. An error is the network's own:
// memberlist looks at its type.
func (t *gossipTransport) WriteToAddress(b []byte, addr memberlist.Address) (time.Time, error) {
	to, err := netip.ParseAddrPort(addr.Addr)
	if err != nil {
		return time.Time{}, fmt.Errorf("send to member: %w", err)
	}
	_, err = t.conn.WriteTo(b, net.UDPAddrFromAddrPort(to))
	return time.Now(), err
}

// PacketCh gives the packets that come.
func (t *gossipTransport) PacketCh() <-chan *memberlist.Packet { return t.packets }

// StreamCh gives the streams that others open.
func (t *gossipTransport) StreamCh() <-chan net.Conn { return t.streams }

// DialTimeout opens a stream to an address.
func (t *gossipTransport) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	return t.DialAddressTimeout(memberlist.Address{Addr: addr}, timeout)
}

// DialAddressTimeout opens a stream to an address.
func (t *gossipTransport) DialAddressTimeout(addr memberlist.Address, timeout time.Duration) (net.Conn, error) {
	to, err := netip.ParseAddrPort(addr.Addr)
	if err != nil {
		return nil, fmt.Errorf("dial member: %w", err)
	}
	ctx, cancel := context.WithTimeout(t.ctx, timeout)
	defer cancel()
	conn, err := t.network.Dial(ctx, to)
	if err != nil {
		return nil, fmt.Errorf("dial member: %w", err)
	}
	return &boundConn{Conn: conn, release: context.AfterFunc(t.ctx, func() { _ = conn.Close() })}, nil
}

// Shutdown ends listening and waits until it has ended.
func (t *gossipTransport) Shutdown() error {
	var err error
	t.closed.Do(func() {
		close(t.closing)
		err = errors.Join(t.listener.Close(), t.conn.Close())
	})
	t.loops.Wait()
	return err
}

// accept hands streams on.
func (t *gossipTransport) accept() {
	var wait time.Duration
	for {
		conn, err := t.listener.Accept()
		if err != nil {
			if wait = min(max(2*wait, acceptFirst), acceptLast); !t.failed("accept stream", err, wait) {
				return
			}
			continue
		}
		wait = 0
		select {
		case t.streams <- conn:
		case <-t.closing:
			_ = conn.Close()
			return
		}
	}
}

// receive hands packets on.
func (t *gossipTransport) receive() {
	buf := make([]byte, maxDatagram+1)
	var wait time.Duration
	for {
		n, from, err := t.conn.ReadFrom(buf)
		at := time.Now()
		if err != nil {
			if wait = min(max(2*wait, acceptFirst), acceptLast); !t.failed("receive packet", err, wait) {
				return
			}
			continue
		}
		wait = 0
		if n == 0 {
			continue
		}
		if n > maxDatagram {
			t.refused(refuse(refusedOversize, "a packet of gossip"))
			continue
		}
		select {
		case t.packets <- &memberlist.Packet{Buf: slices.Clone(buf[:n]), From: from, Timestamp: at}:
		case <-t.closing:
			return
		}
	}
}

// failed waits after an error, and tells whether to go on.
func (t *gossipTransport) failed(what string, err error, wait time.Duration) bool {
	select {
	case <-t.closing:
		return false
	default:
	}
	t.log.Printf("[ERR] memberlist: %s: %v", what, err)
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-t.closing:
		return false
	case <-timer.C:
		return true
	}
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
