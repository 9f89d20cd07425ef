package isolation

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

const silentFor = 150 * time.Millisecond

// slowness is $EDGENET_SLOWNESS, by how much slower than others an emulated machine
// is.
var slowness = func() time.Duration {
	n, err := strconv.ParseUint(os.Getenv("EDGENET_SLOWNESS"), 10, 8)
	if err != nil {
		return 1
	}
	return time.Duration(max(n, 1))
}()

var answerWithin = 5 * time.Second * slowness

// ping sends one echo request, and waits for the answer.
func (s *space) ping(to string, seq int, wait time.Duration) error {
	return s.pingFrom("", to, seq, wait)
}

// pingFrom is ping from an address of the space's, or any.
func (s *space) pingFrom(from, to string, seq int, wait time.Duration) error {
	network := "ip4:icmp"
	if netip.MustParseAddr(to).Is6() {
		network = "ip6:ipv6-icmp"
	}
	c := in(s, func() (*icmp.PacketConn, error) { return icmp.ListenPacket(network, from) })
	defer func() { _ = c.Close() }()
	return pingOn(c, to, seq, wait)
}

func pingOn(c *icmp.PacketConn, to string, seq int, wait time.Duration) error {
	id := os.Getpid() & 0xffff
	var request, reply icmp.Type = ipv4.ICMPTypeEcho, ipv4.ICMPTypeEchoReply
	protocol := 1
	if netip.MustParseAddr(to).Is6() {
		request, reply, protocol = ipv6.ICMPTypeEchoRequest, ipv6.ICMPTypeEchoReply, 58
	}
	m := icmp.Message{Type: request, Body: &icmp.Echo{ID: id, Seq: seq, Data: []byte("edgenet")}}
	b, err := m.Marshal(nil)
	if err != nil {
		return err
	}
	if _, err := c.WriteTo(b, &net.IPAddr{IP: net.ParseIP(to)}); err != nil {
		return err
	}
	if err := c.SetReadDeadline(time.Now().Add(wait)); err != nil {
		return err
	}
	for buf := make([]byte, 2000); ; {
		n, from, err := c.ReadFrom(buf)
		if err != nil {
			return err
		}
		got, err := icmp.ParseMessage(protocol, buf[:n])
		if err != nil || from.String() != to {
			continue
		}
		echo, ok := got.Body.(*icmp.Echo)
		if ok && got.Type == reply && echo.Seq == seq && echo.ID == id {
			return nil
		}
	}
}

func (s *space) reaches(to string) {
	s.t.Helper()
	if err := s.ping(to, 1, answerWithin); err != nil {
		s.t.Fatalf("ping %s: %v", to, err)
	}
}

func (s *space) doesNotReach(to string) {
	s.t.Helper()
	if err := s.ping(to, 1, silentFor); err == nil {
		s.t.Fatalf("ping %s was answered", to)
	}
}

// serveTCP echoes what it is sent, until the test ends: the other end's goodbye
// may have been lost with its endpoint.
func (s *space) serveTCP(address string) {
	s.t.Helper()
	l := in(s, func() (net.Listener, error) { return net.Listen("tcp", address) })
	var (
		served sync.WaitGroup
		mu     sync.Mutex
		open   []net.Conn
	)
	served.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open = append(open, c)
			mu.Unlock()
			served.Go(func() { _, _ = io.Copy(c, c); _ = c.Close() })
		}
	})
	s.t.Cleanup(func() {
		_ = l.Close()
		mu.Lock()
		for _, c := range open {
			_ = c.Close()
		}
		mu.Unlock()
		served.Wait()
	})
}

func (s *space) dial(address string) (net.Conn, error) {
	var (
		c   net.Conn
		err error
	)
	s.do(func() { c, err = net.DialTimeout("tcp", address, answerWithin) })
	return c, err
}

// connects dials, and closes again.
func (s *space) connects(address string) error {
	c, err := s.dial(address)
	if err != nil {
		return err
	}
	return c.Close()
}

// echoes sends size bytes over a connection and wants them back: fewer on a machine
// to which they are more.
func echoes(t testing.TB, c net.Conn, size int) {
	t.Helper()
	if slowness > 1 {
		size = min(size, 1<<20)
	}
	sent := bytes.Repeat([]byte("0123456789abcdef"), size/16)
	if err := c.SetDeadline(time.Now().Add(60 * time.Second * slowness)); err != nil {
		t.Fatal(err)
	}
	wrote := make(chan error, 1)
	go func() { _, err := c.Write(sent); wrote <- err }()
	got := make([]byte, len(sent))
	if _, err := io.ReadFull(c, got); err != nil {
		t.Fatalf("read echo: %v", err)
	}
	if err := <-wrote; err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, sent) {
		t.Fatal("echo differs")
	}
}

// serveUDP answers each datagram with its own content.
func (s *space) serveUDP(address string) {
	s.t.Helper()
	c := in(s, func() (net.PacketConn, error) { return net.ListenPacket("udp", address) })
	s.t.Cleanup(func() { _ = c.Close() })
	go func() {
		for buf := make([]byte, 65536); ; {
			n, from, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = c.WriteTo(buf[:n], from)
		}
	}()
}

// asks sends a datagram and waits for the answer.
func (s *space) asks(address string, content []byte, wait time.Duration) error {
	c := in(s, func() (net.Conn, error) { return net.Dial("udp", address) })
	defer func() { _ = c.Close() }()
	if _, err := c.Write(content); err != nil {
		return err
	}
	if err := c.SetReadDeadline(time.Now().Add(wait)); err != nil {
		return err
	}
	buf := make([]byte, 65536)
	n, err := c.Read(buf)
	if err == nil && !bytes.Equal(buf[:n], content) {
		return errors.New("answer differs")
	}
	return err
}

// eventually asks again until there is no error.
func eventually(t testing.TB, f func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second*slowness)
	defer cancel()
	for {
		err := f()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatal(fmt.Errorf("still: %w", err))
		case <-time.After(10 * time.Millisecond):
		}
	}
}
