package probe

import "time"

// window is how many of the last requests loss is counted over.
const window = 100

// Stats is what is known of the way to one peer.
type Stats struct {
	// RTT is the smoothed round-trip time, and Variation how much it varies:
	// SRTT and RTTVAR of RFC 6298, section 2. Both are 0 before the first
	// answer.
	RTT, Variation time.Duration
	// LastAnswer is when the round-trip time was measured last; zero before the
	// first.
	LastAnswer time.Time
	// LastCut is when an answer last came that was cut off: from the peer's
	// datapath, by the device that the request came by. It is zero before the first.
	LastCut time.Time
	// Sent is how many of the last 100 requests have been answered or are
	// older than the timeout; Lost is how many of those are not answered.
	Sent, Lost int

	// SilentSince is when a peer that does not answer was first asked in vain; zero
	// for one that does, or that is not known to be silent.
	SilentSince time.Time

	// Requests is how many were sent, and Bytes how long the packets were in the
	// tunnel: what others sent is the rest.
	Requests, Bytes uint64

	// MTU is how large a packet the tunnel takes to that peer, in bytes; 0 if it
	// is not asked for. MTUBasis says how that is known, and MTUConfirmed when a
	// packet of that size last got through, zero if none did. MTUMost is the largest
	// that may get through: more than MTU until that was found out for the first
	// time.
	MTU, MTUMost int
	MTUBasis     Basis
	MTUConfirmed time.Time
}

// Loss returns the share of requests that were lost, 0 to 1.
func (s Stats) Loss() float64 {
	if s.Sent == 0 {
		return 0
	}
	return float64(s.Lost) / float64(s.Sent)
}

// target is one peer's requests.
type target struct {
	// count is how many requests for times were sent; the n-th has sequence number n
	// modulo 2^16 and place n modulo window.
	count      uint64
	pending    [window]pending
	rtt        time.Duration
	variation  time.Duration
	lastAnswer time.Time
	lastCut    time.Time

	hearing hearing

	requests, bytes uint64

	path    string
	resting bool
	sizing  sizing
	sized   [outstanding]sizedRequest
	sizes   uint16 // how many of those were sent, modulo 2^16
}

type pending struct {
	sentAt   time.Time
	answered bool
}

// sent notes a request and returns its sequence number.
func (t *target) sent(now time.Time) uint16 {
	n := t.count
	t.requests++
	t.bytes += ipv6HeaderLen + packetLen
	t.pending[n%window] = pending{sentAt: now}
	t.count++
	return uint16(n)
}

// answered notes an answer, and says whether it was the first to one of the
// last requests.
func (t *target) answered(seq uint16, now time.Time) bool {
	if t.count == 0 {
		return false
	}
	last := t.count - 1
	age := uint64(uint16(last) - seq)
	if age >= window || age > last {
		return false
	}
	p := &t.pending[(last-age)%window]
	if p.answered {
		return false
	}
	p.answered = true
	t.lastAnswer = now
	t.hearing.hear()
	t.smooth(now.Sub(p.sentAt))
	return true
}

// smooth is RFC 6298, section 2, with its alpha of 1/8 and beta of 1/4.
func (t *target) smooth(r time.Duration) {
	if t.rtt == 0 {
		t.rtt, t.variation = r, r/2
		return
	}
	t.variation = (3*t.variation + (t.rtt - r).Abs()) / 4
	t.rtt = (7*t.rtt + r) / 8
}

// stats counts a request without an answer as lost when it is older than the
// timeout. An answer that comes later still takes that back.
func (t *target) stats(now time.Time, timeout time.Duration) Stats {
	s := Stats{
		RTT: t.rtt, Variation: t.variation, LastAnswer: t.lastAnswer, LastCut: t.lastCut,
		SilentSince: t.hearing.since(now),
		Requests:    t.requests, Bytes: t.bytes,
		MTU: t.sizing.mtu, MTUMost: t.sizing.most(), MTUBasis: t.sizing.basis, MTUConfirmed: t.sizing.confirmed,
	}
	for _, p := range t.pending[:min(t.count, window)] {
		switch {
		case p.answered:
			s.Sent++
		case now.Sub(p.sentAt) >= timeout:
			s.Sent++
			s.Lost++
		}
	}
	return s
}
