package probe

import (
	"math/rand/v2"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A peer that dies is noticed within seconds of the first request that it does not
// answer, and so is that it is back.
func TestASilentPeerIsNoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var dead atomic.Bool
		answer := echo(20 * time.Millisecond)
		w := newWire(func(w *wire, to netip.Addr, packet []byte) {
			if !dead.Load() {
				answer(w, to, packet)
			}
		})
		news := make(chan struct{}, 1000)
		p := startWith(t, func() (net.PacketConn, error) { return w, nil }, func() { news <- struct{}{} })
		peer := addrs(1)
		p.SetPeers(those(peer))
		time.Sleep(10 * time.Second)
		if since := p.Stats()[peer[0]].SilentSince; !since.IsZero() {
			t.Errorf("a peer that answers is said to be silent since %s", since)
		}
		for len(news) > 0 {
			<-news
		}
		dead.Store(true)
		died := time.Now()
		<-news
		after := time.Since(died)
		if after < Silence || after > Silence+defaultInterval+200*time.Millisecond {
			t.Errorf("it is noticed after %s", after)
		}
		s := p.Stats()[peer[0]]
		if s.SilentSince.Before(died) || s.SilentSince.After(died.Add(defaultInterval)) {
			t.Errorf("it is said to be silent since %s after it died", s.SilentSince.Sub(died))
		}
		before := s.Requests
		time.Sleep(time.Minute)
		if sent := p.Stats()[peer[0]].Requests - before; sent > 60 {
			t.Errorf("%d requests in a minute to a peer that is known to be silent", sent)
		}
		dead.Store(false)
		<-news
		if since := p.Stats()[peer[0]].SilentSince; !since.IsZero() {
			t.Errorf("it answers, and is said to be silent since %s", since)
		}
	})
}

// Loss is no silence: an hour of a way that loses 20 % each way, and answers after
// a second and a half.
func TestLossIsNotTakenForSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		random := rand.New(rand.NewPCG(1, 2))
		answer := echo(1500 * time.Millisecond)
		w := newWire(func(w *wire, to netip.Addr, packet []byte) {
			if random.Float64() > 0.36 {
				answer(w, to, packet)
			}
		})
		p := start(t, func() (net.PacketConn, error) { return w, nil })
		peer := addrs(1)
		p.SetPeers(those(peer))
		silent := time.Duration(0)
		for range 3600 {
			time.Sleep(time.Second)
			if !p.Stats()[peer[0]].SilentSince.IsZero() {
				silent += time.Second
			}
		}
		if silent > time.Minute {
			t.Errorf("it was said to be silent for %s", silent)
		}
		t.Logf("said to be silent for %s of an hour", silent)
	})
}
