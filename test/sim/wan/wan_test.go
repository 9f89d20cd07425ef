package wan

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"edgenet.dev/edgenet/pkg/mesh"
)

var _ mesh.Network = (*Host)(nil)

const port = 7946

// pair returns two hosts of a network.
func pair(cfg Config) (*Network, *Host, *Host) {
	n := New(cfg)
	return n, n.Host(netip.MustParseAddr("10.0.0.1")), n.Host(netip.MustParseAddr("10.0.0.2"))
}

func at(h *Host) netip.AddrPort { return netip.AddrPortFrom(h.Addr(), port) }

// packets opens the port for packets of a host.
func packets(t *testing.T, h *Host) net.PacketConn {
	t.Helper()
	c, err := h.ListenPacket(t.Context(), at(h))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// stream connects a to b and returns both ends.
func stream(t *testing.T, a, b *Host) (here, there net.Conn) {
	t.Helper()
	l, err := b.Listen(t.Context(), at(b))
	if err != nil {
		t.Fatal(err)
	}
	if here, err = a.Dial(t.Context(), at(b)); err != nil {
		t.Fatal(err)
	}
	if there, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _, _ = here.Close(), there.Close(), l.Close() })
	return here, there
}

// arrivals sends packets, one each millisecond, and returns after how long each
// came that was not lost.
func arrivals(t *testing.T, a, b *Host, count int) []time.Duration {
	t.Helper()
	from, to := packets(t, a), packets(t, b)
	go func() {
		for range count {
			text, _ := time.Now().MarshalBinary()
			_, _ = from.WriteTo(text, net.UDPAddrFromAddrPort(at(b)))
			time.Sleep(time.Millisecond)
		}
	}()
	if err := to.SetReadDeadline(time.Now().Add(time.Duration(count)*time.Millisecond + 10*time.Second)); err != nil {
		t.Fatal(err)
	}
	var out []time.Duration
	buf := make([]byte, 100)
	for {
		n, _, err := to.ReadFrom(buf)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return out
		}
		var sent time.Time
		if err := errors.Join(err, sent.UnmarshalBinary(buf[:n])); err != nil {
			t.Fatal(err)
		}
		out = append(out, time.Since(sent))
	}
}

func mean(ds []time.Duration) time.Duration {
	var sum time.Duration
	for _, d := range ds {
		sum += d
	}
	return sum / time.Duration(max(1, len(ds)))
}

func TestPacketsAreDelayedAndLostAsConfigured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const count = 20000
		n, a, b := pair(Config{Latency: 20 * time.Millisecond, Jitter: 5 * time.Millisecond, Loss: 0.1, Seed: 1})
		came := arrivals(t, a, b, count)
		// Four standard deviations of a binomial distribution.
		if lost := 1 - float64(len(came))/count; math.Abs(lost-0.1) > 4*math.Sqrt(0.1*0.9/count) {
			t.Errorf("lost %.4f of the packets, want 0.1", lost)
		}
		if got, want := mean(came), n.base(a, b)+5*time.Millisecond; (got - want).Abs() > time.Millisecond {
			t.Errorf("packets take %s, want %s", got, want)
		}
		for _, d := range came {
			if d < n.base(a, b) {
				t.Fatalf("a packet took %s, less than the distance takes, %s", d, n.base(a, b))
			}
		}
		flow := Flow{"udp", port}
		if s, r := a.Sent()[flow], b.Received()[flow]; s.Packets != count || r.Packets != uint64(len(came)) ||
			s.Bytes != count*(15+28) {
			t.Errorf("counted %+v sent, %+v received", s, r)
		}
	})
}

func TestTheMeanDistanceIsTheLatency(t *testing.T) {
	n := New(Config{Latency: 30 * time.Millisecond, Seed: 3})
	var hosts []*Host
	for i := range 300 {
		hosts = append(hosts, n.Host(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})))
	}
	var all []time.Duration
	for i, a := range hosts {
		for _, b := range hosts[:i] {
			all = append(all, n.base(a, b))
			if n.base(a, b) != n.base(b, a) {
				t.Fatal("the way back is of another length")
			}
		}
	}
	if got := mean(all); (got - 30*time.Millisecond).Abs() > 2*time.Millisecond {
		t.Errorf("the mean delay is %s, want 30ms", got)
	}
}

func TestTheSameSeedGivesTheSameNetwork(t *testing.T) {
	run := func(seed uint64) (out []time.Duration) {
		synctest.Test(t, func(t *testing.T) {
			_, a, b := pair(Config{Latency: time.Millisecond, Jitter: time.Millisecond, Loss: 0.2, Seed: seed})
			out = arrivals(t, a, b, 100)
		})
		return out
	}
	if first, again, other := run(1), run(1), run(2); fmt.Sprint(first) != fmt.Sprint(again) || fmt.Sprint(first) == fmt.Sprint(other) {
		t.Errorf("seed 1 gave %v and %v, seed 2 %v", first, again, other)
	}
}

func TestStreamsKeepOrderWhateverIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, a, b := pair(Config{Latency: 20 * time.Millisecond, Jitter: 10 * time.Millisecond, Loss: 0.2, Uplink: 1e6, Seed: 2})
		here, there := stream(t, a, b)
		var sent bytes.Buffer
		go func() {
			for i := range 500 {
				part := bytes.Repeat([]byte{byte(i)}, 1+i*7%5000)
				sent.Write(part)
				if _, err := here.Write(part); err != nil {
					t.Error(err)
				}
				time.Sleep(time.Duration(i%3) * time.Millisecond)
			}
			_ = here.Close()
		}()
		got, err := io.ReadAll(there)
		if err != nil || !bytes.Equal(got, sent.Bytes()) {
			t.Errorf("read %d bytes, %v; sent %d", len(got), err, sent.Len())
		}
	})
}

func TestAStreamTakesAsLongAsTCP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, a, b := pair(Config{Latency: 20 * time.Millisecond, Seed: 2})
		begin, trip := time.Now(), n.base(a, b)
		here, there := stream(t, a, b)
		if took := time.Since(begin); took != 2*trip {
			t.Errorf("connected after %s, want %s", took, 2*trip)
		}
		begin = time.Now()
		// 10, 20, 40 segments and one more: three round trips before the last goes.
		if _, err := here.Write(make([]byte, 71*segmentSize)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(there, make([]byte, 71*segmentSize)); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begin); took != 7*trip {
			t.Errorf("71 segments took %s, want %s", took, 7*trip)
		}
	})
}

func TestAnUplinkBoundsWhatIsSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, a, b := pair(Config{Uplink: 1e6, Seed: 2})
		from, to := packets(t, a), packets(t, b)
		for range 2000 { // 2 MB at once: what waits longer than queueDelay is dropped.
			if _, err := from.WriteTo(make([]byte, 972), net.UDPAddrFromAddrPort(at(b))); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Second)
		got := b.Received()[Flow{"udp", port}].Packets
		if want := uint64(queueDelay / time.Millisecond); got < want || got > want+1 {
			t.Errorf("%d packets of 1 ms came, want %d", got, want)
		}
		_ = to.Close()
	})
}

func TestACutIsOneWayAndHeals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, a, b := pair(Config{Latency: 5 * time.Millisecond, Seed: 1})
		here, there := stream(t, a, b)
		n.Cut([]*Host{a}, []*Host{b})
		if got := len(arrivals(t, a, b, 100)); got != 0 {
			t.Errorf("%d packets came through a cut", got)
		}
		if _, err := there.Write([]byte("back")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(here, make([]byte, 4)); err != nil {
			t.Errorf("the other way: %v", err)
		}
		if _, err := here.Write([]byte("late")); err != nil {
			t.Fatal(err)
		}
		cut := time.Now()
		time.AfterFunc(5*time.Minute, n.Heal)
		if _, err := io.ReadFull(there, make([]byte, 4)); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(cut); took < 5*time.Minute || took > 5*time.Minute+mostTimeout+time.Second {
			t.Errorf("what was written into a cut of 5 min came after %s", took)
		}
	})
}

func TestConnectingToNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, a, b := pair(Config{Latency: 5 * time.Millisecond, Seed: 1})
		if _, err := a.Dial(t.Context(), at(b)); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("where nobody listens: %v", err)
		}
		n.Cut([]*Host{b}, []*Host{a})
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		begin := time.Now()
		if _, err := a.Dial(ctx, at(b)); !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != 5*time.Second {
			t.Errorf("behind a cut: %v after %s", err, time.Since(begin))
		}
	})
}

func TestClosedStreamsSayIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, a, b := pair(Config{Latency: 5 * time.Millisecond, Seed: 1})
		here, there := stream(t, a, b)
		if err := here.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := here.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("after the deadline: %v", err)
		}
		if err := here.SetReadDeadline(time.Time{}); err != nil {
			t.Fatal(err)
		}
		_ = there.Close()
		if _, err := here.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("after the other side's end: %v", err)
		}
		_, _ = here.Write([]byte("anybody?"))
		time.Sleep(time.Second)
		if _, err := here.Write([]byte("nobody")); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("to who has closed: %v", err)
		}
		_ = here.Close()
		if _, err := here.Write(nil); !errors.Is(err, net.ErrClosed) {
			t.Errorf("after the own end: %v", err)
		}
		if _, err := here.Read(nil); !errors.Is(err, net.ErrClosed) {
			t.Errorf("after the own end: %v", err)
		}
	})
}
