package wireguard

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

	"edgenet.dev/edgenet/pkg/tunnel/tunneltest"
)

// deliverTimeout allows for a handshake that has to be tried again, which takes
// WireGuard five seconds.
const deliverTimeout = 20 * time.Second

// deliverRounds is how often a marker has to come without its probe: once, the
// probe may have been under way with the keys of the handshake before.
const deliverRounds = 3

func (h *harness) Deliver(t *testing.T, from tunneltest.Side, src, dst netip.Addr) bool {
	t.Helper()
	in := h.listen(t, from.Other(), dst)
	probe := h.listen(t, from, src)
	marker := h.listen(t, from, h.Device(from).Address)
	to := in.LocalAddr().(*net.UDPAddr).AddrPort()

	// In rounds, for the first packets may fall into a handshake. Within a
	// round the marker follows the probe: if it came, the probe should have.
	probed := make(map[string]bool)
	buf := make([]byte, 64)
	alone := 0
	deadline := time.Now().Add(deliverTimeout)
	for round := 0; time.Now().Before(deadline); round++ {
		send(t, probe, to, fmt.Sprintf("probe %d", round))
		send(t, marker, to, fmt.Sprintf("marker %d", round))
		if err := in.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		for {
			n, err := in.Read(buf)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			kind, number, _ := strings.Cut(string(buf[:n]), " ")
			if kind == "probe" {
				probed[number] = true
				continue
			}
			if probed[number] {
				return true
			}
			if alone++; alone == deliverRounds {
				return false
			}
		}
	}
	t.Fatalf("nothing from %s to %s was delivered in %s", from, dst, deliverTimeout)
	return false
}

func send(t *testing.T, c *net.UDPConn, to netip.AddrPort, text string) {
	t.Helper()
	if _, err := c.WriteToUDPAddrPort([]byte(text), to); err != nil {
		t.Fatalf("send from %s: %v", c.LocalAddr(), err)
	}
}

// listen opens a socket on the address, which is lent to the side's loopback
// device when the side does not have it.
func (h *harness) listen(t *testing.T, side tunneltest.Side, addr netip.Addr) *net.UDPConn {
	t.Helper()
	var c *net.UDPConn
	h.spaces[side].must(t, func() (err error) {
		if addr != h.Device(side).Address {
			if err := lend(addr); err != nil {
				return err
			}
		}
		c, err = net.ListenUDP("udp6", net.UDPAddrFromAddrPort(netip.AddrPortFrom(addr, 0)))
		return err
	})
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func lend(addr netip.Addr) error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	return netlink.AddrAdd(lo, &netlink.Addr{
		IPNet: ipNet(netip.PrefixFrom(addr, addr.BitLen())), Flags: unix.IFA_F_NODAD,
	})
}

// stream counts datagrams that one side sends and the other receives.
type stream struct {
	in, out        *net.UDPConn
	sent, received atomic.Int64
	arrived        chan struct{}
	halt           chan struct{}
	tasks          sync.WaitGroup
}

func (h *harness) Stream(t *testing.T, from tunneltest.Side) func() (int, int) {
	t.Helper()
	s := &stream{
		in:      h.listen(t, from.Other(), h.Device(from.Other()).Address),
		out:     h.listen(t, from, h.Device(from).Address),
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
	deadline := time.After(deliverTimeout)
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
