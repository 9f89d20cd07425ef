package probe

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var self = netip.MustParseAddr("fd12::1")

// wire is a socket whose far end is a function.
type wire struct {
	net.PacketConn
	answer func(w *wire, to netip.Addr, packet []byte)
	in     chan datagram
	closed chan struct{}
	once   sync.Once
}

type datagram struct {
	from netip.Addr
	b    []byte
	err  error
}

func newWire(answer func(w *wire, to netip.Addr, packet []byte)) *wire {
	return &wire{answer: answer, in: make(chan datagram, 1000), closed: make(chan struct{})}
}

func (w *wire) WriteTo(b []byte, to net.Addr) (int, error) {
	w.answer(w, source(to), b)
	return len(b), nil
}

func (w *wire) ReadFrom(b []byte) (int, net.Addr, error) {
	select {
	case d := <-w.in:
		return copy(b, d.b), &net.IPAddr{IP: d.from.AsSlice()}, d.err
	case <-w.closed:
		return 0, nil, net.ErrClosed
	}
}

func (w *wire) Close() error {
	w.once.Do(func() { close(w.closed) })
	return nil
}

// echo answers as a kernel does, after a while.
func echo(delay time.Duration) func(*wire, netip.Addr, []byte) {
	return func(w *wire, to netip.Addr, b []byte) {
		b[0] = typeEchoReply
		time.AfterFunc(delay, func() { w.in <- datagram{from: to, b: b} })
	}
}

// start runs a prober in a synctest bubble until the test ends.
func start(t *testing.T, listen func() (net.PacketConn, error)) *Prober {
	t.Helper()
	return startWith(t, listen, nil)
}

func startWith(t *testing.T, listen func() (net.PacketConn, error), changed func()) *Prober {
	t.Helper()
	p, err := New(Config{
		Logger:  slog.New(slog.DiscardHandler),
		Source:  self,
		Listen:  func(netip.Addr) (net.PacketConn, error) { return listen() },
		Changed: changed,
	})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- p.Run(t.Context()) }()
	t.Cleanup(func() { // t.Context is done by now
		if err := <-ended; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	<-p.Ready()
	return p
}

func addrs(n int) []netip.Addr {
	out := make([]netip.Addr, 0, n)
	for i := range n {
		out = append(out, netip.MustParseAddr(fmt.Sprintf("fd12:0:0:%x::1", i+1)))
	}
	return out
}

// limit is the largest packet that peers of these tests are sent.
const limit = 1440

func those(addrs []netip.Addr) []Peer {
	out := make([]Peer, 0, len(addrs))
	for _, a := range addrs {
		out = append(out, Peer{Addr: a, Limit: limit})
	}
	return out
}

func TestEveryPeerIsMeasured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire(echo(30 * time.Millisecond))
		p := start(t, func() (net.PacketConn, error) { return w, nil })
		peers := addrs(1000)
		p.SetPeers(those(peers))
		time.Sleep(10*defaultInterval + time.Second) // in the bubble: no time passes
		got := p.Stats()
		if len(got) != len(peers) {
			t.Fatalf("%d peers are measured, want %d", len(got), len(peers))
		}
		for a, s := range got {
			if s.RTT != 30*time.Millisecond || s.Sent < 10 || s.Sent > 11 || s.Lost != 0 {
				t.Errorf("%s: stats are %+v, want 30ms and 10 or 11 sent", a, s)
			}
		}
	})
}

func TestForgedAnswersDoNotCount(t *testing.T) {
	peers := addrs(2)
	for _, c := range []struct {
		name  string
		forge func(w *wire, to netip.Addr, b []byte)
	}{
		{"from another peer", func(w *wire, to netip.Addr, b []byte) {
			b[0] = typeEchoReply
			other := peers[0]
			if to == other {
				other = netip.MustParseAddr("fd12::bad")
			}
			w.in <- datagram{from: other, b: append(b, 0)[:packetLen:packetLen]}
			w.in <- datagram{from: netip.MustParseAddr("fd12::bad"), b: b}
		}},
		{"of another prober", func(w *wire, to netip.Addr, b []byte) {
			b[0], b[packetLen-1] = typeEchoReply, b[packetLen-1]^1
			w.in <- datagram{from: to, b: b}
		}},
		{"too long", func(w *wire, to netip.Addr, b []byte) {
			b[0] = typeEchoReply
			w.in <- datagram{from: to, b: append(b, 1)}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWire(c.forge)
				p := start(t, func() (net.PacketConn, error) { return w, nil })
				p.SetPeers(those(peers[1:]))
				time.Sleep(20 * time.Second)
				if s := p.Stats()[peers[1]]; !s.LastAnswer.IsZero() || s.Loss() != 1 {
					t.Errorf("stats are %+v, want all lost", s)
				}
			})
		})
	}
}

func TestPeersComeAndGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire(echo(time.Millisecond))
		p := start(t, func() (net.PacketConn, error) { return w, nil })
		peers := addrs(2)
		p.SetPeers(those(peers[:1]))
		time.Sleep(10 * time.Second)
		before := p.Stats()[peers[0]].Sent
		p.SetPeers(those(peers))
		if got := p.Stats()[peers[0]].Sent; got != before || before == 0 {
			t.Errorf("a peer that stays has %d requests, want %d", got, before)
		}
		p.SetPeers(those(peers[1:]))
		if _, ok := p.Stats()[peers[0]]; ok {
			t.Error("a peer that went is still measured")
		}
	})
}

func TestSocketIsOpenedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opened := 0
		var last *wire
		p := start(t, func() (net.PacketConn, error) {
			opened++
			if opened <= 2 { // at the start, and with the first request
				return nil, errors.New("no such address")
			}
			last = newWire(echo(time.Millisecond))
			return last, nil
		})
		peer := addrs(1)[0]
		p.SetPeers(those([]netip.Addr{peer}))
		time.Sleep(10 * time.Second)
		synctest.Wait()
		last.in <- datagram{err: errors.New("network is down")}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if opened != 4 {
			t.Errorf("socket was opened %d times, want 4", opened)
		}
		s := p.Stats()[peer]
		if s.Lost != 1 || time.Since(s.LastAnswer) > defaultInterval {
			t.Errorf("stats are %+v, want one lost and a recent answer", s)
		}
	})
}

func TestConfigIsChecked(t *testing.T) {
	good := Config{Logger: slog.New(slog.DiscardHandler), Source: self}
	if _, err := New(good); err != nil {
		t.Errorf("good configuration: %v", err)
	}
	for name, alter := range map[string]func(*Config){
		"no logger":        func(c *Config) { c.Logger = nil },
		"no source":        func(c *Config) { c.Source = netip.Addr{} },
		"an IPv4 source":   func(c *Config) { c.Source = netip.MustParseAddr("192.0.2.1") },
		"a short interval": func(c *Config) { c.Interval = time.Millisecond },
		"a bad timeout":    func(c *Config) { c.Timeout = -1 },
	} {
		c := good
		alter(&c)
		if _, err := New(c); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

// The real socket, on loopback.
func TestKernelAnswers(t *testing.T) {
	c, err := listen(netip.IPv6Loopback())
	if err != nil {
		t.Skipf("raw ICMPv6 sockets need root: %v", err)
	}
	defer func() { _ = c.Close() }()
	if err := c.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	n := nonce{4, 2}
	if _, err := c.WriteTo(request(77, 5, n), &net.IPAddr{IP: net.IPv6loopback}); err != nil {
		t.Skipf("no IPv6 on loopback: %v", err)
	}
	b := make([]byte, 100)
	got, from, err := c.ReadFrom(b)
	if err != nil {
		t.Fatal(err)
	}
	if seq, err := parseReply(b[:got], 77, n); err != nil || seq != 5 || source(from) != netip.IPv6Loopback() {
		t.Errorf("answer is %d from %s, %v, want 5 from ::1", seq, from, err)
	}
}
