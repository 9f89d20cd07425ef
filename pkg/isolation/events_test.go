package isolation

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"edgenet.dev/edgenet/pkg/policy"
)

func (b *bench) watch(ctx context.Context, kinds ...EventKind) *Watch {
	b.t.Helper()
	w, err := b.dp.Watch(ctx, kinds...)
	if err != nil {
		b.t.Fatal(err)
	}
	return w
}

// next waits for an event.
func (w *Watch) next(t testing.TB) Event {
	t.Helper()
	select {
	case e, ok := <-w.Events():
		if !ok {
			t.Fatal("the watch has ended")
		}
		if age := time.Since(e.Time); age < -time.Second || age > time.Minute {
			t.Errorf("the event is %v old", age)
		}
		e.Time = time.Time{}
		return e
	case <-time.After(answerWithin):
		t.Fatal("no event")
		return Event{}
	}
}

func (w *Watch) want(t testing.TB, want Event) {
	t.Helper()
	if got := w.next(t); got != want {
		t.Errorf("event %+v, want %+v", got, want)
	}
}

func TestWhatHappensIsTold(t *testing.T) {
	b := newBench(t)
	b.rules(nothing, allowAll)
	w := b.watch(t.Context(), EventDrop, EventFlow)
	packet := tcp4(farAddr, 40000, 80, flagSYN)
	b.redirect(t, b.dp.fromEndpoint, packet)
	w.want(t, Event{
		Kind: EventFlow, Endpoint: webKey, Direction: policy.Egress, Source: webAddr, Destination: farAddr,
		Protocol: unix.IPPROTO_TCP, SourcePort: 40000, DestinationPort: 80, Length: len(packet) - 14,
		Allowed: true, ShadowAllowed: true,
	})
	packet = fromFar(17, udpDatagram(40000, 53, "hi"))
	b.drop(t, b.dp.fromTunnel, packet, 0, "no-ingress-rule")
	w.want(t, Event{
		Kind: EventDrop, Endpoint: webKey, Direction: policy.Ingress, Reason: "no-ingress-rule", Source: farAddr, Destination: webAddr,
		Protocol: unix.IPPROTO_UDP, SourcePort: 40000, DestinationPort: 53, Length: len(packet),
	})
	packet = etherFrame(gatewayMAC, webMAC, 0x88cc, make([]byte, 60))
	b.drop(t, b.dp.fromEndpoint, packet, 0, "unsupported-protocol")
	w.want(t, Event{Kind: EventDrop, Endpoint: webKey, Direction: policy.Egress, Reason: "unsupported-protocol", Length: len(packet)})
	packet = overlay(overlayAddr(nodeB, 1, testVNI, farAddr), overlayAddr(nodeA, 1, testVNI, netip.MustParseAddr("10.0.0.99")), 6, tcpSegment(1, 2, flagSYN, ""))
	b.drop(t, b.dp.fromTunnel, packet, 0, "no-route")
	w.want(t, Event{
		Kind: EventDrop, Direction: policy.Ingress, Reason: "no-route", Source: farAddr, Destination: netip.MustParseAddr("10.0.0.99"),
		Protocol: unix.IPPROTO_TCP, SourcePort: 1, DestinationPort: 2, Length: len(packet),
	})
	if n := w.LeftOut(); n != 0 {
		t.Errorf("%d events were left out", n)
	}
}

// Who watches one kind is told of no other, and what nobody watches is not sent.
func TestOnlyWhatIsWatchedIsTold(t *testing.T) {
	b := newBench(t)
	b.rules(nothing, allowAll)
	ctx, cancel := context.WithCancel(t.Context())
	drops, flows := b.watch(ctx, EventDrop), b.watch(t.Context(), EventFlow)
	b.drop(t, b.dp.fromTunnel, farTCP(1, flagSYN), 0, "no-ingress-rule")
	b.redirect(t, b.dp.fromEndpoint, tcp4(farAddr, 40000, 80, flagSYN))
	if e := drops.next(t); e.Kind != EventDrop {
		t.Errorf("event %+v", e)
	}
	if e := flows.next(t); e.Kind != EventFlow {
		t.Errorf("event %+v", e)
	}
	cancel()
	for range drops.Events() {
		t.Error("an event after the end")
	}
	if got := b.dp.tables.state.Watched; got != 1<<edgenetEventKindEVENT_FLOW {
		t.Errorf("%b is watched, want flows only", got)
	}
	if _, err := b.dp.Watch(t.Context(), "weather"); err == nil {
		t.Error("a kind that does not exist can be watched")
	}
	b.dp.endWatches()
	for e := range flows.Events() {
		t.Errorf("event %+v", e)
	}
}

// A flood of drops is a sample of events and a number of those left out; together
// they are all.
func TestAFloodOfDropsIsASample(t *testing.T) {
	b := newBench(t)
	b.rules(nothing, allowAll)
	w := b.watch(t.Context(), EventDrop)
	const sent = 20000
	for port := range sent {
		if verdict, _ := run(t, b.dp.fromTunnel, farTCP(uint16(port), flagSYN), 0); verdict != shot {
			t.Fatalf("verdict %d", verdict)
		}
	}
	told := 0
	eventually(t, func() error {
		for {
			select {
			case <-w.Events():
				told++
				continue
			default:
			}
			break
		}
		if all := uint64(told) + w.LeftOut(); all != sent {
			return unix.EAGAIN
		}
		return nil
	})
	if told == 0 || told > sent/2 {
		t.Errorf("%d events of %d were told", told, sent)
	}
}

// Announcements are told whoever else fills the ring buffer.
func TestAnnouncementsFindRoom(t *testing.T) {
	b := newBench(t)
	b.dp.tables.state.Watched = 1 << edgenetEventKindEVENT_DROP
	b.rules(nothing, allowAll)
	until := time.Now().Add(2 * time.Second)
	for time.Now().Before(until) {
		run(t, b.dp.fromTunnel, farTCP(1, flagSYN), 0)
	}
	if n, err := b.dp.leftOut(); err != nil || n[edgenetEventKindEVENT_DROP] == 0 {
		t.Fatalf("%v events were left out: %v", n, err)
	}
	b.state.Routes = map[Route]Location{{testVNI, netip.MustParsePrefix("10.0.0.77/32")}: {Endpoint: dbKey, Identity: someone}}
	b.refill()
	shared := netip.MustParseAddr("10.0.0.77")
	run(t, b.dp.fromEndpoint, append(arpFrame(1, webMAC, webMAC, shared, shared), make([]byte, 18)...), 0)
	w := b.watch(t.Context(), EventAnnouncement)
	w.want(t, Event{Kind: EventAnnouncement, Endpoint: webKey, Direction: policy.Egress, Source: shared})
}

// An endpoint that announces without end leaves room for what others announce.
func TestAFloodOfAnnouncementsLeavesOthersTheirs(t *testing.T) {
	b := newBench(t)
	shared := netip.MustParseAddr("10.0.0.77")
	b.state.Routes = map[Route]Location{{testVNI, netip.PrefixFrom(shared, 32)}: {Node: nodeB, Identity: someone}}
	device := in(b.space, func() (uint32, error) {
		link := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "db"}, PeerName: "eth0"}
		err := netlink.LinkAdd(link)
		return uint32(link.Index), err
	})
	b.wires[dbKey] = wired{ifindex: device, mac: dbMAC, delivery: edgenetDeliveryDELIVER_PEER}
	b.refill()
	w, others := b.watch(t.Context(), EventAnnouncement), b.watch(t.Context(), EventDrop)
	announce := func(mac net.HardwareAddr, ifindex uint32) {
		frame := append(arpFrame(1, mac, mac, shared, shared), make([]byte, 18)...)
		in(b.space, func() (uint32, error) {
			return b.dp.fromEndpoint.Run(&ebpf.RunOptions{Data: frame, Context: probeContext(0, ifindex)})
		})
	}
	const rounds, flood = 20, 100
	for range rounds {
		for range flood {
			announce(webMAC, 1)
		}
		announce(dbMAC, device)
	}
	told := map[Key]int{}
	eventually(t, func() error {
		for len(w.Events()) > 0 {
			e := <-w.Events()
			told[e.Endpoint]++
		}
		if all := told[webKey] + told[dbKey] + int(w.LeftOut()); all != rounds*(flood+1) {
			return fmt.Errorf("%v were told and %d left out of %d", told, w.LeftOut(), rounds*(flood+1))
		}
		return nil
	})
	if told[dbKey] != rounds || told[webKey] == 0 || w.LeftOut() < rounds*flood/2 {
		t.Errorf("%v were told, %d left out; want all %d of %v", told, w.LeftOut(), rounds, dbKey)
	}
	if n := others.LeftOut(); n > 0 {
		t.Errorf("%d drops were left out, want none: there was none", n)
	}
}

// Whatever a packet is, its reading ends.
func FuzzCaptured(f *testing.F) {
	f.Add(tcp4(farAddr, 1, 2, flagSYN), true)
	f.Add(fromFar(6, tcpSegment(1, 2, flagSYN, ""))[14:], false)
	f.Add(append(bytes.Repeat([]byte{0x60}, 40), make([]byte, 80)...), false)
	f.Fuzz(func(t *testing.T, packet []byte, frame bool) {
		link := 0
		if frame {
			link = etherHeader
		}
		var e Event
		e.read(packet, link)
		if e.Source.IsValid() != e.Destination.IsValid() {
			t.Errorf("from %v to %v", e.Source, e.Destination)
		}
	})
}
