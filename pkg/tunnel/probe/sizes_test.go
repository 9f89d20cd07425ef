package probe

import (
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// narrow is a way that swallows what is longer than width, and a share of the
// rest. It counts what it is given.
type narrow struct {
	delay time.Duration
	whole bool // answers are as long as requests, as a kernel's are

	mu     sync.Mutex
	width  int
	loss   float64
	random *rand.Rand
	bytes  int
}

func newNarrow(width int) *narrow {
	return &narrow{delay: 20 * time.Millisecond, width: width, random: rand.New(rand.NewPCG(1, 2))}
}

func (n *narrow) set(width int, loss float64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.width, n.loss = width, loss
}

func (n *narrow) answer(w *wire, to netip.Addr, b []byte) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.bytes += ipv6HeaderLen + len(b)
	if ipv6HeaderLen+len(b) > n.width || n.random.Float64() < n.loss {
		return
	}
	b[0] = typeEchoReply
	if !n.whole {
		b = b[:packetLen]
	}
	time.AfterFunc(n.delay, func() { w.in <- datagram{from: to, b: b} })
}

// take returns how many bytes came since it was last asked.
func (n *narrow) take() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	bytes := n.bytes
	n.bytes = 0
	return bytes
}

// probed runs a prober over the way to one busy peer.
func probed(t *testing.T, n *narrow, limit int) (p *Prober, peer Peer) {
	t.Helper()
	w := newWire(n.answer)
	p = start(t, func() (net.PacketConn, error) { return w, nil })
	peer = Peer{Addr: addrs(1)[0], Path: "a", Limit: limit, Busy: true}
	p.SetPeers([]Peer{peer})
	return p, peer
}

// becomes waits, in the bubble, until the MTU is as wanted and known to be so, and
// returns how long that took. It must never be more.
func becomes(t *testing.T, p *Prober, a netip.Addr, want int, within time.Duration) time.Duration {
	t.Helper()
	begun := time.Now()
	for time.Since(begun) <= within {
		s := p.Stats()[a]
		if s.MTU == want && s.MTUBasis == Confirmed {
			return time.Since(begun)
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("after %s: %+v, want an MTU of %d", within, p.Stats()[a], want)
	return 0
}

func TestTheSizeOfAWayIsFound(t *testing.T) {
	for _, c := range []struct {
		name         string
		width, limit int
		want         int
		within       time.Duration
	}{
		{"as wide as the device", 1440, 1440, 1440, 500 * time.Millisecond},
		{"IPv6 over 1500", 1420, 1420, 1420, 500 * time.Millisecond},
		{"1492 over IPv4", 1432, 1440, 1424, 4 * time.Second},
		{"1400 over IPv4", 1340, 1440, 1328, 4 * time.Second},
		{"1280 over IPv4", 1220, 1440, 1216, 4 * time.Second},
		{"1280 over IPv6", 1200, 1420, 1200, 4 * time.Second},
		{"1280 over IPv6 by IPsec", 1198, 1418, 1184, 4 * time.Second},
		{"9000", 8940, 8940, 8940, 500 * time.Millisecond},
		{"1500 between jumbo links", 1440, 8940, 1440, 6 * time.Second},
		{"a step below the device's", 1424, 1440, 1424, 4 * time.Second},
		{"a byte below the device's", 1439, 1440, 1424, 4 * time.Second},
		{"a device at the floor", 1300, Floor, Floor, 500 * time.Millisecond},
	} {
		for _, whole := range []bool{false, true} {
			t.Run(c.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					n := newNarrow(c.width)
					n.whole = whole
					p, peer := probed(t, n, c.limit)
					took := becomes(t, p, peer.Addr, c.want, c.within)
					t.Logf("%d of %d found in %s with %d bytes", c.want, c.limit, took, n.take())
					time.Sleep(30 * time.Second)
					becomes(t, p, peer.Addr, c.want, 0)
				})
			})
		}
	}
}

func TestAWayThatShrinksIsNoticed(t *testing.T) {
	for _, c := range []struct {
		name   string
		busy   bool
		delay  time.Duration
		within time.Duration // until less is in force
	}{
		{"busy", true, time.Millisecond, 3 * time.Second},
		{"busy and far away", true, 150 * time.Millisecond, 3 * time.Second},
		{"idle", false, time.Millisecond, confirmIdle + 2*time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNarrow(1440)
				n.delay = c.delay
				p, peer := probed(t, n, 1440)
				becomes(t, p, peer.Addr, 1440, 2*time.Second)
				peer.Busy = c.busy
				p.SetPeers([]Peer{peer})
				time.Sleep(5 * time.Second)
				n.set(1220, 0)
				begun := time.Now()
				for p.Stats()[peer.Addr].MTU > 1220 {
					if time.Sleep(10 * time.Millisecond); time.Since(begun) > c.within {
						t.Fatalf("not noticed within %s: %+v", c.within, p.Stats()[peer.Addr])
					}
				}
				t.Logf("noticed after %s", time.Since(begun))
				becomes(t, p, peer.Addr, 1216, 5*time.Second)
				n.set(1400, 0)
				t.Logf("more is found after %s", becomes(t, p, peer.Addr, 1392, raiseEvery+5*time.Second))
				n.set(1220, 0)
				becomes(t, p, peer.Addr, 1216, confirmIdle+8*time.Second)
				n.set(1440, 0)
				peer.Path = "b"
				p.SetPeers([]Peer{peer})
				t.Logf("on a new way after %s", becomes(t, p, peer.Addr, 1440, 3*time.Second))
			})
		})
	}
}

// What is lost by chance neither shrinks a way for long, nor widens it ever.
func TestLossIsNotTakenForANarrowWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNarrow(1340)
		n.set(1340, 0.1)
		p, peer := probed(t, n, 1440)
		below := 0
		const seconds = 3600
		for range seconds {
			time.Sleep(time.Second)
			mtu := p.Stats()[peer.Addr].MTU
			if mtu > 1340 {
				t.Fatalf("%+v over a way of 1340", p.Stats()[peer.Addr])
			}
			if mtu < 1328 {
				below++
			}
		}
		t.Logf("below what the way takes in %d of %d seconds", below, seconds)
		if below > seconds/20 {
			t.Errorf("below what the way takes in %d of %d seconds", below, seconds)
		}
	})
}

// Nothing is concluded from silence: a dead way is as wide as it was.
func TestADeadWayIsNotANarrowOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNarrow(0)
		p, peer := probed(t, n, 1440)
		time.Sleep(time.Minute)
		if s := p.Stats()[peer.Addr]; s.MTU != Floor || s.MTUBasis != Assumed || !s.MTUConfirmed.IsZero() {
			t.Errorf("of a way that never answered: %+v", s)
		}
		n.set(1440, 0)
		becomes(t, p, peer.Addr, 1440, maxRetry+2*time.Second)
		n.set(0, 0)
		time.Sleep(time.Minute)
		if s := p.Stats()[peer.Addr]; s.MTU != 1440 {
			t.Errorf("of a way that is silent: %+v", s)
		}
		n.set(1220, 0) // It comes back as another.
		becomes(t, p, peer.Addr, 1216, 5*time.Second)
	})
}

func TestAWayBelowTheFloorIsSaidToBeTooNarrow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNarrow(1000)
		p, peer := probed(t, n, 1440)
		time.Sleep(15 * time.Second)
		if s := p.Stats()[peer.Addr]; s.MTU != Floor || s.MTUBasis != Narrow {
			t.Errorf("of a way that takes 1000 bytes: %+v", s)
		}
		n.set(1440, 0)
		becomes(t, p, peer.Addr, 1440, raiseEvery+5*time.Second)
	})
}

func TestTheDevicesMTUIsTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNarrow(9000)
		p, peer := probed(t, n, 1440)
		becomes(t, p, peer.Addr, 1440, time.Second)
		peer.Limit = 1400
		p.SetPeers([]Peer{peer})
		if s := p.Stats()[peer.Addr]; s.MTU != 1400 {
			t.Errorf("over a device of 1400: %+v", s)
		}
		peer.Limit = 8940
		p.SetPeers([]Peer{peer})
		becomes(t, p, peer.Addr, 8940, 3*time.Second)
		n.set(1408, 0)
		becomes(t, p, peer.Addr, 1408, 8*time.Second)
		peer.Limit = 1412 // The path takes as much a moment later.
		p.SetPeers([]Peer{peer})
		time.Sleep(minPatience)
		n.set(1412, 0)
		becomes(t, p, peer.Addr, 1412, 3*time.Second)
	})
}

// A thousand narrow ways at once, and then all of them busy: what it costs is
// bounded.
func TestSizesCostLittle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNarrow(1340)
		w := newWire(n.answer)
		p := start(t, func() (net.PacketConn, error) { return w, nil })
		peers := those(addrs(1000))
		p.SetPeers(peers)
		most := 0
		for range 60 {
			time.Sleep(time.Second)
			most = max(most, n.take())
		}
		for a, s := range p.Stats() {
			if s.MTU != 1328 {
				t.Fatalf("%s: %+v after a minute, want 1328", a, s)
			}
		}
		time.Sleep(2 * raiseEvery)
		n.take()
		time.Sleep(4 * raiseEvery)
		idle := float64(n.take()) / (4 * raiseEvery).Seconds()
		for i := range peers {
			peers[i].Busy = true
		}
		p.SetPeers(peers)
		time.Sleep(10 * time.Second)
		n.take()
		time.Sleep(time.Minute)
		busy := float64(n.take()) / 60
		t.Logf("bytes per second to 1000 peers: at most %d at the start, %.0f idle, %.0f busy", most, idle, busy)
		const echoes = 1000 / 2 * (ipv6HeaderLen + packetLen) // of round-trip times
		// Eleven ticks may fall into a second.
		bound := 11*(tickBudget+(batch+1)*1440) + echoes
		if float64(bound) < busy || bound < most || idle > 200*1000 {
			t.Errorf("want at most %d, and 200 idle to each", bound)
		}
	})
}

// Who repeats all of a request is a kernel, and no datapath.
func TestOnlyADatapathCutsAnswers(t *testing.T) {
	for _, whole := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			n := newNarrow(1440)
			n.whole = whole
			p, peer := probed(t, n, 1440)
			becomes(t, p, peer.Addr, 1440, time.Second)
			s := p.Stats()[peer.Addr]
			if s.LastCut.IsZero() != whole {
				t.Errorf("answers are whole: %v, and the last cut one came at %v", whole, s.LastCut)
			}
			time.Sleep(5 * time.Second)
			if later := p.Stats()[peer.Addr].LastCut; !whole && time.Since(later) > 2*time.Second {
				t.Errorf("to a busy peer the last cut answer is of %s ago", time.Since(later))
			}
		})
	}
}

// Until it is known how much a way takes, nobody is told of less.
func TestNobodyIsToldOfLessThanAWayTakes(t *testing.T) {
	for width := Floor; width <= 1440; width += 7 {
		synctest.Test(t, func(t *testing.T) {
			p, peer := probed(t, newNarrow(width), 1440)
			truth := 1440
			if width < truth {
				truth = width / Step * Step
			}
			least := 1440
			for begun := time.Now(); ; time.Sleep(time.Millisecond) {
				s := p.Stats()[peer.Addr]
				if s.MTUMost < truth || s.MTUMost > least {
					t.Fatalf("of a way that takes %d: %d after %d; %+v", width, s.MTUMost, least, s)
				}
				least = s.MTUMost
				if s.MTUBasis == Confirmed && s.MTUMost == truth && s.MTU == truth {
					return
				}
				if time.Since(begun) > 5*time.Second {
					t.Fatalf("of a way that takes %d: %+v", width, s)
				}
			}
		})
	}
}
