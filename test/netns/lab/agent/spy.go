package agent

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"slices"
	"sync"

	"edgenet.dev/edgenet/test/netns/lab/frame"
)

// Marker is in every ping and in every line of a flow: whoever reads it has read
// what a container sent.
const Marker = "edgenet-plaintext"

// maxSuspects bounds the frames that a spy keeps.
const maxSuspects = 20

// SpyArgs says where to look, and what is expected there.
type SpyArgs struct {
	Interface string
	// UDP and TCP are the ports by which hosts talk.
	UDP, TCP []uint16
}

// SpyReport is what a spy has seen.
type SpyReport struct {
	// Frames is how many there were, Marked how many had the marker in clear, and
	// Odd how many were none of what is expected.
	Frames, Marked, Odd int
	// Suspects are the first of the last two.
	Suspects [][]byte
}

// spy looks at every frame of an interface, in and out, and keeps those that nobody
// expects.
type spy struct {
	args   SpyArgs
	ring   *ring
	reader sync.WaitGroup

	report SpyReport // the reader's until it has ended
}

func startSpy(args SpyArgs) (*spy, error) {
	ring, err := openRing(args.Interface)
	if err != nil {
		return nil, err
	}
	s := &spy{args: args, ring: ring}
	s.reader.Go(func() { ring.each(s.look) })
	return s, nil
}

func (s *spy) look(raw []byte) {
	s.report.Frames++
	marked, odd := bytes.Contains(raw, []byte(Marker)), !s.expects(raw)
	if marked {
		s.report.Marked++
	}
	if odd {
		s.report.Odd++
	}
	if (marked || odd) && len(s.report.Suspects) < maxSuspects {
		s.report.Suspects = append(s.report.Suspects, slices.Clone(raw))
	}
}

// expects tells whether a frame is what hosts say to one another: tunnels and
// gossip by their ports, ARP, and ICMP.
func (s *spy) expects(raw []byte) bool {
	f, err := frame.Parse(raw)
	switch {
	case err != nil:
		return false
	case f.EtherType == frame.TypeARP:
		return true
	case f.EtherType != frame.TypeIPv4 && f.EtherType != frame.TypeIPv6:
		return false
	case isInside(f.Src) || isInside(f.Dst):
		return false
	}
	// IPv6's: reports of multicast listeners begin with the one, and what is cut
	// into fragments with the other.
	const hopByHop, fragment = 0, 44
	switch f.Protocol {
	case frame.ProtoICMP, frame.ProtoICMPv6, hopByHop, fragment:
		return true
	case frame.ProtoUDP:
		return isLaterFragment(raw) || speaks(f.Payload, s.args.UDP)
	case frame.ProtoTCP:
		return speaks(f.Payload, s.args.TCP)
	}
	return false
}

// isInside tells whether an address is a tenant's, or the overlay's.
func isInside(addr netip.Addr) bool {
	return addr.Is4() && addr.As4()[0] == 10 || addr.Is6() && addr.As16()[0] == 0xfd
}

// isLaterFragment tells whether an IPv4 packet has no header of what is in it.
func isLaterFragment(raw []byte) bool {
	const ethernet, offset = 14, 6
	return binary.BigEndian.Uint16(raw[12:]) == frame.TypeIPv4 && binary.BigEndian.Uint16(raw[ethernet+offset:])&0x1fff != 0
}

// speaks tells whether one of a segment's two ports is one of those.
func speaks(segment []byte, ports []uint16) bool {
	return len(segment) >= 4 && (slices.Contains(ports, binary.BigEndian.Uint16(segment)) ||
		slices.Contains(ports, binary.BigEndian.Uint16(segment[2:])))
}

func (s *spy) stop() (SpyReport, error) {
	s.ring.closed.Store(true)
	s.reader.Wait()
	return s.report, s.ring.free()
}
