package sim

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"edgenet.dev/edgenet/pkg/mesh"
	"edgenet.dev/edgenet/test/sim/wan"
)

// country is the network of a mesh over the internet, site one of a data centre.
var (
	country = wan.Config{Latency: 20 * time.Millisecond, Jitter: 2 * time.Millisecond, Loss: 0.001, Uplink: 1e7, Tick: time.Millisecond, Seed: 7}
	site    = wan.Config{Latency: time.Millisecond, Jitter: 200 * time.Microsecond, Loss: 0.0001, Uplink: 1e8, Tick: 100 * time.Microsecond, Seed: 7}
)

// inWorld runs a mesh in virtual time, once all nodes see all.
func inWorld(t *testing.T, cfg Config, do func(t *testing.T, w *World)) {
	t.Helper()
	cfg.Dir = t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		w, err := New(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := w.end(); err != nil {
				t.Error(err)
			}
		}()
		if err := w.Start(t.Context()); err != nil {
			t.Error(err)
			return
		}
		w.whole(t)
		time.Sleep(10 * time.Second) // Of the mesh's time: all have beaten.
		do(t, w)
	})
}

// whole waits until all nodes that run see all that run, and returns for how long.
func (w *World) whole(t *testing.T) time.Duration {
	t.Helper()
	took, err := w.awaitWhole(t.Context(), 100*time.Millisecond, 5*time.Minute)
	if err != nil {
		t.Error(err)
	}
	return took
}

// A node that dies is agreed dead by all in the time of the profile, and back at
// once when it is there again. The times are the mesh's own: how busy this machine
// is does not matter.
func TestDeathIsAgreedInTime(t *testing.T) {
	for profile, limit := range map[mesh.Profile]time.Duration{mesh.ProfileWAN: 5 * time.Second, mesh.ProfileLAN: 2 * time.Second} {
		t.Run(string(profile), func(t *testing.T) {
			network := country
			if profile == mesh.ProfileLAN {
				network = site
			}
			inWorld(t, Config{Nodes: 12, Endpoints: 12, WAN: network, Profile: profile}, func(t *testing.T, w *World) {
				run := run{World: w, plan: Plan{Limit: time.Minute}}
				for _, victim := range []*node{w.nodes[3], w.nodes[0]} {
					took, missing, err := run.kill(t.Context(), victim)
					if err != nil {
						t.Error(err)
						return
					}
					worst := took[len(took)-1]
					t.Logf("dead for the first after %s, for all after %s", took[0], worst)
					if missing > 0 || worst > limit || took[0] < timeoutOf(profile) {
						t.Errorf("dead after %s to %s, never for %d", took[0], worst, missing)
					}
					w.network.Heal()
					if err := victim.start(t.Context()); err != nil {
						t.Error(err)
					}
					if back := w.whole(t); back > 2*time.Second {
						t.Errorf("back after %s", back)
					}
					time.Sleep(10 * time.Second)
				}
			})
		})
	}
}

// timeoutOf is before when nobody can be dead: beats may be lost for as long.
func timeoutOf(p mesh.Profile) time.Duration {
	if p == mesh.ProfileLAN {
		return 700 * time.Millisecond
	}
	return 2 * time.Second
}

// In a storm of 5 % loss and 100 ms of jitter nobody who is alive is thrown out.
func TestNobodyIsThrownOutInAStorm(t *testing.T) {
	for _, profile := range []mesh.Profile{mesh.ProfileWAN, mesh.ProfileLAN} {
		t.Run(string(profile), func(t *testing.T) {
			inWorld(t, Config{Nodes: 12, Endpoints: 12, WAN: country, Profile: profile}, func(t *testing.T, w *World) {
				before := w.gossip.verdicts()
				w.network.Weather(0.05, 100*time.Millisecond)
				time.Sleep(time.Minute)
				got := w.gossip.verdicts().minus(before)
				t.Logf("in the storm: %+v", got)
				if got.FalseDeaths > 0 {
					t.Error("somebody was thrown out")
				}
				w.whole(t)
			})
		})
	}
}

// A path that fails one way, to all witnesses but two, does nothing to who is
// alive; and if it fails to all, the node is dead for as long.
func TestOneWayFailures(t *testing.T) {
	inWorld(t, Config{Nodes: 12, Endpoints: 12, WAN: country}, func(t *testing.T, w *World) {
		before := w.gossip.verdicts()
		hosts := w.hosts()
		for i := range hosts { // Each is not heard by two.
			n := len(hosts)
			w.network.Cut(hosts[i:i+1], []*wan.Host{hosts[(i+1)%n], hosts[(i+2)%n]})
		}
		time.Sleep(time.Minute)
		got := w.gossip.verdicts().minus(before)
		t.Logf("while each is not heard by two: %+v", got)
		if got.FalseDeaths > 0 {
			t.Errorf("while each is not heard by two: %+v", got)
		}
		if got.Suspicions > 5*len(hosts) {
			t.Errorf("who is refuted goes on: %+v", got)
		}
		w.network.Heal()
		w.whole(t)
	})
}

// gate is a network on which nothing comes or goes while it is closed, as for a
// process without processor time: the kernel still takes connections.
type gate struct {
	*wan.Host
	mu   sync.Mutex
	open chan struct{}
}

func newGate(h *wan.Host) *gate {
	g := &gate{Host: h, open: make(chan struct{})}
	close(g.open)
	return g
}

// shut closes the gate for a while.
func (g *gate) shut(d time.Duration) {
	open := make(chan struct{})
	g.mu.Lock()
	g.open = open
	g.mu.Unlock()
	time.Sleep(d)
	close(open)
}

func (g *gate) wait() {
	g.mu.Lock()
	open := g.open
	g.mu.Unlock()
	<-open
}

func (g *gate) ListenPacket(ctx context.Context, addr netip.AddrPort) (net.PacketConn, error) {
	conn, err := g.Host.ListenPacket(ctx, addr)
	return gatedPackets{conn, g}, err
}

func (g *gate) Listen(ctx context.Context, addr netip.AddrPort) (net.Listener, error) {
	l, err := g.Host.Listen(ctx, addr)
	return gatedListener{l, g}, err
}

type gatedPackets struct {
	net.PacketConn
	gate *gate
}

func (c gatedPackets) ReadFrom(b []byte) (int, net.Addr, error) {
	n, from, err := c.PacketConn.ReadFrom(b)
	c.gate.wait()
	return n, from, err
}

func (c gatedPackets) WriteTo(b []byte, to net.Addr) (int, error) {
	c.gate.wait()
	return c.PacketConn.WriteTo(b, to)
}

type gatedListener struct {
	net.Listener
	gate *gate
}

func (l gatedListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	l.gate.wait()
	return conn, err
}

// A node that gets no processor time for longer than one that is dead is silent is
// not thrown out, and throws nobody out: its host takes connections. One that
// stands still for good is dead, and back when it goes on.
func TestAStarvedNodeIsNotThrownOut(t *testing.T) {
	for profile, starved := range map[mesh.Profile]time.Duration{mesh.ProfileWAN: 5 * time.Second, mesh.ProfileLAN: 2 * time.Second} {
		t.Run(string(profile), func(t *testing.T) {
			inWorld(t, Config{Nodes: 12, Endpoints: 12, WAN: site, Profile: profile}, func(t *testing.T, w *World) {
				victim := w.nodes[5]
				if err := victim.halt(); err != nil {
					t.Fatal(err)
				}
				var g *gate
				victim.underlay = func(h *wan.Host) mesh.Network {
					g = newGate(h)
					return g
				}
				if err := victim.start(t.Context()); err != nil {
					t.Fatal(err)
				}
				w.whole(t)
				time.Sleep(10 * time.Second)
				before := w.gossip.verdicts()
				for range 3 {
					g.shut(starved)
					time.Sleep(5 * time.Second)
				}
				if got := w.gossip.verdicts().minus(before); got.FalseDeaths > 0 {
					t.Errorf("without processor time for %s: %+v", starved, got)
				}
				w.whole(t)
				g.shut(time.Minute)
				if got := w.gossip.verdicts().minus(before); got.FalseDeaths == 0 {
					t.Error("a process that stood still for a minute was never dead")
				}
				if back := w.whole(t); back > 15*time.Second {
					t.Errorf("back after %s", back)
				}
			})
		})
	}
}
