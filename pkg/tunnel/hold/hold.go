package hold

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"edgenet.dev/edgenet/pkg/tunnel/internal/device"
)

const (
	ipv6HeaderLen = 40
	// prefixBits is the length of a node's prefix.
	prefixBits = 64
	// maxPacket is how long an IP packet can be, in bytes.
	maxPacket = 65535
)

// Config is what a Hold needs.
type Config struct {
	// Logger must not be nil.
	Logger *slog.Logger
	// Device is the name of the device that is made.
	Device string
	// Wanted is called when a packet has come to a peer that none came to since
	// the last Asked. It must not block.
	Wanted func()
	// Lost is called when the device is gone. It must not block.
	Lost func()
}

// Hold is a device and what waits in it. It is safe for concurrent use.
type Hold struct {
	cfg    Config
	tun    *os.File
	socket int // of packets, into tunnels
	done   chan struct{}
	// index is the device's; right is how it was left.
	index int
	right device.Right

	mu     sync.Mutex
	queues queues
	// ways are the indexes of the devices of tunnels that are there.
	ways map[netip.Prefix]int
	// last is when a packet last came, asked those to whom some did since Asked.
	last   map[netip.Prefix]time.Time
	asked  map[netip.Prefix]bool
	closed bool
}

// Open makes the device. An error that wraps tunnel.ErrUnsupported says that the
// host cannot.
func Open(cfg Config) (*Hold, error) {
	h := &Hold{
		cfg: cfg, done: make(chan struct{}),
		ways: map[netip.Prefix]int{}, last: map[netip.Prefix]time.Time{}, asked: map[netip.Prefix]bool{},
	}
	var err error
	// Nothing is received by it: it is bound to no protocol.
	if h.socket, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0); err != nil {
		return nil, fmt.Errorf("hold packets: open socket: %w", err)
	}
	if h.tun, err = openTUN(cfg.Device); err != nil {
		return nil, errors.Join(fmt.Errorf("hold packets: %w", err), unix.Close(h.socket))
	}
	go h.run()
	if err := h.Mend(); err != nil {
		return nil, errors.Join(err, h.Close())
	}
	return h, nil
}

// Device is the device's name.
func (h *Hold) Device() string { return h.cfg.Device }

// Close removes the device and gives up what waits.
func (h *Hold) Close() error {
	h.mu.Lock()
	again := h.closed
	h.closed = true
	h.mu.Unlock()
	if again {
		return nil
	}
	err := h.tun.Close()
	<-h.done
	h.mu.Lock()
	defer h.mu.Unlock()
	return errors.Join(err, unix.Close(h.socket))
}

// run reads the device until it is closed.
func (h *Hold) run() {
	lost := func() {}
	defer func() {
		close(h.done)
		lost()
	}()
	buffer := make([]byte, maxPacket)
	for {
		n, err := h.tun.Read(buffer)
		switch {
		case errors.Is(err, fs.ErrClosed):
			return
		case err != nil: // somebody has deleted it
			h.cfg.Logger.Warn("packets are no longer held", "device", h.cfg.Device, "err", err)
			lost = h.cfg.Lost
			return
		}
		h.take(buffer[:n])
	}
}

// take has a packet wait, or sends it on if its tunnel is there by now.
func (h *Hold) take(data []byte) {
	if len(data) < ipv6HeaderLen || data[0]>>4 != 6 {
		return // the kernel's own
	}
	to, err := netip.AddrFrom16([16]byte(data[24:40])).Prefix(prefixBits)
	if err != nil {
		return // it always has so many bits
	}
	now := time.Now()
	h.mu.Lock()
	h.last[to] = now
	news := !h.asked[to]
	h.asked[to] = true
	if device, there := h.ways[to]; there {
		h.send(device, data)
	} else {
		h.queues.push(to, append([]byte(nil), data...), now)
	}
	h.mu.Unlock()
	if news {
		h.cfg.Wanted()
	}
}

// send puts a packet into a tunnel. mu is held, so that those to a peer stay in
// their order.
func (h *Hold) send(device int, data []byte) {
	to := &unix.SockaddrLinklayer{Protocol: toNetwork(unix.ETH_P_IPV6), Ifindex: device}
	if h.closed || unix.Sendto(h.socket, data, unix.MSG_DONTWAIT, to) != nil {
		h.queues.dropped++ // the tunnel's queue is full, or it is gone
	}
}

// toNetwork is htons.
func toNetwork(v uint16) uint16 { return v<<8 | v>>8 }

// Asked returns to which peers packets have come since the last call.
func (h *Hold) Asked() []netip.Prefix {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := make([]netip.Prefix, 0, len(h.asked))
	for to := range h.asked {
		out = append(out, to)
	}
	clear(h.asked)
	return out
}

// LastPacket is when a packet to a peer last came; zero if none did.
func (h *Hold) LastPacket(to netip.Prefix) time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.last[to]
}

// Dropped is how many packets were given up: they were too many, waited for too
// long, or their tunnel did not take them.
func (h *Hold) Dropped() uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.queues.dropped
}

// Lead says which tunnels are there, by the indexes of their devices: what waits
// for them goes on its way, and so does what still comes. Packets to all others
// wait from now on.
func (h *Hold) Lead(ways map[netip.Prefix]int) {
	now := time.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ways = ways
	h.queues.expire(now)
	for to, device := range ways {
		for _, p := range h.queues.take(to) {
			h.send(device, p.data)
		}
	}
	for to, last := range h.last {
		if _, there := ways[to]; !there && now.Sub(last) > forgetAfter {
			delete(h.last, to)
		}
	}
}

// forgetAfter is how long it is known when packets came to a peer that there is no
// tunnel to.
const forgetAfter = time.Hour
