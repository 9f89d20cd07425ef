package netns

import (
	"edgenet.dev/edgenet/test/netns/lab"
	"edgenet.dev/edgenet/test/netns/lab/frame"
)

// fragments6 are fragments of IPv6 that would hide a port.
func (s *siege) fragments6(victim *lab.Container) []lie {
	segment := s.shut(s.evil.IP6, victim.IP6)
	id := uint32(lastID) << 8
	piece := func(next uint8, offset int, more bool, bytes []byte) []byte {
		return s.sends(frame.IPv6(s.evil.IP6, victim.IP6, frame.ProtoFragment,
			frame.Fragment6(next, uint16(offset), more, id, bytes)))
	}
	hidden := append([]byte(nil), forged+"..."...) // 24 bytes
	id++
	opened := piece(frame.ProtoTCP, 0, true, padded(segmentOf(s.evil.IP6, victim.IP6, 80, "")))
	overlapping := [][]byte{piece(frame.ProtoTCP, 8, false, segment[8:]), piece(frame.ProtoTCP, 16, true, segment[16:])}
	id++
	tiny := [][]byte{piece(frame.ProtoTCP, 0, true, segment[:8]), piece(frame.ProtoTCP, 0, true, segment[:16])}
	rest := [][]byte{piece(frame.ProtoTCP, 8, false, segment[8:]), piece(frame.ProtoTCP, 24, true, hidden)}
	id++
	whole := piece(frame.ProtoTCP, 0, false, segment)
	first, later := piece(frame.ProtoTCP, 0, true, segment), piece(frame.ProtoTCP, len(segment), false, hidden)
	// The chain of headers goes on behind the first fragment, or only there begins.
	cut := frame.Options6(frame.ProtoTCP, segment)
	cut[1] = 8 // 72 bytes of options, of which 8 are here
	chains := [][]byte{
		piece(frame.ProtoDestination, 0, true, cut[:8]),
		piece(frame.ProtoDestination, 0, true, cut[:64]),
		piece(frame.ProtoFragment, 0, true, frame.Fragment6(frame.ProtoTCP, 0, true, id, segment)),
		piece(frame.ProtoFragment, 0, false, frame.Fragment6(frame.ProtoTCP, 24, false, id, hidden)),
		piece(frame.ProtoHopByHop, 0, true, frame.Options6(frame.ProtoTCP, segment)),
	}
	s.evil.Injects("eth0", opened)
	return []lie{
		{what: "later fragments alone", reason: "fragment-alone", frames: rest},
		{what: "tiny first fragments", reason: "fragment-short", frames: tiny},
		{what: "later fragments of tiny ones", reason: "fragment-alone", frames: rest},
		{what: "chains over several fragments", reason: "extension-headers", frames: chains},
		{what: "a fragment that is all of a packet to a shut port", reason: "no-ingress-rule", at: victim, frames: [][]byte{whole}},
		{what: "fragments of a shut port", reason: "no-ingress-rule", at: victim, frames: [][]byte{first, later}},
		{what: "fragments over an open port's header", reason: "fragment-overlap", frames: overlapping},
	}
}

// extensions6 are other headers before a shut port.
func (s *siege) extensions6(victim *lab.Container) []lie {
	segment := s.shut(s.evil.IP6, victim.IP6)
	packet := func(next uint8, payload []byte) []byte {
		return s.sends(frame.IPv6(s.evil.IP6, victim.IP6, next, payload))
	}
	chain := func(headers int) []byte {
		payload, next := segment, uint8(frame.ProtoTCP)
		for range headers {
			payload, next = frame.Options6(next, payload), frame.ProtoDestination
		}
		return payload
	}
	overrun := frame.Options6(frame.ProtoTCP, segment)
	overrun[1] = 255
	mapped := udp(addr("fd00:1::2"), addr("::ffff:"+victim.IP.String()), 80, forged)
	many := [][]byte{s.sends(mapped)}
	for _, to := range []string{"ff02::1", "ff02::2", "ff05::1", "ff0e::1", "::", "::1"} {
		many = append(many, s.sends(udp(s.evil.IP6, addr(to), 80, forged)))
	}
	return []lie{
		{what: "a shut port behind extension headers", reason: "no-ingress-rule", at: victim, frames: [][]byte{
			packet(frame.ProtoHopByHop, frame.Options6(frame.ProtoTCP, segment)),
			packet(frame.ProtoDestination, chain(1)),
			packet(frame.ProtoDestination, chain(8)),
			packet(frame.ProtoHopByHop, frame.Options6(frame.ProtoDestination, chain(7))),
		}},
		{what: "too many extension headers", reason: "extension-headers", frames: [][]byte{
			packet(frame.ProtoDestination, chain(9)), packet(frame.ProtoDestination, chain(40)),
		}},
		{what: "headers out of order or out of the packet", reason: "extension-headers", frames: [][]byte{
			packet(frame.ProtoDestination, frame.Options6(frame.ProtoHopByHop, frame.Options6(frame.ProtoTCP, segment))),
			packet(frame.ProtoDestination, overrun),
		}},
		{what: "a routing header", reason: "source-routing", frames: [][]byte{
			packet(frame.ProtoRouting, frame.Routing6(frame.ProtoTCP, s.near.IP6, segment)),
			packet(frame.ProtoHopByHop, frame.Options6(frame.ProtoRouting, frame.Routing6(frame.ProtoTCP, s.near.IP6, segment))),
		}},
		{what: "ICMP in IPv6", reason: "unsupported-protocol", frames: [][]byte{packet(frame.ProtoICMP, []byte(forged))}},
		{what: "to many", reason: "multicast", frames: many},
	}
}
