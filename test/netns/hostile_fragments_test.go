package netns

import (
	"net/netip"
	"slices"
	"testing"

	"edgenet.dev/edgenet/test/netns/lab"
	"edgenet.dev/edgenet/test/netns/lab/frame"
)

// No port that the rules are against gets to a victim behind a fragment, an option
// or an extension header, and nobody chooses the way of a packet but the network.
func TestNoPortHidesFromTheRules(t *testing.T) {
	t.Parallel()
	s := besiege(t)
	// Behind the same headers, what the rules are for arrives.
	open4, open6 := segmentOf(s.evil.IP, s.far.IP, 80, "honest"), segmentOf(s.evil.IP6, s.far.IP6, 80, "honest")
	s.arrives("an option before an open port", s.far, s.sends(s.ipv4(s.far, 0, recordRoute, open4)))
	s.arrives("extension headers before an open port", s.far,
		s.sends(frame.IPv6(s.evil.IP6, s.far.IP6, frame.ProtoHopByHop,
			frame.Options6(frame.ProtoDestination, frame.Options6(frame.ProtoTCP, open6)))))
	s.arrives("a fragment of an open port", s.far,
		s.sends(frame.IPv6(s.evil.IP6, s.far.IP6, frame.ProtoFragment, frame.Fragment6(frame.ProtoTCP, 0, true, 7, padded(open6)))))
	for _, victim := range []*lab.Container{s.near, s.far} {
		s.tells(s.fragments4(victim))
		s.tells(s.options4(victim))
		s.tells(s.fragments6(victim))
		s.tells(s.extensions6(victim))
	}
	s.ends()
}

// Flags and options of IPv4 as on the wire.
const (
	moreFragments = 0x2000
	reservedFlag  = 0x8000
)

var recordRoute = []byte{7, 7, 4, 0, 0, 0, 0, 1}

// lastID numbers packets that come in fragments, so that none is taken for another.
var lastID uint16

// ipv4 is a TCP packet, or a piece of one, from evil.
func (s *siege) ipv4(victim *lab.Container, word uint16, options, piece []byte) []byte {
	header := frame.IPv4{
		Src: s.evil.IP, Dst: victim.IP, Protocol: frame.ProtoTCP, FragmentWord: word, ID: lastID, Options: options,
	}
	return header.Packet(piece)
}

// padded makes a piece's length a multiple of 8, as all but the last have it.
func padded(piece []byte) []byte { return append(piece, make([]byte, (8-len(piece)%8)%8)...) }

// shut is a segment to a port that no rule is for.
func (s *siege) shut(source, target netip.Addr) []byte {
	return padded(segmentOf(source, target, 22, forged))
}

func (s *siege) fragments4(victim *lab.Container) []lie {
	segment := s.shut(s.evil.IP, victim.IP)
	piece := func(offset int, more bool, bytes []byte) []byte {
		word := uint16(offset / 8)
		if more {
			word |= moreFragments
		}
		return s.sends(s.ipv4(victim, word, nil, bytes))
	}
	hidden := append([]byte(nil), forged+"..."...) // 24 bytes
	lastID++
	opened := piece(0, true, padded(segmentOf(s.evil.IP, victim.IP, 80, "")))
	overlapping := [][]byte{piece(8, false, segment[8:]), piece(16, true, segment[16:])}
	lastID++
	tiny := [][]byte{piece(0, true, segment[:8]), piece(0, true, segment[:16])}
	rest := [][]byte{piece(8, false, segment[8:]), piece(24, true, hidden), piece(24, false, hidden)}
	lastID++
	first, later := piece(0, true, segment), piece(len(segment), false, hidden)
	beyond := [][]byte{piece(65528, false, append(hidden, 0)), piece(65520, false, hidden)}
	s.evil.Injects("eth0", opened)
	return []lie{
		{what: "later fragments alone", reason: "fragment-alone", frames: rest},
		{what: "tiny first fragments", reason: "fragment-short", frames: tiny},
		{what: "later fragments of tiny ones", reason: "fragment-alone", frames: rest},
		{what: "fragments of no multiple of 8 bytes", reason: "malformed", frames: [][]byte{piece(0, true, append(segment, 1)), piece(24, true, hidden[:9])}},
		{what: "fragments beyond the longest packet", reason: "malformed", frames: beyond},
		{what: "fragments of a shut port", reason: "no-ingress-rule", at: victim, frames: [][]byte{first, later}},
		{what: "fragments over an open port's header", reason: "fragment-overlap", frames: overlapping},
	}
}

func (s *siege) options4(victim *lab.Container) []lie {
	segment := s.shut(s.evil.IP, victim.IP)
	with := func(options ...byte) []byte { return s.sends(s.ipv4(victim, 0, options, segment)) }
	station := s.near.IP.AsSlice()
	route := func(kind byte) []byte {
		return with(slices.Concat([]byte{kind, 7, 4}, station, []byte{0})...)
	}
	// What says that it is longer than it is.
	long := s.ipv4(victim, 0, nil, segment)
	long[2], long[3] = 0xff, 0xff
	wide := s.ipv4(victim, 0, nil, segment)
	wide[0] = 0x4f
	lies := []lie{
		{what: "a loose and a strict source route", reason: "source-routing", frames: [][]byte{route(0x83), route(0x89)}},
		{what: "a source route behind another option", reason: "source-routing", frames: [][]byte{with(slices.Concat([]byte{1, 0x83, 7, 4}, station)...)}},
		{what: "a shut port behind options", reason: "no-ingress-rule", at: victim, frames: [][]byte{s.sends(s.ipv4(victim, 0, recordRoute, segment))}},
		{what: "options that overrun", reason: "malformed", frames: [][]byte{with(7, 40, 4, 0), with(7, 1, 4, 0)}},
		{what: "lying lengths", reason: "malformed", frames: [][]byte{s.sends(long), s.sends(wide)}},
		{what: "the reserved flag", reason: "malformed", frames: [][]byte{s.sends(s.ipv4(victim, reservedFlag, nil, segment))}},
		{what: "ICMPv6 in IPv4", reason: "unsupported-protocol", frames: [][]byte{s.sends(packetOf(s.evil.IP, victim.IP, frame.ProtoICMPv6, []byte(forged)))}},
	}
	many := make([][]byte, 0, 4)
	for _, to := range []string{"255.255.255.255", "224.0.0.1", "239.1.2.3", "0.0.0.0"} {
		many = append(many, s.sends(udp(s.evil.IP, addr(to), 80, forged)))
	}
	return append(lies,
		lie{what: "to many", reason: "multicast", frames: many},
		lie{what: "to the subnet's broadcast address", reason: "no-route", frames: [][]byte{s.sends(udp(s.evil.IP, addr("10.0.0.255"), 80, forged))}})
}
