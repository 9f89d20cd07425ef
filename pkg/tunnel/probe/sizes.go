package probe

import (
	"cmp"
	"net"
	"net/netip"
	"slices"
	"time"
)

const (
	// tickBudget is how many bytes of requests for sizes are sent in a slot of the
	// interval, give or take a round of one peer: a host that has many peers must
	// not fill its uplink with them.
	tickBudget = 64 << 10
	// outstanding is how many requests to a peer an answer may be to.
	outstanding = 64
)

// sizedRequest is one that may still be answered.
type sizedRequest struct {
	sent  bool
	seq   uint16
	bytes int
}

// sizeRequests are those of one round to one peer.
type sizeRequests struct {
	to    netip.Addr
	first uint16 // sequence number
	sizes []int
}

// setPath notes which way packets take.
func (t *target) setPath(path string) {
	if path == t.path {
		return
	}
	t.path = path
	t.sizing.wake()
}

// setResting says whether anything may be sent. Who is asked again is asked at once
// how large packets get there now.
func (t *target) setResting(resting bool) {
	if t.resting && !resting {
		t.sizing.next = time.Time{}
	}
	if resting {
		t.hearing.hear() // Who is not asked is not silent.
	}
	t.resting = resting
}

// patience is how long an answer is awaited: a round trip, and four times what
// it varies by, is RFC 6298's measure of when it is late.
func (t *target) patience() time.Duration {
	if t.rtt == 0 {
		return maxPatience
	}
	return min(max(2*t.rtt+4*t.variation, minPatience), maxPatience)
}

// sizeSent notes requests, and returns the first one's sequence number.
func (t *target) sizeSent(now time.Time, sizes []int) uint16 {
	first := t.sizes
	for _, size := range sizes {
		t.hearing.ask(now)
		t.sized[t.sizes%outstanding] = sizedRequest{sent: true, seq: t.sizes, bytes: size}
		t.sizes++
		t.requests++
		t.bytes += uint64(packetSize(size))
	}
	return first
}

// sizeAnswered takes an answer of so many bytes; a long one may be shortened to
// more than packetLen. It says whether the round is over, and whether
// what is in force has changed.
func (t *target) sizeAnswered(seq uint16, length int, now time.Time) (over, changed bool) {
	r := &t.sized[seq%outstanding]
	if !r.sent || r.seq != seq {
		return false, false
	}
	r.sent = false
	t.hearing.hear()
	if length == packetLen && packetSize(r.bytes) > packetSize(0) {
		t.lastCut = now
	}
	over = t.sizing.answered(r.bytes, now)
	return over, t.endSizes(now, over)
}

// packetSize is the length of a request, 0 being the smallest.
func packetSize(size int) int { return max(size, ipv6HeaderLen+packetLen) }

func (t *target) endSizes(now time.Time, over bool) (changed bool) {
	changed = t.sizing.end(now, over)
	if changed && t.sizing.basis == Searching {
		t.sized = [outstanding]sizedRequest{} // Answers from before are of another way.
	}
	return changed
}

// poke has sizes looked at soon. It never blocks.
func (p *Prober) poke() {
	select {
	case p.news <- struct{}{}:
	default: // It is due already.
	}
}

func (p *Prober) receiveSize(seq uint16, from netip.Addr, length int, now time.Time) {
	p.mu.Lock()
	t := p.targets[from]
	var over, changed bool
	if t != nil {
		over, changed = t.sizeAnswered(seq, length, now)
	}
	p.mu.Unlock()
	if over {
		p.poke()
	}
	if changed {
		p.cfg.Changed()
	}
}

// sendSizes ends rounds that are due and sends others, as long as the budget of
// bytes lasts. It returns what is left. A request that cannot be sent is one
// that gets no answer.
func (p *Prober) sendSizes(c net.PacketConn, budget int) int {
	if c == nil {
		return budget // Nothing is learned from what could not be sent.
	}
	requests, left, changed := p.dueSizes(time.Now(), budget)
	if changed {
		p.cfg.Changed()
	}
	for _, r := range requests {
		for i, size := range r.sizes {
			_, _ = c.WriteTo(sizeRequest(p.id+1, r.first+uint16(i), p.nonce, size), &net.IPAddr{IP: r.to.AsSlice()})
		}
	}
	return left
}

// dueSizes says what is to be sent now, what is left of the budget, and whether
// what is in force for a peer has changed.
func (p *Prober) dueSizes(now time.Time, budget int) (out []sizeRequests, left int, changed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	waiting := make([]netip.Addr, 0, len(p.targets))
	for a, t := range p.targets {
		changed = t.endSizes(now, false) || changed
		if !t.resting && t.sizing.due.IsZero() && !now.Before(t.sizing.next) {
			waiting = append(waiting, a)
		}
	}
	// Who has waited for longest is the first.
	slices.SortFunc(waiting, func(a, b netip.Addr) int {
		return cmp.Or(p.targets[a].sizing.next.Compare(p.targets[b].sizing.next), a.Compare(b))
	})
	for _, a := range waiting {
		if budget <= 0 {
			break
		}
		t := p.targets[a]
		sizes := t.sizing.begin(now, t.patience())
		if len(sizes) == 0 {
			continue
		}
		for _, size := range sizes {
			budget -= packetSize(size)
		}
		out = append(out, sizeRequests{to: a, first: t.sizeSent(now, sizes), sizes: sizes})
	}
	return out, budget, changed
}
