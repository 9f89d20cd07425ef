package isolation

import (
	"errors"
	"fmt"
	"sync"

	"github.com/cilium/ebpf"
)

// grace tells when no packet is under way any more that was so at some moment:
// what that packet may have read can be written anew from then on. The kernel
// waits for all running programs (an RCU grace period, 8 to 16 ms where it was
// measured) before it answers an update of a map of maps: since 4.20, whatever
// membarrier(2) is allowed to do.
type grace struct {
	maps, inner *ebpf.Map

	mu sync.Mutex
	// asked counts the moments, over how many of them have passed.
	asked, over uint64
	// waiting is closed when the wait under way ends, nil if there is none.
	waiting chan struct{}
	err     error
}

func openGrace() (*grace, error) {
	one := &ebpf.MapSpec{Name: "edgenet_grace", Type: ebpf.Array, KeySize: 4, ValueSize: 4, MaxEntries: 1}
	inner, err := ebpf.NewMap(one)
	if err != nil {
		return nil, fmt.Errorf("make map to wait by: %w", err)
	}
	maps, err := ebpf.NewMap(&ebpf.MapSpec{
		Name: "edgenet_graces", Type: ebpf.ArrayOfMaps, KeySize: 4, ValueSize: 4, MaxEntries: 1, InnerMap: one,
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make map to wait by: %w", err), inner.Close())
	}
	return &grace{maps: maps, inner: inner}, nil
}

// begin asks to be told when the packets of now are gone. It does not wait.
func (g *grace) begin() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.asked++
	g.start()
}

// start has somebody wait. mu is held.
func (g *grace) start() {
	if g.waiting == nil {
		g.waiting = make(chan struct{})
		go g.run()
	}
}

func (g *grace) run() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.over != g.asked {
		moment := g.asked
		g.mu.Unlock()
		err := g.maps.Put(uint32(0), g.inner)
		g.mu.Lock()
		if g.err = err; err != nil {
			break
		}
		g.over = moment
	}
	close(g.waiting)
	g.waiting = nil
}

// passed says whether the packets of the last begin are gone.
func (g *grace) passed() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.over == g.asked
}

// wait returns when they are.
func (g *grace) wait() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.over != g.asked {
		g.start()
		waiting := g.waiting
		g.mu.Unlock()
		<-waiting
		g.mu.Lock()
		if g.over != g.asked && g.err != nil {
			return fmt.Errorf("wait for packets under way: %w", g.err)
		}
	}
	return nil
}

func (g *grace) close() error {
	g.mu.Lock()
	waiting := g.waiting
	g.mu.Unlock()
	if waiting != nil {
		<-waiting
	}
	return errors.Join(g.maps.Close(), g.inner.Close())
}
