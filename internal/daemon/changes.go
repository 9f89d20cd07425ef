package daemon

import "sync"

// changes tells any number of listeners that something changed, never what.
type changes struct {
	mu        sync.Mutex
	listeners map[chan struct{}]struct{}
}

func newChanges() *changes { return &changes{listeners: map[chan struct{}]struct{}{}} }

func (c *changes) poke() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for l := range c.listeners {
		poke(l)
	}
}

func (c *changes) subscribe() (changed <-chan struct{}, cancel func()) {
	l := make(chan struct{}, 1)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.listeners[l] = struct{}{}
	return l, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.listeners, l)
	}
}
