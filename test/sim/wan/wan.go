// Package wan is a network in memory: hosts with one address each, spread over a
// country, with latency, jitter, loss, bandwidth and partitions between them.
// Each Host is a mesh.Network.
//
// It is made for the virtual time of testing/synctest: nothing in it blocks on
// anything but channels and timers, and whoever writes never waits. Computing
// takes no time in it.
//
// A packet is delayed by the distance of its hosts and by jitter, so that packets
// overtake one another, and is lost by chance. A stream keeps its order: what is
// lost comes later, by the time that TCP takes to send it again; what is long
// waits for TCP's window to open (slow start). Bytes are counted as they would be
// on the wire, with the headers of IP, UDP and TCP and TCP's acknowledgements.
package wan

import (
	"errors"
	"math"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"
)

// Config says how good the network is.
type Config struct {
	// Latency is the mean one-way delay between two hosts: a fifth of it is
	// everyone's, the rest is in proportion to their distance.
	Latency time.Duration
	// Jitter is the mean of what each packet is delayed further; its distribution
	// is log-normal with a standard deviation of 1 in the logarithm.
	Jitter time.Duration
	// Loss is the share of packets that are lost, of every path alike.
	Loss float64
	// Uplink is what a host can send, in bytes per second, and without bound if
	// 0. Packets that would wait there longer than queueDelay are dropped.
	Uplink float64
	// Tick is what times of arrival are rounded up to, not at all if 0: fewer
	// different instants are less work to simulate.
	Tick time.Duration
	// Seed makes the same hosts and the same chances.
	Seed uint64
}

// queueDelay is how long a packet waits for an uplink at most.
const queueDelay = 200 * time.Millisecond

// meanDistance is that of two random points of a square with sides of length 1
// (Robbins, 1978: 0.521405).
const meanDistance = 0.521405

// Network connects hosts.
type Network struct {
	cfg   Config
	mu    sync.RWMutex
	hosts map[netip.Addr]*Host
	cuts  []cut
}

// cut is a partition, one way.
type cut struct{ from, to map[*Host]bool }

// errNoHost says that there is nobody at an address.
var errNoHost = errors.New("no host has this address")

// New makes a network without hosts.
func New(cfg Config) *Network {
	return &Network{cfg: cfg, hosts: make(map[netip.Addr]*Host)}
}

// Host makes a host with an address that no other has, or returns the one that
// has it.
func (n *Network) Host(addr netip.Addr) *Host {
	n.mu.Lock()
	defer n.mu.Unlock()
	if h := n.hosts[addr]; h != nil {
		return h
	}
	random := rand.New(rand.NewPCG(n.cfg.Seed, uint64(len(n.hosts))))
	h := &Host{
		network: n, addr: addr, random: random, x: random.Float64(), y: random.Float64(),
		packets: make(map[uint16]*packetConn), listeners: make(map[uint16]*listener),
		traffic: make(map[Flow]*counter), lastPort: 1 << 15,
	}
	n.hosts[addr] = h
	return h
}

// host returns the host of an address, nil if there is none.
func (n *Network) host(addr netip.Addr) *Host {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.hosts[addr]
}

// Cut lets nothing through from some hosts to others, until Heal. What comes the
// other way still does.
func (n *Network) Cut(from, to []*Host) {
	c := cut{from: make(map[*Host]bool), to: make(map[*Host]bool)}
	for _, h := range from {
		c.from[h] = true
	}
	for _, h := range to {
		c.to[h] = true
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cuts = append(n.cuts, c)
}

// Heal ends all that Cut began.
func (n *Network) Heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cuts = nil
}

// Weather changes loss and jitter of all paths, and returns those before.
func (n *Network) Weather(loss float64, jitter time.Duration) (float64, time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	oldLoss, oldJitter := n.cfg.Loss, n.cfg.Jitter
	n.cfg.Loss, n.cfg.Jitter = loss, jitter
	return oldLoss, oldJitter
}

// weather returns loss and jitter.
func (n *Network) weather() (float64, time.Duration) {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.cfg.Loss, n.cfg.Jitter
}

// severed tells whether nothing gets from one host to another.
func (n *Network) severed(from, to *Host) bool {
	n.mu.RLock()
	defer n.mu.RUnlock()
	for _, c := range n.cuts {
		if c.from[from] && c.to[to] {
			return true
		}
	}
	return false
}

// base returns the delay between two hosts without jitter.
func (n *Network) base(a, b *Host) time.Duration {
	if a == b {
		return 0
	}
	distance := math.Hypot(a.x-b.x, a.y-b.y) / meanDistance
	return time.Duration(float64(n.cfg.Latency) * (0.2 + 0.8*distance))
}

// until returns how long it is from now to an instant, rounded up to a tick.
func (n *Network) until(at time.Time) time.Duration {
	if tick := n.cfg.Tick; tick > 0 {
		if whole := at.Truncate(tick); whole.Before(at) {
			at = whole.Add(tick)
		}
	}
	return time.Until(at)
}
