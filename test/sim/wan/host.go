package wan

import (
	"math"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"
)

// Host is one node's place in a network.
type Host struct {
	network *Network
	addr    netip.Addr
	// x and y are where it is, in a square with sides of length 1.
	x, y float64

	mu        sync.Mutex
	random    *rand.Rand
	packets   map[uint16]*packetConn
	listeners map[uint16]*listener
	traffic   map[Flow]*counter
	lastPort  uint16
	// free is when the uplink has sent all that waits for it.
	free time.Time
}

// Addr returns the host's address.
func (h *Host) Addr() netip.Addr { return h.addr }

// Network is the network that the host is on.
func (h *Host) Network() *Network { return h.network }

// jitter returns what one packet is delayed besides the distance.
func (h *Host) jitter() time.Duration {
	_, mean := h.network.weather()
	if mean <= 0 {
		return 0
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return time.Duration(float64(mean) * math.Exp(h.random.NormFloat64()-0.5))
}

// loses tells whether one packet is lost.
func (h *Host) loses() bool {
	loss, _ := h.network.weather()
	if loss <= 0 {
		return false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.random.Float64() < loss
}

// depart takes the uplink for some bytes that are ready at an instant, and
// returns when they are sent.
func (h *Host) depart(ready time.Time, bytes int) time.Time {
	if h.network.cfg.Uplink <= 0 {
		return ready
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.free.Before(ready) {
		h.free = ready
	}
	h.free = h.free.Add(time.Duration(float64(bytes) / h.network.cfg.Uplink * float64(time.Second)))
	return h.free
}

// backlog is how long the uplink is taken.
func (h *Host) backlog() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	return time.Until(h.free)
}

// ephemeral returns a port for a connection to another host.
func (h *Host) ephemeral() uint16 {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.lastPort++; h.lastPort < 1<<15 {
		h.lastPort = 1 << 15
	}
	return h.lastPort
}

// Flow is a kind of traffic: by protocol, and by the port that serves it.
type Flow struct {
	Protocol string // "udp" or "tcp"
	Port     uint16
}

// Traffic is an amount of traffic on the wire.
type Traffic struct {
	Packets, Bytes uint64
}

// counter counts a flow of a host.
type counter struct {
	mu             sync.Mutex
	sent, received Traffic
}

func (c *counter) send(packets, bytes int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sent.Packets += uint64(packets)
	c.sent.Bytes += uint64(bytes)
}

func (c *counter) receive(packets, bytes int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.received.Packets += uint64(packets)
	c.received.Bytes += uint64(bytes)
}

// counter returns that of a flow.
func (h *Host) counter(f Flow) *counter {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := h.traffic[f]
	if c == nil {
		c = &counter{}
		h.traffic[f] = c
	}
	return c
}

// Sent returns what the host has sent, by flow, lost packets included.
func (h *Host) Sent() map[Flow]Traffic {
	return h.count(func(c *counter) Traffic { return c.sent })
}

// Received returns what has come to the host, by flow.
func (h *Host) Received() map[Flow]Traffic {
	return h.count(func(c *counter) Traffic { return c.received })
}

func (h *Host) count(which func(*counter) Traffic) map[Flow]Traffic {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := make(map[Flow]Traffic, len(h.traffic))
	for f, c := range h.traffic {
		c.mu.Lock()
		out[f] = which(c)
		c.mu.Unlock()
	}
	return out
}

// headers is what IP and a transport add to each packet, in bytes.
func (h *Host) headers(transport int) int {
	if h.addr.Is4() {
		return 20 + transport
	}
	return 40 + transport
}
