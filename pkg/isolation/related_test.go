package isolation

import (
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

// dualStack gives web nothing but egress.
func dualStack(t *testing.T) *bench {
	b := newDualBench(t)
	b.rules(nothing, allowAll)
	return b
}

// icmp6From is an ICMPv6 message of a far router's or host's to web.
func icmp6From(src netip.Addr, kind byte, content []byte) []byte {
	inner := ipv6Packet(src, webAddr6, unix.IPPROTO_ICMPV6, icmpMessage(kind, 0, 0, content))
	return overlay(overlayAddr(nodeB, 3, testVNI, netip.Addr{}), overlayAddr(nodeA, 3, testVNI, netip.Addr{}), unix.IPPROTO_IPV6, inner)
}

func TestErrorsOfIPv6PassIfTheirFlowDoes(t *testing.T) {
	b := dualStack(t)
	sent := udpDatagram(5000, 53, "hello")
	b.redirect(t, b.dp.fromEndpoint, frame6(ipv6Packet(webAddr6, farAddr6, unix.IPPROTO_UDP, sent)))
	options := func(next byte) []byte { return []byte{next, 0, 1, 4, 0, 0, 0, 0} }
	fragment := func(next byte, offset byte) []byte { return []byte{next, 0, 0, offset, 0, 0, 0, 9} }
	quote := func(next byte, headers ...[]byte) []byte {
		var payload []byte
		for _, h := range headers {
			payload = append(payload, h...)
		}
		return ipv6Packet(webAddr6, farAddr6, next, append(payload, sent...))
	}
	for name, quoted := range map[string][]byte{
		"plain":                    quote(17),
		"behind options":           quote(0, options(60), options(17)),
		"of a first fragment":      quote(44, fragment(17, 1)),
		"behind options, fragment": quote(0, options(44), fragment(17, 1)),
	} {
		for _, kind := range []byte{1, 2, 3, 4} {
			t.Run(name, func(t *testing.T) { b.redirect(t, b.dp.fromTunnel, icmp6From(farAddr6, kind, quoted)) })
		}
	}
	otherPort, stranger := quote(17), quote(17)
	otherPort[43]++
	stranger[23]++
	for name, quoted := range map[string][]byte{
		"another port":           otherPort,
		"another sender":         stranger,
		"a later fragment":       quote(44, fragment(17, 8)),
		"behind too many":        quote(0, options(60), options(60), options(60), options(60), options(17)),
		"cut off before ports":   quote(17)[:42],
		"cut off in the address": quote(17)[:30],
		"IPv4":                   ipv4Packet(webAddr, farAddr, 17, sent),
		"nothing":                nil,
	} {
		t.Run(name, func(t *testing.T) {
			b.drop(t, b.dp.fromTunnel, icmp6From(farAddr6, 1, quoted), 0, "no-ingress-rule")
		})
	}
	// What is no error has no relation.
	b.drop(t, b.dp.fromTunnel, icmp6From(farAddr6, 200, quote(17)), 0, "no-ingress-rule")
}

func TestPingsOfIPv6AreFlows(t *testing.T) {
	b := dualStack(t)
	ping := func(kind byte, id uint16) []byte { return icmpMessage(kind, 0, id, []byte("hello")) }
	reply := func(id uint16) []byte {
		inner := ipv6Packet(farAddr6, webAddr6, unix.IPPROTO_ICMPV6, ping(129, id))
		return overlay(overlayAddr(nodeB, 3, testVNI, netip.Addr{}), overlayAddr(nodeA, 3, testVNI, netip.Addr{}), unix.IPPROTO_IPV6, inner)
	}
	b.redirect(t, b.dp.fromEndpoint, frame6(ipv6Packet(webAddr6, farAddr6, unix.IPPROTO_ICMPV6, ping(128, 77))))
	b.redirect(t, b.dp.fromTunnel, reply(77))
	b.drop(t, b.dp.fromTunnel, reply(78), 0, "no-flow")
	// The error about a ping is about its flow.
	quoted := ipv6Packet(webAddr6, farAddr6, unix.IPPROTO_ICMPV6, ping(128, 77))
	b.redirect(t, b.dp.fromTunnel, icmp6From(farAddr6, 3, quoted))
	quoted = ipv6Packet(webAddr6, farAddr6, unix.IPPROTO_ICMPV6, ping(128, 78))
	b.drop(t, b.dp.fromTunnel, icmp6From(farAddr6, 3, quoted), 0, "no-ingress-rule")
}

// An error may quote IPv4 options and a first fragment, but no later one.
func TestErrorsQuoteWhatWasSent(t *testing.T) {
	b := newBench(t)
	b.rules(nothing, allowAll)
	b.redirect(t, b.dp.fromEndpoint, udp4(farAddr, 5000, 53))
	quote := func(change func([]byte)) []byte {
		q := ipv4Packet(webAddr, farAddr, 17, udpDatagram(5000, 53, "hello"))
		change(q)
		return fromFar(1, icmpMessage(3, 4, 0, q))
	}
	b.redirect(t, b.dp.fromTunnel, quote(func(q []byte) { q[6] = 0x20 })) // more fragments
	b.drop(t, b.dp.fromTunnel, quote(func(q []byte) { q[7] = 1 }), 0, "no-ingress-rule")
	options := ipv4Packet(webAddr, farAddr, 17, append([]byte{1, 1, 1, 0}, udpDatagram(5000, 53, "hello")...))
	options[0] = 0x46
	b.redirect(t, b.dp.fromTunnel, fromFar(1, icmpMessage(3, 4, 0, options)))
	// It goes to whoever has sent what it is about, and to nobody else.
	b.drop(t, b.dp.fromTunnel, quote(func(q []byte) { q[15]++ }), 0, "no-ingress-rule")
}

// Whoever knows a flow of another's may not break it: an error is of the other end
// of the flow, or of a router where that is.
func TestErrorsComeFromWhereTheirFlowGoes(t *testing.T) {
	b := newBench(t)
	b.set(dbKey, func(e *Endpoint) { e.Ingress = allowWeb })
	b.refill()
	b.redirect(t, b.dp.fromTunnel, toDB(40000))
	quoted := ipv4Packet(dbAddr, farAddr, 6, tcpSegment(80, 40000, flagACK, ""))
	forged := frame4(ipv4Packet(webAddr, dbAddr, 1, icmpMessage(3, 4, 0, quoted)))
	b.drop(t, b.dp.fromEndpoint, forged, 0, "no-ingress-rule")
	src, dst := overlayAddr(nodeB, 1, testVNI, farAddr), overlayAddr(nodeA, 1, testVNI, dbAddr)
	b.redirect(t, b.dp.fromTunnel, overlay(src, dst, 1, icmpMessage(3, 4, 0, quoted)))
	// A router on the way is where the other end is.
	b.knows(testVNI, "10.0.0.7", nodeB)
	b.refill()
	b.redirect(t, b.dp.fromTunnel, toDB(40001))
	router := overlayAddr(nodeB, 1, testVNI, netip.MustParseAddr("10.0.0.7"))
	quoted = ipv4Packet(dbAddr, farAddr, 6, tcpSegment(80, 40001, flagACK, ""))
	b.redirect(t, b.dp.fromTunnel, overlay(router, dst, 1, icmpMessage(11, 0, 0, quoted)))
}
