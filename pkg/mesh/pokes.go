package mesh

import "sync"

// pokes tells subscribers that something has changed. The zero value is ready.
type pokes struct {
	mu  sync.Mutex
	all map[chan struct{}]struct{}
}

func (p *pokes) subscribe() (<-chan struct{}, func()) {
	c := make(chan struct{}, 1)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.all == nil {
		p.all = make(map[chan struct{}]struct{})
	}
	p.all[c] = struct{}{}
	return c, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.all, c)
	}
}

// poke never blocks: where one is due already, one is enough.
func (p *pokes) poke() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.all {
		poke(c)
	}
}

// poke pokes a channel of capacity 1.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
