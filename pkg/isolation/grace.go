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

	// elapse returns when a grace period has passed.
	elapse func() error

	mu sync.Mutex
	// asked counts the moments, over how many of them have passed.
	asked, over uint64
	// running says that somebody waits; changed tells of over and of running.
	running bool
	changed *sync.Cond
	// err is that of the last wait that has ended.
	err error
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
	g := &grace{maps: maps, inner: inner, elapse: func() error { return maps.Put(uint32(0), inner) }}
	g.changed = sync.NewCond(&g.mu)
	return g, nil
}

// begin asks to be told when the packets of now are gone, and returns the number
// of this moment. It does not wait.
func (g *grace) begin() (moment uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.asked++
	g.start()
	return g.asked
}

// start has somebody wait. mu is held.
func (g *grace) start() {
	if !g.running {
		g.running = true
		go g.run()
	}
}

func (g *grace) run() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.over != g.asked {
		moment := g.asked
		g.mu.Unlock()
		err := g.elapse()
		g.mu.Lock()
		if g.err = err; err != nil {
			break
		}
		g.over = moment
		g.changed.Broadcast()
	}
	g.running = false
	g.changed.Broadcast()
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
	moment := g.asked
	g.mu.Unlock()
	return g.waitFor(moment)
}

// waitFor returns when the packets of a moment are gone; later ones may not be.
func (g *grace) waitFor(moment uint64) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.over < moment {
		g.start()
		g.changed.Wait()
		if g.over < moment && !g.running && g.err != nil {
			return fmt.Errorf("wait for packets under way: %w", g.err)
		}
	}
	return nil
}

func (g *grace) close() error {
	g.mu.Lock()
	for g.running {
		g.changed.Wait()
	}
	g.mu.Unlock()
	return errors.Join(g.maps.Close(), g.inner.Close())
}
