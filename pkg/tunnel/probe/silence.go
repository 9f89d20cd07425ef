package probe

import (
	"net"
	"time"
)

const (
	// Silence is how long a peer that is asked does not answer until it is called
	// silent. It is longer than the timeout, so that a slow peer is none.
	Silence = 4 * time.Second
	// enoughUnheard is how many requests in a row must have been in vain: where 30 %
	// get lost on the ways there and back together, one of 4,500 series is.
	enoughUnheard = 7
	// minDoubt is the least time until a peer is asked anew that has not answered.
	minDoubt = 500 * time.Millisecond
)

// hearing is what is known of whether a peer answers at all.
type hearing struct {
	// asked is when the first request was sent that has not been followed by an
	// answer, last when the last one was, and unheard how many there were.
	asked, last time.Time
	unheard     int
	// told is what was told of it.
	told bool
}

// ask notes a request of any kind.
func (h *hearing) ask(now time.Time) {
	if h.unheard == 0 {
		h.asked = now
	}
	h.unheard++
	h.last = now
}

// hear notes an answer of any kind.
func (h *hearing) hear() { h.unheard = 0 }

// silent tells whether the peer does not answer any more, or never did.
func (h *hearing) silent(now time.Time) bool {
	return h.unheard >= enoughUnheard && now.Sub(h.asked) >= Silence
}

// since is when a silent peer was first asked in vain; zero if it is none.
func (h *hearing) since(now time.Time) time.Time {
	if !h.silent(now) {
		return time.Time{}
	}
	return h.asked
}

// inDoubt tells whether it is time to ask anew, not to wait for the next interval
// to learn whether a request was lost by chance.
func (h *hearing) inDoubt(now time.Time, rtt time.Duration) bool {
	return h.unheard > 0 && now.Sub(h.last) >= max(minDoubt, 2*rtt) && !h.silent(now)
}

// doubt asks those anew that have not answered, by the requests that datapaths
// answer, whatever their hosts think of pings, and tells who fell silent or is
// heard again. These requests count for no loss.
func (p *Prober) doubt(c net.PacketConn) {
	if c == nil {
		return
	}
	again, news := p.doubtful(time.Now())
	for _, r := range again {
		_, _ = c.WriteTo(sizeRequest(p.id+1, r.first, p.nonce, 0), &net.IPAddr{IP: r.to.AsSlice()})
	}
	if news {
		p.cfg.Changed()
	}
}

func (p *Prober) doubtful(now time.Time) (again []sizeRequests, news bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for a, t := range p.targets {
		if silent := t.hearing.silent(now); silent != t.hearing.told {
			t.hearing.told, news = silent, true
		}
		if !t.resting && t.hearing.inDoubt(now, t.rtt) {
			again = append(again, sizeRequests{to: a, first: t.sizeSent(now, []int{0})})
		}
	}
	return again, news
}
