package probe

import (
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// Nothing is sent to a peer that rests, what is known of it is kept, and it is
// looked at at once when it rests no more.
func TestARestingPeerIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sent atomic.Int64
		answer := echo(10 * time.Millisecond)
		p := start(t, func() (net.PacketConn, error) {
			return newWire(func(w *wire, to netip.Addr, b []byte) {
				sent.Add(1)
				answer(w, to, b)
			}), nil
		})
		peer := those(addrs(1))[0]
		p.SetPeers([]Peer{peer})
		time.Sleep(time.Minute)
		known := p.Stats()[peer.Addr]
		if known.RTT == 0 || known.MTU != limit || known.Sent == 0 {
			t.Fatalf("known is %+v", known)
		}
		peer.Resting = true
		p.SetPeers([]Peer{peer})
		time.Sleep(time.Second) // for answers
		before := sent.Load()
		time.Sleep(time.Hour)
		if n := sent.Load() - before; n > 0 {
			t.Errorf("%d packets were sent to a peer that rests", n)
		}
		if got := p.Stats()[peer.Addr]; got.RTT != known.RTT || got.MTU != known.MTU || got.MTUBasis != Confirmed || got.Lost > 0 {
			t.Errorf("known was %+v, and is %+v after a rest", known, got)
		}
		peer.Resting = false
		woken := time.Now()
		p.SetPeers([]Peer{peer})
		time.Sleep(100 * time.Millisecond)
		if got := p.Stats()[peer.Addr]; got.MTUConfirmed.Before(woken) {
			t.Error("the MTU is not confirmed at once after a rest")
		}
	})
}
