package isolation

import (
	"testing"
	"time"
)

// Packets in both directions count as use of the node that
// they are from or to, and of no other.
func TestUseOfANodeIsNoticed(t *testing.T) {
	b := newBench(t)
	b.rules(nothing, allowAll)
	b.sweep(&sweep{})
	if last := b.dp.LastUse(nodeB); !last.IsZero() {
		t.Fatalf("without a packet the last use was at %s", last)
	}
	start := time.Now().Add(-10 * time.Millisecond) // the programs' clock is a coarse one
	b.redirect(t, b.dp.fromEndpoint, tcp4(farAddr, 1000, 80, flagSYN))
	s := &sweep{}
	b.sweep(s)
	sent := b.dp.LastUse(nodeB)
	if sent.Before(start) || time.Since(sent) < 0 {
		t.Errorf("a packet was sent after %s, and the last use was at %s", start, sent)
	}
	if last := b.dp.LastUse(nodeA); !last.IsZero() {
		t.Errorf("this node's own use is at %s", last)
	}
	time.Sleep(20 * time.Millisecond)
	b.redirect(t, b.dp.fromTunnel, toDB(2000))
	b.sweep(s)
	if received := b.dp.LastUse(nodeB); !received.After(sent.Add(10 * time.Millisecond)) {
		t.Errorf("a packet came after the use at %s, and the last one was at %s", sent, received)
	}
}
