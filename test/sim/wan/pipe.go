package wan

import (
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"
)

// How TCP behaves, as far as that is felt.
const (
	tcpHeader = 32 // With time stamps, in bytes.
	// segmentSize is how many bytes go into one packet.
	segmentSize = 1220
	// firstWindow is how many segments go before the first acknowledgement (RFC
	// 6928), lastWindow how many are under way at most.
	firstWindow = 10
	lastWindow  = 1024
	// leastTimeout, besides the round trip, is after how long a segment is sent
	// again, if none behind it tells that it is missing.
	leastTimeout = 200 * time.Millisecond
	mostTimeout  = time.Minute
	// giveUp is how long a stream tries.
	giveUp = 15 * time.Minute
)

// chunk is what one Write has sent.
type chunk struct {
	data []byte
	at   time.Time // of arrival
	end  bool      // nothing comes after it
	// timeout is that of the next attempt where nothing gets through.
	timeout time.Duration
	written time.Time
}

// pipe is one direction of a stream.
type pipe struct {
	from, to *Host
	// sender and receiver count the stream at its ends.
	sender, receiver *counter
	read             deadline
	wake             chan struct{} // capacity 1

	mu     sync.Mutex
	flight []chunk // in order
	// ready is what has come and is not read yet.
	ready  []byte
	ended  bool  // the other side has closed
	closed bool  // this side has
	broken error // the stream has come to an end in between
	// window, used and opened are TCP's congestion window, in segments, how much
	// of it is under way, and since when.
	window, used int
	opened       time.Time
	// reset tells the writer that nobody reads.
	reset func()
}

func newPipe(from, to *Host, sender, receiver *counter) *pipe {
	p := &pipe{
		from: from, to: to, sender: sender, receiver: receiver,
		wake: make(chan struct{}, 1), window: firstWindow,
	}
	p.read.init()
	return p
}

// write sends data, or the end of it.
func (p *pipe) write(data []byte, end bool) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.broken != nil {
		return 0, p.broken
	}
	now := time.Now()
	c := chunk{data: slices.Clone(data), end: end, written: now}
	n := p.from.network
	trip := n.base(p.from, p.to)
	segments := max(1, (len(data)+segmentSize-1)/segmentSize)
	bytes := len(data) + segments*p.from.headers(tcpHeader)
	sent := p.from.depart(p.pass(now, segments, 2*trip), bytes)
	c.at = sent.Add(trip + p.from.jitter() + p.again(segments, 2*trip))
	c.timeout = leastTimeout + 2*trip
	if len(p.flight) > 0 {
		if last := p.flight[len(p.flight)-1].at; c.at.Before(last) {
			c.at = last
		}
	}
	p.sender.send(segments, bytes)
	p.receiver.send((segments+1)/2, (segments+1)/2*p.to.headers(tcpHeader)) // acknowledgements
	p.flight = append(p.flight, c)
	if len(p.flight) == 1 {
		time.AfterFunc(n.until(c.at), p.arrive)
	}
	return len(data), nil
}

// pass takes a number of segments through the congestion window and returns when
// the last of them goes. The lock is held.
func (p *pipe) pass(now time.Time, segments int, round time.Duration) time.Time {
	if now.Sub(p.opened) >= round {
		p.opened, p.used = now, 0 // All that went before is acknowledged.
	}
	for p.used+segments > p.window {
		segments -= p.window - p.used
		p.opened, p.used = p.opened.Add(round), 0
		p.window = min(2*p.window, lastWindow)
	}
	p.used += segments
	if p.opened.After(now) {
		return p.opened
	}
	return now
}

// again returns how much later segments come because some were lost.
func (p *pipe) again(segments int, round time.Duration) time.Duration {
	var late time.Duration
	for i := range segments {
		timeout := leastTimeout + round
		if i+3 < segments {
			timeout = round // Those behind it tell that it is missing.
		}
		lost := time.Duration(0)
		for p.from.loses() {
			lost += timeout
			timeout = min(2*max(timeout, leastTimeout+round), mostTimeout)
			p.sender.send(1, segmentSize+p.from.headers(tcpHeader))
		}
		late = max(late, lost)
	}
	return late
}

// arrive takes what has come, in order, and waits for the next.
func (p *pipe) arrive() {
	p.mu.Lock()
	defer p.mu.Unlock()
	n, now := p.from.network, time.Now()
	for len(p.flight) > 0 {
		c := &p.flight[0]
		if c.at.After(now) {
			time.AfterFunc(n.until(c.at), p.arrive)
			return
		}
		if n.severed(p.from, p.to) {
			if now.Sub(c.written) > giveUp {
				p.fail(syscall.ETIMEDOUT)
				return
			}
			c.at, c.timeout = now.Add(c.timeout), min(2*c.timeout, mostTimeout)
			continue
		}
		p.take(c)
		p.flight = slices.Delete(p.flight, 0, 1)
	}
}

// take adds a chunk to what can be read. The lock is held.
func (p *pipe) take(c *chunk) {
	segments := max(1, (len(c.data)+segmentSize-1)/segmentSize)
	p.receiver.receive(segments, len(c.data)+segments*p.from.headers(tcpHeader))
	if p.closed && !c.end && p.reset != nil {
		go p.reset() // The lock is held, and so may be the other direction's.
	}
	p.ready = append(p.ready, c.data...)
	p.ended = p.ended || c.end
	p.poke()
}

// fail ends the stream in between. The lock is held.
func (p *pipe) fail(err error) {
	p.broken, p.flight, p.ready = err, nil, nil
	p.poke()
}

// breakOff ends the stream in between.
func (p *pipe) breakOff(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.broken == nil {
		p.fail(err)
	}
}

func (p *pipe) poke() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// receive reads what has come, and waits for it.
func (p *pipe) receive(b []byte) (int, error) {
	for {
		over := p.read.passed()
		select {
		case <-over:
			return 0, os.ErrDeadlineExceeded
		default:
		}
		if n, done, err := p.look(b); done {
			return n, err
		}
		select {
		case <-p.wake:
		case <-over:
		}
	}
}

// look reads what is there, and tells whether that ends the wait.
func (p *pipe) look(b []byte) (n int, done bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.closed:
		p.poke() // Whoever else reads has to know too.
		return 0, true, net.ErrClosed
	case p.broken != nil:
		p.poke()
		return 0, true, p.broken
	case len(p.ready) > 0 || len(b) == 0:
		n = copy(b, p.ready)
		if p.ready = p.ready[n:]; len(p.ready) == 0 {
			p.ready = nil
		} else {
			p.poke()
		}
		return n, true, nil
	case p.ended:
		p.poke()
		return 0, true, io.EOF
	}
	return 0, false, nil
}

// close ends reading.
func (p *pipe) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed, p.ready = true, nil
	p.poke()
}
