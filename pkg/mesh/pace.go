package mesh

import (
	"sync"
	"time"
)

// pace spaces out what is done on others' word: the less it brings, the rarer it
// becomes.
type pace struct {
	first, last time.Duration
	mu          sync.Mutex
	wait        time.Duration
	next        time.Time
}

func newPace(first, last time.Duration) *pace { return &pace{first: first, last: last, wait: first} }

// due tells whether it may be done now, and if so counts it as done.
func (p *pace) due(now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now.Before(p.next) {
		return false
	}
	p.next = now.Add(p.wait)
	return true
}

// brought notes whether it was worth it.
func (p *pace) brought(something bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if something {
		p.wait = p.first
	} else {
		p.wait = min(2*p.wait, p.last)
	}
}
