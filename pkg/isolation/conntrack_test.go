package isolation

import (
	"errors"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"edgenet.dev/edgenet/pkg/policy"
)

const nothing policy.ID = 0

// rules sets web's policies.
func (b *bench) rules(ingress, egress policy.ID) {
	b.t.Helper()
	b.set(webKey, func(e *Endpoint) { e.Ingress, e.Egress = ingress, egress })
	b.refill()
}

// farTCP and webTCP are two ends of a connection from far to web's port 80.
func farTCP(srcPort uint16, flags byte) []byte {
	return fromFar(6, tcpSegment(srcPort, 80, flags, ""))
}

func webTCP(dstPort uint16, flags byte) []byte { return tcp4(farAddr, 80, dstPort, flags) }

func TestRulesPermitByProtocolAndPort(t *testing.T) {
	b := newBench(t)
	b.rules(allowWeb, nothing)
	for i, port := range []uint16{80, 8000, 8050, 8100} {
		b.redirect(t, b.dp.fromTunnel, fromFar(6, tcpSegment(uint16(1000+i), port, flagSYN, "")))
	}
	for i, port := range []uint16{0, 79, 81, 7999, 8101, 65535} {
		b.drop(t, b.dp.fromTunnel, fromFar(6, tcpSegment(uint16(2000+i), port, flagSYN, "")), 0, "no-ingress-rule")
	}
	b.drop(t, b.dp.fromTunnel, fromFar(17, udpDatagram(1, 80, "")), 0, "no-ingress-rule")
	b.drop(t, b.dp.fromTunnel, fromFar(132, []byte("sctp sctp sc")), 0, "no-ingress-rule")
	b.redirect(t, b.dp.fromTunnel, fromFar(1, icmpMessage(8, 0, 1, nil)))
	b.drop(t, b.dp.fromTunnel, fromFar(1, icmpMessage(13, 0, 1, nil)), 0, "no-ingress-rule")
	b.drop(t, b.dp.fromEndpoint, tcp4(dbAddr, 1, 80, flagSYN), 0, "no-egress-rule")
}

func TestAPolicyThatIsMissingDropsEverything(t *testing.T) {
	b := newBench(t)
	b.set(webKey, func(e *Endpoint) { e.Ingress = 0xdead })
	var failed *ApplyError
	if !errors.As(b.tryRefill(), &failed) || failed.Endpoints[webKey] == nil {
		t.Error("no error for the endpoint")
	}
	b.drop(t, b.dp.fromTunnel, farTCP(1, flagSYN), 0, "no-ingress-rule")
}

func TestAnswersPassWithoutARule(t *testing.T) {
	b := newBench(t)
	b.rules(allowWeb, nothing)
	b.drop(t, b.dp.fromEndpoint, webTCP(40000, flagSYN|flagACK), 0, "no-egress-rule")
	b.redirect(t, b.dp.fromTunnel, farTCP(40000, flagSYN))
	b.redirect(t, b.dp.fromEndpoint, webTCP(40000, flagSYN|flagACK))
	b.redirect(t, b.dp.fromTunnel, farTCP(40000, flagACK))
	b.drop(t, b.dp.fromEndpoint, webTCP(40001, flagACK), 0, "no-egress-rule")
	// A connection that the server would open from the same port is another.
	b.drop(t, b.dp.fromEndpoint, webTCP(40000, flagSYN), 0, "no-egress-rule")
	b.redirect(t, b.dp.fromEndpoint, webTCP(40000, flagACK))

	b.rules(nothing, allowAll)
	b.redirect(t, b.dp.fromEndpoint, udp4(farAddr, 5000, 53))
	b.redirect(t, b.dp.fromTunnel, fromFar(17, udpDatagram(53, 5000, "")))
	b.drop(t, b.dp.fromTunnel, fromFar(17, udpDatagram(53, 5001, "")), 0, "no-ingress-rule")
	b.redirect(t, b.dp.fromEndpoint, echo4(farAddr, 8, 77))
	b.redirect(t, b.dp.fromTunnel, fromFar(1, icmpMessage(0, 0, 77, nil)))
	b.drop(t, b.dp.fromTunnel, fromFar(1, icmpMessage(0, 0, 78, nil)), 0, "no-flow")
	// The same identifier asked from the other side is another flow.
	b.drop(t, b.dp.fromTunnel, fromFar(1, icmpMessage(8, 0, 77, nil)), 0, "no-ingress-rule")
}

// A rule may speak of a ping's code, and whoever may ping with one has not asked
// about another.
func TestTheCodeOfAPingIsJudged(t *testing.T) {
	b := newBench(t)
	const usual policy.ID = 0xc0de
	b.state.Policies[usual] = &policy.Table{Verdicts: map[policy.Match][]policy.Interval{
		{Identity: someone, Protocol: 1}: {{First: 8 << 8, Last: 8 << 8}},
	}}
	b.rules(usual, nothing)
	ping := func(kind, code byte) []byte { return icmpMessage(kind, code, 77, []byte("hello")) }
	b.redirect(t, b.dp.fromTunnel, fromFar(1, ping(8, 0)))
	b.drop(t, b.dp.fromTunnel, fromFar(1, ping(8, 5)), 0, "no-ingress-rule")
	b.drop(t, b.dp.fromEndpoint, frame4(ipv4Packet(webAddr, farAddr, 1, ping(0, 5))), 0, "no-flow")
	b.redirect(t, b.dp.fromEndpoint, frame4(ipv4Packet(webAddr, farAddr, 1, ping(0, 0))))
	// An error about it, too.
	about := func(code byte) []byte {
		return frame4(ipv4Packet(webAddr, farAddr, 1, icmpMessage(3, 1, 0, ipv4Packet(farAddr, webAddr, 1, ping(8, code)))))
	}
	b.redirect(t, b.dp.fromEndpoint, about(0))
	b.drop(t, b.dp.fromEndpoint, about(5), 0, "no-egress-rule")
}

func TestARunningFlowIsCutWhenItsRuleGoes(t *testing.T) {
	b := newBench(t)
	b.rules(allowWeb, allowAll)
	b.redirect(t, b.dp.fromTunnel, farTCP(40000, flagSYN))
	b.redirect(t, b.dp.fromEndpoint, webTCP(40000, flagSYN|flagACK))
	b.rules(nothing, allowAll)
	b.drop(t, b.dp.fromTunnel, farTCP(40000, flagACK), 0, "no-ingress-rule")
	// Web may speak to all, but not so that the answers reopen the flow.
	b.drop(t, b.dp.fromEndpoint, webTCP(40000, flagACK), 0, "no-ingress-rule")
	b.drop(t, b.dp.fromTunnel, farTCP(40000, flagACK), 0, "no-ingress-rule")
	b.rules(allowWeb, allowAll)
	b.redirect(t, b.dp.fromEndpoint, webTCP(40000, flagACK))
	b.redirect(t, b.dp.fromTunnel, farTCP(40000, flagACK))
}

func TestAFlowIsCutWhenItsPeerLeavesTheGroup(t *testing.T) {
	b := newBench(t)
	b.rules(allowWeb, allowAll)
	b.redirect(t, b.dp.fromTunnel, farTCP(40000, flagSYN))
	b.state.Addresses[Address{testVNI, farAddr}] = Location{Node: nodeB, Identity: someone + 1}
	b.refill()
	b.drop(t, b.dp.fromTunnel, farTCP(40000, flagACK), 0, "no-ingress-rule")
}

// age makes every flow older than it is.
func (b *bench) age(by time.Duration) {
	b.t.Helper()
	b.changeFlows(func(_ edgenetFlowKey, flow *edgenetFlow) { flow.Seen -= uint64(by) })
}

// changeFlows changes every flow in the kernel, and returns how many there are.
func (b *bench) changeFlows(change func(key edgenetFlowKey, flow *edgenetFlow)) int {
	b.t.Helper()
	var (
		key  edgenetFlowKey
		flow edgenetFlow
		all  = map[edgenetFlowKey]edgenetFlow{}
	)
	entries := b.dp.maps.Flows.Iterate()
	for entries.Next(&key, &flow) {
		all[key] = flow
	}
	err := entries.Err()
	for key, flow := range all {
		change(key, &flow)
		err = errors.Join(err, b.dp.maps.Flows.Update(key, flow, ebpf.UpdateExist))
	}
	if err != nil {
		b.t.Fatal(err)
	}
	return len(all)
}

func TestFlowsRunOut(t *testing.T) {
	echo := func(*bench) []byte { return fromFar(1, icmpMessage(0, 0, 77, nil)) }
	for name, c := range map[string]struct {
		open   [][]byte // alternately by web and by far
		answer func(*bench) []byte
		after  time.Duration
		reason string
	}{
		"TCP, unanswered": {[][]byte{tcp4(farAddr, 1, 2, flagSYN)}, tcpAnswer, time.Minute, "no-ingress-rule"},
		"TCP, answered": {
			[][]byte{tcp4(farAddr, 1, 2, flagSYN), fromFar(6, tcpSegment(2, 1, flagSYN|flagACK, ""))},
			tcpAnswer, time.Minute, "no-ingress-rule",
		},
		"TCP, established": {
			[][]byte{tcp4(farAddr, 1, 2, flagSYN), fromFar(6, tcpSegment(2, 1, flagSYN|flagACK, "")), tcp4(farAddr, 1, 2, flagACK)},
			tcpAnswer, 125 * time.Minute, "no-ingress-rule",
		},
		"TCP, one side ended": {
			[][]byte{tcp4(farAddr, 1, 2, flagSYN), fromFar(6, tcpSegment(2, 1, flagFIN|flagACK, ""))},
			tcpAnswer, 2 * time.Minute, "no-ingress-rule",
		},
		"TCP, both sides ended": {
			[][]byte{tcp4(farAddr, 1, 2, flagFIN|flagACK), fromFar(6, tcpSegment(2, 1, flagFIN|flagACK, ""))},
			tcpAnswer, 30 * time.Second, "no-ingress-rule",
		},
		"TCP, reset": {
			[][]byte{tcp4(farAddr, 1, 2, flagSYN), fromFar(6, tcpSegment(2, 1, flagRST|flagACK, ""))},
			tcpAnswer, 10 * time.Second, "no-ingress-rule",
		},
		"UDP, unanswered": {[][]byte{udp4(farAddr, 1, 2)}, udpAnswer, 30 * time.Second, "no-ingress-rule"},
		"UDP, answered": {
			[][]byte{udp4(farAddr, 1, 2), fromFar(17, udpDatagram(2, 1, ""))},
			udpAnswer, time.Minute, "no-ingress-rule",
		},
		"ping": {[][]byte{echo4(farAddr, 8, 77)}, echo, 30 * time.Second, "no-flow"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.rules(nothing, allowAll)
			for i, packet := range c.open {
				b.redirect(t, []*ebpf.Program{b.dp.fromEndpoint, b.dp.fromTunnel}[i%2], packet)
			}
			b.age(c.after + time.Second)
			b.drop(t, b.dp.fromTunnel, c.answer(b), 0, c.reason)
			b.age(-2 * time.Second)
			b.redirect(t, b.dp.fromTunnel, c.answer(b))
		})
	}
}

func tcpAnswer(*bench) []byte { return fromFar(6, tcpSegment(2, 1, flagACK, "")) }

func udpAnswer(*bench) []byte { return fromFar(17, udpDatagram(2, 1, "")) }

func TestErrorsPassIfTheirFlowDoes(t *testing.T) {
	b := newBench(t)
	b.rules(nothing, allowAll)
	sent := func(port uint16) []byte {
		return ipv4Packet(webAddr, farAddr, 17, udpDatagram(5000, port, "hello"))
	}
	problem := func(inner []byte) []byte { return fromFar(1, icmpMessage(3, 3, 0, inner)) }
	b.redirect(t, b.dp.fromEndpoint, udp4(farAddr, 5000, 53))
	b.redirect(t, b.dp.fromTunnel, problem(sent(53)))
	b.redirect(t, b.dp.fromTunnel, fromFar(1, icmpMessage(11, 0, 0, sent(53))))
	b.drop(t, b.dp.fromTunnel, problem(sent(54)), 0, "no-ingress-rule")
	b.drop(t, b.dp.fromTunnel, problem(sent(53)[:20]), 0, "no-ingress-rule")
	b.drop(t, b.dp.fromTunnel, problem(ipv4Packet(dbAddr, farAddr, 17, udpDatagram(5000, 53, ""))), 0, "no-ingress-rule")

	b.rules(allowWeb, nothing)
	b.redirect(t, b.dp.fromTunnel, farTCP(40000, flagSYN))
	heard := ipv4Packet(farAddr, webAddr, 6, tcpSegment(40000, 80, flagSYN, ""))
	b.redirect(t, b.dp.fromEndpoint, frame4(ipv4Packet(webAddr, farAddr, 1, icmpMessage(3, 2, 0, heard))))
	unheard := ipv4Packet(farAddr, webAddr, 6, tcpSegment(40001, 80, flagSYN, ""))
	b.drop(t, b.dp.fromEndpoint, frame4(ipv4Packet(webAddr, farAddr, 1, icmpMessage(3, 2, 0, unheard))), 0, "no-egress-rule")
}

// Two states, between which policies and identities change: under half of one
// and half of the other nothing would pass.
func TestAPacketSeesAllOldOrAllNew(t *testing.T) {
	b := newBench(t)
	state := func(id policy.ID, identity policy.Identity) {
		b.state.Policies = map[policy.ID]*policy.Table{id: {Verdicts: map[policy.Match][]policy.Interval{
			{Identity: identity, Protocol: 6}: {{First: 80, Last: 80}},
		}}}
		for key := range b.state.Endpoints {
			b.set(key, func(e *Endpoint) { e.Ingress, e.Egress = id, id })
		}
		for address, l := range b.state.Addresses {
			l.Identity = identity
			b.state.Addresses[address] = l
		}
		b.refill()
	}
	state(1, 2)
	sent, lost := 0, 0
	stop := meanwhile(func(port uint16) {
		verdict, _ := run(t, b.dp.fromTunnel, farTCP(port, flagSYN), 0)
		sent++
		if verdict != redirect {
			lost++
		}
	})
	for i := range 300 {
		state(policy.ID(i%5+1), policy.Identity(i%3+2))
	}
	stop()
	if n := b.status(Key{testVNI, "web"}).Counters.Drops["no-ingress-rule"]; n != 0 {
		t.Errorf("%d packets of %d were judged by half of one state and half of the other", n, sent)
	}
	if lost != 0 {
		t.Errorf("%d packets of %d were lost", lost, sent)
	}
	b.settled()
	if n := b.dp.tables.verdicts.rows.count; n != 1 {
		t.Errorf("%d verdicts are left, want 1", n)
	}
}

func TestWhatIsRightIsNotWrittenAgain(t *testing.T) {
	b := newBench(t)
	before := b.dp.tables.state.Generation
	b.refill()
	if after := b.dp.tables.state.Generation; after != before {
		t.Errorf("generation %d, want %d", after, before)
	}
	b.rules(allowWeb, allowAll)
	if after := b.dp.tables.state.Generation; after != before+1 {
		t.Errorf("generation %d, want %d", after, before+1)
	}
}
