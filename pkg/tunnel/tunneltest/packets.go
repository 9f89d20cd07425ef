package tunneltest

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// DeliverTimeout allows for a handshake that has to be tried again, which takes
// WireGuard five seconds.
const DeliverTimeout = 20 * time.Second

// Deliver sends datagrams from src on one node to dst on another, each followed
// by one from own, an address that is let through. It reports whether one from
// src arrived, and fails t when none from own did. Addresses that a node does
// not have are lent to it.
func (l *Lab) Deliver(t *testing.T, from, to int, src, dst, own netip.Addr) bool {
	t.Helper()
	in := l.listen(t, to, dst)
	probe := l.listen(t, from, src)
	marker := l.listen(t, from, own)
	at := in.LocalAddr().(*net.UDPAddr).AddrPort()

	// In rounds, for the first packets may fall into a handshake. Within a round the marker follows the probe: if
	// it came, the probe should have.
	probed := make(map[string]bool)
	missed := 0
	deadline := time.Now().Add(DeliverTimeout)
	for round := 0; time.Now().Before(deadline); round++ {
		send(t, probe, at, fmt.Sprintf("probe %d", round))
		send(t, marker, at, fmt.Sprintf("marker %d", round))
		for _, text := range receive(t, in) {
			kind, number, _ := strings.Cut(text, " ")
			if kind == "probe" {
				probed[number] = true
				continue
			}
			if probed[number] {
				return true
			}
			if missed++; missed == enoughMissed {
				return false
			}
		}
	}
	t.Fatalf("nothing from %s to %s was delivered in %s", own, dst, DeliverTimeout)
	return false
}

// enoughMissed is after how many markers without their probe it is sure that
// probes do not pass: after one, the probe may have been under way with the keys
// of the handshake before, or dropped from a queue.
const enoughMissed = 3

// receive returns what arrives within a short time.
func receive(t *testing.T, in *net.UDPConn) []string {
	t.Helper()
	var out []string
	buf := make([]byte, 64)
	if err := in.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	for {
		n, err := in.Read(buf)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, string(buf[:n]))
	}
}

func send(t *testing.T, c *net.UDPConn, to netip.AddrPort, text string) {
	t.Helper()
	if _, err := c.WriteToUDPAddrPort([]byte(text), to); err != nil {
		t.Fatalf("send from %s: %v", c.LocalAddr(), err)
	}
}

// listen opens a socket on the address.
func (l *Lab) listen(t *testing.T, node int, addr netip.Addr) *net.UDPConn {
	t.Helper()
	var c *net.UDPConn
	l.Spaces[node].Must(t, func() error {
		at := net.UDPAddrFromAddrPort(netip.AddrPortFrom(addr, 0))
		var err error
		if c, err = net.ListenUDP("udp6", at); !errors.Is(err, unix.EADDRNOTAVAIL) {
			return err
		}
		if err := Lend(addr); err != nil {
			return err
		}
		c, err = net.ListenUDP("udp6", at)
		return err
	})
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// Lend puts an address on the loopback device of the namespace that it is called
// in.
func Lend(addr netip.Addr) error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	return netlink.AddrAdd(lo, &netlink.Addr{IPNet: hostNet(addr), Flags: unix.IFA_F_NODAD})
}

func hostNet(addr netip.Addr) *net.IPNet {
	return &net.IPNet{IP: addr.AsSlice(), Mask: net.CIDRMask(addr.BitLen(), addr.BitLen())}
}

// stream counts datagrams that one side sends and the other receives.
type stream struct {
	in, out        *net.UDPConn
	sent, received atomic.Int64
	arrived        chan struct{}
	halt           chan struct{}
	tasks          sync.WaitGroup
}

// Stream sends a datagram every 10 ms from an address on one node to one on
// another until the returned function is called, which waits for stragglers and
// says how many were sent and how many of them arrived.
func (l *Lab) Stream(t *testing.T, from, to int, src, dst netip.Addr) func() (int, int) {
	t.Helper()
	s := &stream{
		in:      l.listen(t, to, dst),
		out:     l.listen(t, from, src),
		arrived: make(chan struct{}, 1),
		halt:    make(chan struct{}),
	}
	s.tasks.Go(s.receive)
	s.tasks.Go(func() { s.send(t) })
	s.await(t, 10)
	return func() (int, int) {
		s.await(t, int(s.received.Load())+10)
		close(s.halt)
		deadline := time.After(5 * time.Second)
		for s.received.Load() < s.sent.Load() {
			select {
			case <-s.arrived:
				continue
			case <-deadline:
			}
			break
		}
		_ = s.in.Close()
		s.tasks.Wait()
		return int(s.sent.Load()), int(s.received.Load())
	}
}

// await waits until so many have arrived.
func (s *stream) await(t *testing.T, count int) {
	t.Helper()
	deadline := time.After(DeliverTimeout)
	for int(s.received.Load()) < count {
		select {
		case <-s.arrived:
		case <-deadline:
			t.Fatalf("%d of %d sent arrived, want at least %d", s.received.Load(), s.sent.Load(), count)
		}
	}
}

func (s *stream) receive() {
	buf := make([]byte, 64)
	for {
		if _, err := s.in.Read(buf); err != nil {
			return
		}
		s.received.Add(1)
		select {
		case s.arrived <- struct{}{}:
		default:
		}
	}
}

func (s *stream) send(t *testing.T) {
	to := s.in.LocalAddr().(*net.UDPAddr).AddrPort()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-s.halt:
			return
		case <-tick.C:
			s.sent.Add(1)
			if _, err := s.out.WriteToUDPAddrPort([]byte("stream"), to); err != nil {
				t.Errorf("send: %v", err)
			}
		}
	}
}
