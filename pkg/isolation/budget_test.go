package isolation

import (
	"encoding/binary"
	"fmt"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// toDB is a SYN of far's to db.
func toDB(srcPort uint16) []byte {
	src, dst := overlayAddr(nodeB, 1, testVNI, farAddr), overlayAddr(nodeA, 1, testVNI, dbAddr)
	return overlay(src, dst, 6, seal(src, dst, 6, tcpSegment(srcPort, 80, flagSYN, "")))
}

func (b *bench) sweep(s *sweep) {
	b.t.Helper()
	if err := b.dp.sweepOnce(s, time.Minute); err != nil {
		b.t.Fatal(err)
	}
}

// A flood of flows into db, forty times what the table holds, takes nothing from
// web: neither flows that are established nor new ones.
func TestAFloodReplacesOnlyItsOwn(t *testing.T) {
	b := newBench(t)
	b.rules(nothing, allowAll)
	b.sweep(&sweep{})
	const established = 40
	for port := uint16(1); port <= established; port++ {
		b.redirect(t, b.dp.fromEndpoint, tcp4(farAddr, port, 80, flagSYN))
		b.redirect(t, b.dp.fromTunnel, fromFar(6, tcpSegment(80, port, flagSYN|flagACK, "")))
		b.redirect(t, b.dp.fromEndpoint, tcp4(farAddr, port, 80, flagACK))
	}
	for port := uint16(1); port <= 40000; port++ {
		if verdict, _ := run(t, b.dp.fromTunnel, toDB(port), 0); verdict != redirect && verdict != shot {
			t.Fatalf("verdict %d", verdict)
		}
	}
	if got := b.flows(FlowFilter{Endpoint: "web", State: "tcp-established"}); len(got) != established {
		t.Errorf("%d of web's %d connections are left", len(got), established)
	}
	for port := uint16(1); port <= established; port++ {
		b.redirect(t, b.dp.fromTunnel, fromFar(6, tcpSegment(80, port, flagACK, "")))
	}
	for port := uint16(1001); port <= 1100; port++ {
		b.redirect(t, b.dp.fromEndpoint, tcp4(farAddr, port, 80, flagSYN))
		b.redirect(t, b.dp.fromTunnel, fromFar(6, tcpSegment(80, port, flagSYN|flagACK, "")))
	}
	size := b.dp.maps.Flows.MaxEntries()
	room := int(size-size/8) / 2
	if n := len(b.flows(FlowFilter{Endpoint: "db"})); n > room || n < room/2 {
		t.Errorf("db has %d flows of %d", n, room)
	}
	// The last that came are there, and so the flood's victim can be reached.
	b.redirect(t, b.dp.fromTunnel, toDB(50000))
	if got := b.flows(FlowFilter{Endpoint: "db", RemotePort: 50000}); len(got) != 1 {
		t.Error("a flow that came after the flood is not kept")
	}
}

// An endpoint whose flows are all answered gets no more than its share, where
// there is no room for more.
func TestAnEndpointMayHaveSoManyFlows(t *testing.T) {
	b := newBench(t)
	b.rules(nothing, allowAll)
	b.sweep(&sweep{})
	b.dp.tables.state.FlowRoom, b.dp.tables.state.FlowShare = 10, 20
	for port := uint16(1); port <= 20; port++ {
		b.redirect(t, b.dp.fromEndpoint, udp4(farAddr, port, 53))
		b.redirect(t, b.dp.fromTunnel, fromFar(17, udpDatagram(53, port, "")))
	}
	b.drop(t, b.dp.fromEndpoint, udp4(farAddr, 21, 53), 0, "flow-budget")
	// One that is known passes.
	b.redirect(t, b.dp.fromEndpoint, udp4(farAddr, 20, 53))
	// The daemon is dead: nobody counts, the table alone rules.
	b.dp.tables.state.Heartbeat -= uint64(61 * time.Second)
	b.redirect(t, b.dp.fromEndpoint, udp4(farAddr, 21, 53))
}

// Numbers of flows drift: a flow that ends while it begins anew is counted once
// too few. An endpoint without flows has its share all the same.
func TestAFlowCountedTooFewCostsNoShare(t *testing.T) {
	b := newBench(t)
	b.rules(nothing, allowAll)
	b.sweep(&sweep{})
	web := b.dp.tables.endpoints.have[1].Slot
	b.dp.budgets.add(0, 10_000_000)
	b.dp.budgets.add(web, -3)
	b.redirect(t, b.dp.fromEndpoint, udp4(farAddr, 1, 53))
	b.dp.budgets.add(0, -20_000_000)
	b.dp.budgets.add(web, 10_000_000)
	b.redirect(t, b.dp.fromEndpoint, udp4(farAddr, 2, 53))
}

func TestASweepForgetsWhatHasRunOut(t *testing.T) {
	b := newBench(t)
	b.rules(nothing, allowAll)
	for port := uint16(1); port <= 200; port++ {
		b.redirect(t, b.dp.fromEndpoint, udp4(farAddr, port, 53))
	}
	b.age(31 * time.Second)
	b.redirect(t, b.dp.fromEndpoint, tcp4(farAddr, 1, 80, flagSYN))
	b.sweep(&sweep{})
	left, web := 0, b.dp.tables.endpoints.have[1].Slot
	var (
		key  edgenetFlowKey
		flow edgenetFlow
	)
	for entries := b.dp.maps.Flows.Iterate(); entries.Next(&key, &flow); {
		left++
	}
	if all, own := b.dp.budgets.flows(0), b.dp.budgets.flows(web); left != 1 || all != 1 || own != 1 {
		t.Errorf("%d flows are left, %d and %d of web's are counted, want 1", left, all, own)
	}
	// What is counted wrong is mended.
	b.dp.budgets.add(0, 1000)
	b.dp.budgets.add(web, -1000)
	b.sweep(&sweep{})
	if all, own := b.dp.budgets.flows(0), b.dp.budgets.flows(web); all > 20 || own < -20 {
		t.Errorf("%d and %d of web's are counted, want about 1", all, own)
	}
	// The flows of an endpoint that is gone go with it.
	delete(b.state.Endpoints, webKey)
	delete(b.wires, webKey)
	b.refill()
	b.sweep(&sweep{})
	if entries := b.dp.maps.Flows.Iterate(); entries.Next(&key, &flow) {
		t.Error("a flow of an endpoint that is gone is left")
	}
}

// A container that opens flows as fast as it can, over real devices.
func TestAContainersFloodLeavesOthersAlone(t *testing.T) {
	h := newHost(t, nodeA, AttachAuto)
	web, db, spy := newSpace(t), newSpace(t), newSpace(t)
	h.endpoint(testVNI, "web", "10.0.0.2", web)
	h.endpoint(testVNI, "db", "10.0.0.3", db)
	h.endpoint(testVNI, "spy", "10.0.0.4", spy)
	h.apply()
	var s sweep
	if err := h.dp.sweepOnce(&s, time.Minute); err != nil {
		t.Fatal(err)
	}
	db.serveTCP("10.0.0.3:80")
	c := in(web, func() (net.Conn, error) { return net.Dial("tcp", "10.0.0.3:80") })
	defer func() { _ = c.Close() }()
	echoes(t, c, 100)
	flood(t, spy, "10.0.0.3", 40000)

	echoes(t, c, 100_000)
	var kept int
	for flow, err := range h.dp.Flows(t.Context(), FlowFilter{Protocol: unix.IPPROTO_TCP, State: "tcp-established"}) {
		if err != nil {
			t.Fatal(err)
		}
		if flow.Endpoint.Name == "web" || flow.Endpoint.Name == "db" {
			kept++
		}
	}
	if kept != 2 {
		t.Errorf("%d ends of web's connection are kept, want 2", kept)
	}
	if err := web.connects("10.0.0.3:80"); err != nil {
		t.Errorf("web cannot connect after the flood: %v", err)
	}
	if n := h.status(Key{testVNI, "spy"}).Counters.Flows; n < 4096 {
		t.Errorf("only %d flows were begun: that is no flood", n)
	}
}

// flood sends datagrams from as many ports of one container.
func flood(t *testing.T, from *space, to string, n int) {
	t.Helper()
	fd := in(from, func() (int, error) {
		return unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_UDP)
	})
	defer func() { _ = unix.Close(fd) }()
	address := &unix.SockaddrInet4{Addr: [4]byte(net.ParseIP(to).To4())}
	for port := range n {
		datagram := udpDatagram(uint16(port+1), 53, "x")
		binary.BigEndian.PutUint16(datagram[6:], 0)
		if err := unix.Sendto(fd, datagram, 0, address); err != nil {
			t.Fatal(fmt.Errorf("flood: %w", err))
		}
	}
}
