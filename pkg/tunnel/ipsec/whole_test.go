package ipsec

import (
	"fmt"
	"testing"
	"time"

	"edgenet.dev/edgenet/pkg/tunnel/tunneltest"
)

// No router may cut what carries packets: a path would seem as wide as what
// arrives in pieces.
func TestESPIsSentWholeOrNotAtAll(t *testing.T) {
	for _, kind := range []Kind{KindUserspace, KindKernel} {
		t.Run(fmt.Sprintf("kind %d", kind), func(t *testing.T) {
			if kind == KindKernel {
				requireKernel(t)
			}
			f := newFleet(t, newHarness(t, kind, 2))
			f.full(t)
			ear := eavesdrop(t, f.lab.Switch, "port0")
			src, dst := f.device(0).Address, f.device(1).Address
			deadline := time.Now().Add(tunneltest.DeliverTimeout)
			for ear.ofESP() < 10 && time.Now().Before(deadline) {
				if !f.lab.Deliver(t, 0, 1, src, dst, src) || !f.lab.Deliver(t, 1, 0, dst, src, dst) {
					t.Fatal("nothing gets through")
				}
			}
			ear.mu.Lock()
			defer ear.mu.Unlock()
			if ear.whole == 0 || ear.pieces > 0 {
				t.Errorf("%d packets may not be cut, %d may", ear.whole, ear.pieces)
			}
		})
	}
}

// ofESP is how many packets of ESP were heard.
func (e *eavesdropper) ofESP() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.whole + e.pieces
}
