package ipsec

import (
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"edgenet.dev/edgenet/pkg/tunnel/internal/device"
	"edgenet.dev/edgenet/pkg/tunnel/tunneltest"
)

func TestUserspaceRekeysWithoutLoss(t *testing.T) { rekeysWithoutLoss(t, KindUserspace) }

func TestKernelRekeysWithoutLoss(t *testing.T) {
	requireKernel(t)
	rekeysWithoutLoss(t, KindKernel)
}

// Both ends replace keys by their own timers, and so at the same time now and
// then.
func rekeysWithoutLoss(t *testing.T, kind Kind) {
	t.Parallel() // most of its time is spent waiting
	h := newHarness(t, kind, 2)
	h.lifetimes = Lifetimes{IKE: 9 * time.Second, Child: 3 * time.Second}
	f := newFleet(t, h)
	f.full(t)
	f.keep(t, 0, f.peer(1))
	f.keep(t, 1, f.peer(0))
	f.settled(t)
	there, back := h.Stream(t, tunneltest.Left), h.Stream(t, tunneltest.Right)
	f.awaitRekeys(t, 6)
	sent1, received1 := there()
	sent2, received2 := back()
	t.Logf("6 rekeyings: %d of %d datagrams arrived there, %d of %d back", received1, sent1, received2, sent2)
	// Of datagrams each 10 ms. The kernel goes on with the old keys until the new
	// ones were used by the other end; still one of 271 was lost once, on an emulated
	// processor under load. kernel-libipsec encrypts with new keys as soon as it has
	// them, which is a millisecond before the other end can.
	allowed := map[Kind]int{KindKernel: 1, KindUserspace: 2}[kind]
	if sent1-received1 > allowed || sent2-received2 > allowed {
		t.Errorf("%d and %d datagrams were lost, want at most %d", sent1-received1, sent2-received2, allowed)
	}
}

// settled waits until there is one IKE SA alone between nodes 0 and 1, and it
// carries packets.
func (f *fleet) settled(t *testing.T) {
	t.Helper()
	deadline := time.Now().Add(tunneltest.DeliverTimeout)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for time.Now().Before(deadline) {
		s, err := readOf(t, f)
		if err == nil && len(s.sas[f.keys[1].Public()]) == 1 && s.sas[f.keys[1].Public()][0].newest() != nil {
			return
		}
		<-tick.C
	}
	t.Fatal("there is not one IKE SA alone")
}

func TestUserspaceIsRestoredWhenCharonDies(t *testing.T) {
	f, took := diesAndComesBack(t, KindUserspace)
	t.Logf("packets pass %s after charon was killed", took)
	// Promised is a second; a machine that is busy with other tests gets more.
	if took > 3*time.Second {
		t.Errorf("it took %s, want less than 3s", took)
	}
	f.settled(t)
}

// The kernel's SAs outlive the charon that made them.
func TestKernelServesOnWhenCharonDies(t *testing.T) {
	requireKernel(t)
	h := newHarness(t, KindKernel, 2)
	f := newFleet(t, h)
	f.full(t)
	f.keep(t, 0, f.peer(1))
	f.keep(t, 1, f.peer(0))
	f.settled(t)
	before := f.awaitOlder(t, 2*time.Second) // the kernel tells states' ages in seconds
	there, back := h.Stream(t, tunneltest.Left), h.Stream(t, tunneltest.Right)
	f.kill(t, 0)
	f.awaitOther(t, before)
	sent1, received1 := there()
	sent2, received2 := back()
	t.Logf("charon killed: %d of %d datagrams arrived there, %d of %d back", received1, sent1, received2, sent2)
	if sent1 != received1 {
		t.Errorf("%d datagrams that the node with the dead charon sent were lost, want none", sent1-received1)
	}
	// What comes in waits for the new charon, through whose socket the kernel takes
	// ESP out of UDP. A second is promised; emulated processors get three.
	if lost := sent2 - received2; lost > 300 {
		t.Errorf("%d datagrams to it were lost, each of 10 ms, want at most 300", lost)
	}
	f.awaitNoOrphans(t)
}

// replacing bounds what is lost when SAs are replaced by others that a new IKE SA
// brings. The end that began loses nothing. The other one has the new keys first
// and encrypts with them at once, while the answer is on its way and until it is
// understood: a millisecond, and up to some hundred of them where processors are
// emulated.
func replacing(t *testing.T, there, back int) {
	t.Helper()
	const allowed = 20 // of datagrams each 10 ms
	if there > 0 || back > allowed {
		t.Errorf("%d and %d datagrams were lost, want none and at most %d", there, back, allowed)
	}
}

// awaitOlder waits until node 0's child SA with node 1 is of some age.
func (f *fleet) awaitOlder(t *testing.T, age time.Duration) *snapshot {
	t.Helper()
	deadline := time.Now().Add(tunneltest.DeliverTimeout)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for time.Now().Before(deadline) {
		s, err := readOf(t, f)
		if err == nil && len(s.sas[f.keys[1].Public()]) == 1 {
			if c := s.sas[f.keys[1].Public()][0].newest(); c != nil && s.at.Sub(c.installed) >= age {
				return s
			}
		}
		<-tick.C
	}
	t.Fatalf("the child SA does not become %s old", age)
	return nil
}

// awaitOther waits until node 0 has another child SA with node 1 than before.
func (f *fleet) awaitOther(t *testing.T, before *snapshot) {
	t.Helper()
	old := before.sas[f.keys[1].Public()][0].newest().spiIn
	deadline := time.Now().Add(2 * tunneltest.DeliverTimeout)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for time.Now().Before(deadline) {
		if s, err := readOf(t, f); err == nil {
			for _, sa := range s.sas[f.keys[1].Public()] {
				if c := sa.newest(); c != nil && c.spiIn != old {
					return
				}
			}
		}
		<-tick.C
	}
	t.Fatal("there are no new SAs")
}

// awaitNoOrphans waits until node 0's kernel has the states that its charon has
// and no others.
func (f *fleet) awaitNoOrphans(t *testing.T) {
	t.Helper()
	deadline := time.Now().Add(2 * tunneltest.DeliverTimeout)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	var left []netlink.XfrmState
	for time.Now().Before(deadline) {
		f.lab.Spaces[0].Must(t, func() (err error) {
			left, err = statesOf(interfaceID(f.names[0]))
			return err
		})
		s, err := readOf(t, f)
		if err == nil {
			k := newKernelView(s, left, nil, time.Now().Add(time.Minute)) // of whatever age
			if left = append(k.orphans, k.deserted...); len(left) == 0 {
				return
			}
		}
		<-tick.C
	}
	t.Fatalf("%d states of the charon that died are left", len(left))
}

// diesAndComesBack kills node 0's charon under traffic from node 1, and returns
// how long that did not arrive.
func diesAndComesBack(t *testing.T, kind Kind) (*fleet, time.Duration) {
	t.Helper()
	f := newFleet(t, newHarness(t, kind, 2))
	f.full(t)
	f.keep(t, 0, f.peer(1))
	f.keep(t, 1, f.peer(0))
	f.settled(t)
	c := f.chat(t, 1, 0)
	c.more(t)
	f.kill(t, 0)
	return f, c.more(t)
}

// A node's second address takes over from its first: the new SAs are there
// before the old ones go.
func TestUserspaceMovesToAnotherEndpoint(t *testing.T) {
	movesToAnotherEndpoint(t, KindUserspace)
}

func TestKernelMovesToAnotherEndpoint(t *testing.T) {
	requireKernel(t)
	movesToAnotherEndpoint(t, KindKernel)
}

func movesToAnotherEndpoint(t *testing.T, kind Kind) {
	h := newHarness(t, kind, 2)
	f := newFleet(t, h)
	second := netip.AddrFrom4([4]byte{198, 18, 0, 200})
	h.lab.Spaces[1].Must(t, func() error {
		link, err := netlink.LinkByName(tunneltest.UnderlayDevice)
		if err != nil {
			return err
		}
		return netlink.AddrAdd(link, &netlink.Addr{IPNet: device.IPNet(netip.PrefixFrom(second, 24))})
	})
	f.full(t)
	stop := f.keep(t, 0, f.peer(1))
	f.keep(t, 1, f.peer(0))
	f.settled(t)
	there, back := h.Stream(t, tunneltest.Left), h.Stream(t, tunneltest.Right)

	stop()
	moved := f.peer(1)
	moved.Endpoint = netip.AddrPortFrom(second, listenPort)
	f.keep(t, 0, moved)
	deadline := time.Now().Add(2 * tunneltest.DeliverTimeout)
	for {
		s, err := readOf(t, f)
		if err == nil {
			if sas := s.sas[f.keys[1].Public()]; len(sas) == 1 && sas[0].remote == moved.Endpoint && sas[0].newest() != nil {
				break
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("node 0 has %+v, %v, want one SA at %s", s, err, moved.Endpoint)
		}
		time.Sleep(50 * time.Millisecond)
	}
	sent1, received1 := there()
	sent2, received2 := back()
	t.Logf("moved: %d of %d datagrams arrived there, %d of %d back", received1, sent1, received2, sent2)
	replacing(t, sent1-received1, sent2-received2)
}
