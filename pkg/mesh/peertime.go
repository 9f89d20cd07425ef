package mesh

import (
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"
)

// What peers' clocks are worth.
const (
	// clockSlack is how far this node's clock may be from that of its peers and
	// still be used: what they say is known to half the time of a call.
	clockSlack = 3 * time.Second
	// maxClockCall is how long a call may take to say what time it is elsewhere.
	maxClockCall = 2 * time.Second
	// maxClockSamples is how many peers are remembered, those asked last.
	maxClockSamples = 32
)

// headerTime carries the wall clock of who answers, in milliseconds since 1970.
const headerTime = "Edgenet-Time"

// mostTime is later than any time that is said, in nanoseconds since 1970.
const mostTime = int64(1) << 62

// peerTime is a clock that a few wrong ones do not lead astray: the median of this
// node's and of those that its peers said they have. Each is kept as the time at
// which this process began, by that clock, so that a clock which is set while it
// runs counts as wrong as one that always was.
type peerTime struct {
	wall  func() time.Time
	began time.Time

	mu      sync.Mutex
	samples map[NodeID]clockSample
	// Between low and high this node's own beginning is the lower of the two
	// medians, between admit and latest the higher.
	low, high, admit, latest int64
}

type clockSample struct {
	began int64
	at    time.Duration
}

func newPeerTime(wall func() time.Time) *peerTime {
	return &peerTime{
		wall: wall, began: time.Now(), samples: map[NodeID]clockSample{},
		low: -mostTime, high: mostTime, admit: -mostTime, latest: mostTime,
	}
}

// own reads this node's clock: the time, when the process began by it, and how
// long ago that is.
func (p *peerTime) own() (wall time.Time, began int64, ran time.Duration) {
	wall, ran = p.wall(), time.Since(p.began)
	return wall, wall.UnixNano() - int64(ran), ran
}

// now is the time. Of two nodes that do not agree, the one that is ahead gives way.
func (p *peerTime) now() time.Time {
	wall, began, ran := p.own()
	p.mu.Lock()
	defer p.mu.Unlock()
	return corrected(wall, began, p.low, p.high, ran)
}

// admits is the time by which others are too far ahead: where it cannot be said
// who is right, the later one.
func (p *peerTime) admits() time.Time {
	wall, began, ran := p.own()
	p.mu.Lock()
	defer p.mu.Unlock()
	return corrected(wall, began, p.admit, p.latest, ran)
}

func corrected(wall time.Time, began, low, high int64, ran time.Duration) time.Time {
	right := min(max(began, low), high)
	if off := time.Duration(began - right); off.Abs() <= clockSlack {
		return wall
	}
	return time.Unix(0, right+int64(ran))
}

// skew is how far this node's clock is ahead of the time, 0 if it is used.
func (p *peerTime) skew() time.Duration {
	wall := p.wall()
	if off := wall.Sub(p.now()); off.Abs() > clockSlack {
		return off
	}
	return 0
}

// hear notes what time a peer said it is, in the middle of a call.
func (p *peerTime) hear(peer NodeID, said time.Time, asked, took time.Duration) {
	if took > maxClockCall {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.samples[peer] = clockSample{began: said.UnixNano() - int64(asked+took/2), at: asked}
	if len(p.samples) > maxClockSamples {
		oldest := peer
		for id, s := range p.samples {
			if s.at < p.samples[oldest].at {
				oldest = id
			}
		}
		delete(p.samples, oldest)
	}
	sorted := make([]int64, 0, len(p.samples)+2)
	for _, s := range p.samples {
		sorted = append(sorted, s.began)
	}
	sorted = append(sorted, -mostTime, mostTime)
	slices.Sort(sorted)
	// With this node's own there are n+1, of which the medians have n/2 and
	// (n+1)/2 below them.
	n := len(p.samples)
	p.low, p.high = sorted[n/2], sorted[n/2+1]
	p.admit, p.latest = sorted[(n+1)/2], sorted[(n+1)/2+1]
}

// heard is how many peers have said what time it is.
func (p *peerTime) heard() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.samples)
}

// heardOf tells whether a peer has.
func (p *peerTime) heardOf(peer NodeID) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, ok := p.samples[peer]
	return ok
}

// stamped notes what time it is at the nodes that are called.
type stamped struct {
	m    *Mesh
	next http.RoundTripper
}

// RoundTrip does one request.
func (s stamped) RoundTrip(r *http.Request) (*http.Response, error) {
	clock := s.m.replica.times
	asked := time.Since(clock.began)
	resp, err := s.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	took := time.Since(clock.began) - asked
	in := s.m.current()
	if in == nil || resp.TLS == nil || len(resp.TLS.PeerCertificates) == 0 {
		return resp, nil
	}
	// It was verified when the connection was made.
	peer, err := parseCredential(resp.TLS.PeerCertificates[0], in.mesh)
	if err != nil {
		return resp, nil //nolint:nilerr // The call itself went well.
	}
	ms, err := strconv.ParseInt(resp.Header.Get(headerTime), 10, 64)
	if err == nil && ms > 0 && ms < mostTime/int64(time.Millisecond) {
		clock.hear(peer.id, time.UnixMilli(ms), asked, took)
		s.m.correct()
	}
	return resp, nil
}

// stamp says what time it is here, by this node's own clock alone: a time that was
// corrected says nothing new.
func (m *Mesh) stamp(w http.ResponseWriter) {
	w.Header().Set(headerTime, strconv.FormatInt(m.cfg.now().UnixMilli(), 10))
}

// Clock is what time it is by this node's own clock, right or wrong.
func (m *Mesh) Clock() time.Time { return m.cfg.now() }

// ClockSkew returns how far this node's clock is ahead of its peers', and 0 if it
// is near enough. It is not used then.
func (m *Mesh) ClockSkew() time.Duration { return m.replica.times.skew() }

// Time is what time it is: that of this node's clock, or that of its peers where its
// own is not near theirs.
func (m *Mesh) Time() time.Time { return m.replica.now() }

// correct says it when this node's clock turns out to be wrong or right again, and
// takes back the versions that it gave out too far ahead.
func (m *Mesh) correct() {
	skew := m.ClockSkew()
	if wrong := skew != 0; m.clockWrong.Swap(wrong) != wrong {
		if wrong {
			m.log.Warn("this node's clock is wrong; the time of its peers is used instead", "ahead", skew.Round(time.Second))
		} else {
			m.log.Info("this node's clock is right again")
		}
	}
	in := m.current()
	if in == nil {
		return
	}
	es, err := m.replica.rewind(in, m.key)
	if err != nil {
		m.log.Warn("sign records anew that are ahead of the time", "err", err)
		return
	}
	m.publish(es)
}
