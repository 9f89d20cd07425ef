package isolation

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"reflect"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// probeTo is a SYN of web's to port 80.
func probeTo(dst netip.Addr) Probe {
	return Probe{VNI: testVNI, Source: webAddr, Destination: dst, Protocol: unix.IPPROTO_TCP, SourcePort: 40000, DestinationPort: 80}
}

func (b *bench) trace(p Probe) Trace {
	b.t.Helper()
	return in(b.space, func() (Trace, error) { return b.dp.Trace(b.t.Context(), p) })
}

// everything is all that a packet may change.
func (b *bench) everything() any {
	b.t.Helper()
	counters := make(map[uint32]Counters)
	for slot := range b.dp.maps.Learned.MaxEntries() {
		c, err := b.dp.counters(slot)
		if err != nil {
			b.t.Fatal(err)
		}
		counters[slot] = c
	}
	flows := make(map[edgenetFlowKey]edgenetFlow)
	var (
		key  edgenetFlowKey
		flow edgenetFlow
	)
	for entries := b.dp.maps.Flows.Iterate(); entries.Next(&key, &flow); {
		flows[key] = flow
	}
	learned := make(map[uint32]uint64)
	for slot := range b.dp.maps.Learned.MaxEntries() {
		var mac uint64
		if err := b.dp.maps.Learned.Lookup(slot, &mac); err != nil {
			b.t.Fatal(err)
		}
		learned[slot] = mac
	}
	rules := make([]edgenetRule, 8)
	hits, counts := make([]uint64, len(rules)), hitCounts{kernel: b.dp.maps.Hits}
	for i := range rules {
		err := b.dp.maps.KnownRules.Lookup(uint32(i), &rules[i])
		if err == nil {
			hits[i], err = counts.of(uint32(i))
		}
		if err != nil {
			b.t.Fatal(err)
		}
	}
	return []any{counters, flows, learned, rules, hits}
}

func TestATraceSaysWhatTheProgramWouldDo(t *testing.T) {
	b := newBench(t)
	b.rules(allowWeb, allowAll)
	b.set(dbKey, func(e *Endpoint) { e.Ingress = nothing })
	b.refill()
	asked := func(key Key, allowed bool) *TraceSide {
		return &TraceSide{Endpoint: key, By: ByRules, Allowed: allowed, ShadowAllowed: allowed}
	}
	fromFar := Probe{VNI: testVNI, Source: farAddr, Destination: webAddr, Protocol: unix.IPPROTO_TCP, SourcePort: 40000, DestinationPort: 80, Node: nodeB}
	wrongPort, ping, wrongNode, sctp := fromFar, fromFar, fromFar, probeTo(farAddr)
	wrongPort.DestinationPort = 81
	ping.Protocol, ping.Type = unix.IPPROTO_ICMP, 8
	wrongNode.Node = netip.MustParsePrefix("fd12:340c::/64")
	sctp.Protocol = unix.IPPROTO_SCTP
	pingGateway := probeTo(gateway)
	pingGateway.Protocol, pingGateway.Type = unix.IPPROTO_ICMP, 8
	for name, c := range map[string]struct {
		probe Probe
		want  Trace
	}{
		"to another node":       {probeTo(farAddr), Trace{Node: nodeB, Egress: asked(webKey, true)}},
		"SCTP to another node":  {sctp, Trace{Node: nodeB, Egress: asked(webKey, true)}},
		"refused by the target": {probeTo(dbAddr), Trace{Reason: "no-ingress-rule", DroppedAt: dbKey, Egress: asked(webKey, true), Ingress: asked(dbKey, false)}},
		"to nobody":             {probeTo(netip.MustParseAddr("10.0.0.99")), Trace{Reason: "no-route", DroppedAt: webKey}},
		"without a tunnel":      {probeTo(awayAddr), Trace{Reason: "no-tunnel", DroppedAt: webKey, Egress: asked(webKey, true)}},
		"from a tunnel":         {fromFar, Trace{Endpoint: webKey, Ingress: asked(webKey, true)}},
		"a ping from a tunnel":  {ping, Trace{Endpoint: webKey, Ingress: asked(webKey, true)}},
		"to a closed port":      {wrongPort, Trace{Reason: "no-ingress-rule", DroppedAt: webKey, Ingress: asked(webKey, false)}},
		"from another's node":   {wrongNode, Trace{Reason: "not-owner", DroppedAt: webKey}},
	} {
		t.Run(name, func(t *testing.T) {
			before := b.everything()
			got := b.trace(c.probe)
			for _, side := range []*TraceSide{got.Egress, got.Ingress} {
				if side == nil {
					continue
				}
				if side.Identity != someone || (side.Policy == 0 && side.Allowed) || side.Protocol != c.probe.Protocol {
					t.Errorf("asked %+v", side)
				}
				side.Identity, side.Policy, side.Protocol, side.Port, side.Origin = 0, 0, 0, 0, 0
			}
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("trace %+v (egress %+v, ingress %+v), want %+v", got, got.Egress, got.Ingress, c.want)
			}
			if after := b.everything(); !reflect.DeepEqual(before, after) {
				t.Errorf("the trace left something behind: %v, before %v", after, before)
			}
		})
	}
}

// A flow that runs carries a packet, whatever the rules are asked; after a change
// they are asked again.
func TestATraceKnowsTheFlowsThatRun(t *testing.T) {
	b := newBench(t)
	b.rules(allowWeb, allowAll)
	b.redirect(t, b.dp.fromEndpoint, tcp4(farAddr, 40000, 80, flagSYN))
	before := b.everything()
	got := b.trace(probeTo(farAddr))
	if got.Egress == nil || got.Egress.By != ByFlow || got.Egress.State != "tcp-syn-sent" || !got.Egress.Allowed {
		t.Errorf("egress %+v", got.Egress)
	}
	b.rules(allowWeb, nothing)
	got = b.trace(probeTo(farAddr))
	if got.Reason != "no-egress-rule" || got.Egress == nil || got.Egress.By != ByRules || got.Egress.Allowed {
		t.Errorf("trace %+v, egress %+v", got, got.Egress)
	}
	if after := b.everything(); !reflect.DeepEqual(before, after) {
		t.Errorf("the trace left something behind: %v, before %v", after, before)
	}
}

func TestATraceLearnsNoMAC(t *testing.T) {
	b := newBench(t)
	b.wires[webKey] = wired{ifindex: 1, delivery: edgenetDeliveryDELIVER_PEER}
	b.refill()
	before := b.everything()
	if got := b.trace(probeTo(farAddr)); got.Node != nodeB {
		t.Errorf("trace %+v", got)
	}
	if after := b.everything(); !reflect.DeepEqual(before, after) {
		t.Errorf("the trace left something behind: %v, before %v", after, before)
	}
}

func TestWhatCannotBeTracedIsRefused(t *testing.T) {
	b := newBench(t)
	stranger, mixed := probeTo(farAddr), probeTo(netip.MustParseAddr("fd00::1"))
	stranger.Source = farAddr
	for name, p := range map[string]Probe{"from a stranger": stranger, "of two families": mixed} {
		if got, err := b.dp.Trace(t.Context(), p); err == nil {
			t.Errorf("%s: trace %+v", name, got)
		}
	}
	if got, err := (&Datapath{}).Trace(t.Context(), probeTo(farAddr)); err == nil {
		t.Errorf("a datapath that is closed: trace %+v", got)
	}
}

// Real devices have no link header on tunnels: the loaded program is asked as it
// is. And a container that knew the mark could not use it.
func TestAMarkDoesNotLeaveAContainer(t *testing.T) {
	for name, mode := range modes {
		t.Run(name, func(t *testing.T) {
			h := newHost(t, nodeA, mode)
			web, db := newSpace(t), newSpace(t)
			h.endpoint(testVNI, "web", "10.0.0.2", web)
			h.endpoint(testVNI, "db", "10.0.0.3", db)
			h.knows(testVNI, "10.0.0.4", nodeB)
			h.apply()
			for _, p := range []Probe{
				probeTo(dbAddr),
				{VNI: testVNI, Source: farAddr, Destination: dbAddr, Protocol: unix.IPPROTO_TCP, DestinationPort: 80, Node: nodeB},
			} {
				got := in(h.space, func() (Trace, error) { return h.dp.Trace(t.Context(), p) })
				if got.Endpoint != (Key{testVNI, "db"}) || got.Ingress == nil || !got.Ingress.Allowed {
					t.Errorf("trace %+v", got)
				}
			}
			db.serveUDP("10.0.0.3:7")
			mark := int(h.dp.tables.traceMark())
			dialer := net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
				var err error
				return errors.Join(c.Control(func(fd uintptr) {
					err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK, mark)
				}), err)
			}}
			c := in(web, func() (net.Conn, error) { return dialer.DialContext(context.Background(), "udp", "10.0.0.3:7") })
			defer func() { _ = c.Close() }()
			echoes(t, c, 10)
		})
	}
}
