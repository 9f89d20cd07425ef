package probe

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"sync"
	"time"
)

const (
	defaultInterval = 2 * time.Second
	defaultTimeout  = 3 * time.Second
	// slots is how many parts of an interval the requests are spread over: a
	// thousand at once would overflow the socket with their answers.
	slots = 20
)

// Config is what a Prober needs.
type Config struct {
	// Logger must not be nil.
	Logger *slog.Logger
	// Source is this node's own overlay address.
	Source netip.Addr
	// Interval is the time between two requests to one peer; 0 is two seconds.
	Interval time.Duration
	// Timeout is when a request without an answer counts as lost; 0 is three
	// seconds.
	Timeout time.Duration
	// Listen opens the socket, on which packets are ICMPv6 messages without IP
	// header and addresses are *net.IPAddr; nil is a raw socket of the calling
	// thread's network namespace.
	Listen func(source netip.Addr) (net.PacketConn, error)
	// Changed is called when the MTU to a peer, or its basis, is another, and when a
	// peer falls silent or is heard again. It must not block. Nil is nobody.
	Changed func()
}

// Peer is one that is measured.
type Peer struct {
	// Addr is its own overlay address.
	Addr netip.Addr
	// Path names the way that the tunnel takes. On a new one the MTU is looked
	// for anew.
	Path string
	// Limit is the MTU of the tunnel device that leads there, in bytes: no larger
	// packets are asked for.
	Limit int
	// Busy says that the tunnel carries what tenants send: then its MTU is
	// confirmed every half second, so that they lose little when it shrinks.
	Busy bool
	// Resting says that nothing is to be sent there. What is known is kept.
	Resting bool
}

// Prober measures the ways to its peers. It is safe for concurrent use.
type Prober struct {
	cfg   Config
	id    uint16 // of requests that measure time; the next one is of sizes
	nonce nonce
	ready chan struct{}
	// news is poked when a size may be asked for before the next tick.
	news chan struct{}

	mu      sync.Mutex
	targets map[netip.Addr]*target
}

// New returns a prober without peers.
func New(cfg Config) (*Prober, error) {
	if cfg.Interval == 0 {
		cfg.Interval = defaultInterval
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = defaultTimeout
	}
	if cfg.Listen == nil {
		cfg.Listen = listen
	}
	switch {
	case cfg.Logger == nil:
		return nil, errors.New("configure prober: no logger")
	case !cfg.Source.Is6():
		return nil, fmt.Errorf("configure prober: source %s is not an IPv6 address", cfg.Source)
	case cfg.Interval < slots*time.Millisecond:
		return nil, fmt.Errorf("configure prober: interval %s is too short", cfg.Interval)
	case cfg.Timeout < 0:
		return nil, fmt.Errorf("configure prober: timeout %s is negative", cfg.Timeout)
	}
	if cfg.Changed == nil {
		cfg.Changed = func() {}
	}
	p := &Prober{
		cfg: cfg, ready: make(chan struct{}), news: make(chan struct{}, 1), targets: make(map[netip.Addr]*target),
	}
	var id [2]byte
	if _, err := rand.Read(id[:]); err != nil {
		return nil, fmt.Errorf("choose identifier: %w", err)
	}
	if _, err := rand.Read(p.nonce[:]); err != nil {
		return nil, fmt.Errorf("choose nonce: %w", err)
	}
	p.id = binary.BigEndian.Uint16(id[:])
	return p, nil
}

// String returns the task's name.
func (p *Prober) String() string { return "probe" }

// Ready is closed when Run has started. It does not wait for any answer.
func (p *Prober) Ready() <-chan struct{} { return p.ready }

// SetPeers replaces the peers that are probed. What is known of one that stays
// is kept.
func (p *Prober) SetPeers(peers []Peer) {
	wanted := make(map[netip.Addr]bool, len(peers))
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, peer := range peers {
		wanted[peer.Addr] = true
		t := p.targets[peer.Addr]
		if t == nil {
			t = &target{path: peer.Path, sizing: newSizing(peer.Limit)}
			p.targets[peer.Addr] = t
		}
		t.setPath(peer.Path)
		t.sizing.setLimit(peer.Limit)
		t.sizing.setBusy(peer.Busy)
		t.setResting(peer.Resting)
	}
	maps.DeleteFunc(p.targets, func(a netip.Addr, _ *target) bool { return !wanted[a] })
	p.poke()
}

// Stats returns what is known of each peer.
func (p *Prober) Stats() map[netip.Addr]Stats {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make(map[netip.Addr]Stats, len(p.targets))
	for a, t := range p.targets {
		out[a] = t.stats(now, p.cfg.Timeout)
	}
	return out
}

// Run probes until ctx is done, and then returns nil. It may be called once.
// Without a socket, because the address is not there yet, it goes on and counts
// the requests that it could not send as lost.
func (p *Prober) Run(ctx context.Context) error {
	close(p.ready)
	s := socket{prober: p}
	defer s.close()
	s.ensure()
	tick := time.NewTicker(p.cfg.Interval / slots)
	defer tick.Stop()
	budget := tickBudget
	for slot := uint32(0); ; {
		select {
		case <-ctx.Done():
			return nil
		case <-p.news:
			budget = p.sendSizes(s.conn, budget)
			continue
		case <-tick.C:
		}
		if slot == 0 {
			s.ensure()
		}
		p.send(s.conn, slot)
		p.doubt(s.conn)
		budget = p.sendSizes(s.conn, tickBudget)
		slot = (slot + 1) % slots
	}
}

// send sends a request to each peer of the slot. A request that cannot be sent
// is one that gets no answer.
func (p *Prober) send(c net.PacketConn, slot uint32) {
	for _, a := range p.due(slot) {
		seq, ok := p.begin(a, c != nil)
		if ok && c != nil {
			_, _ = c.WriteTo(request(p.id, seq, p.nonce), &net.IPAddr{IP: a.AsSlice()})
		}
	}
}

func (p *Prober) due(slot uint32) []netip.Addr {
	p.mu.Lock()
	defer p.mu.Unlock()
	var due []netip.Addr
	for a, t := range p.targets {
		if slotOf(a) == slot && !t.resting {
			due = append(due, a)
		}
	}
	return due
}

// begin notes a request right before it is sent, if it can be. It is false for a
// peer that has been removed meanwhile.
func (p *Prober) begin(a netip.Addr, can bool) (seq uint16, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.targets[a]
	if t == nil {
		return 0, false
	}
	now := time.Now()
	if can { // what could not be sent says nothing of the peer
		t.hearing.ask(now)
	}
	return t.sent(now), true
}

// receive takes one packet from the socket.
func (p *Prober) receive(b []byte, from netip.Addr) {
	now := time.Now()
	if seq, err := parseSizeReply(b, p.id+1, p.nonce); err == nil {
		p.receiveSize(seq, from, len(b), now)
		return
	}
	seq, err := parseReply(b, p.id, p.nonce)
	if err != nil {
		return // another prober's: a raw socket sees them all
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if t := p.targets[from]; t != nil {
		t.answered(seq, now)
	}
}

// slotOf spreads peers over the interval and keeps each where it is while
// others come and go.
func slotOf(a netip.Addr) uint32 {
	h := fnv.New32a()
	b := a.As16()
	_, _ = h.Write(b[:])
	return h.Sum32() % slots
}
