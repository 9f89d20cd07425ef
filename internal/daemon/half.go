package daemon

import "sync"

// half has this host's packets sent by the half of its /64 that its tunnel key
// says, in whatever datapath there is. It does not wait for rounds, which take
// longer than packets may be marked wrongly.
type half struct {
	mu       sync.Mutex
	upper    bool
	datapath Datapath // nil if none is open
}

// use is in force when it returns.
func (h *half) use(upper bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.upper = upper
	if h.datapath != nil {
		h.datapath.UseHalf(upper)
	}
}

// open is called with a datapath before that is used, and with nil before it is
// closed.
func (h *half) open(d Datapath) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.datapath = d
	if d != nil {
		d.UseHalf(h.upper)
	}
}
