package netns

import (
	"bytes"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"testing"

	"edgenet.dev/edgenet/test/netns/lab"
	"edgenet.dev/edgenet/test/netns/lab/frame"
)

// siege is a tenant who lies, with victims of its own tenant and of another on
// its own host and on the next, all of both families.
//
//	edge-1                                      edge-2
//	  evil 10.0.0.2 (red)                         far   10.0.0.3 (red)
//	  near 10.0.0.5 (red)                         other 10.0.0.3 (blue)
//	  twin 10.0.0.5 (blue)                        and fd00:1:: with the same ends
type siege struct {
	t                            *testing.T
	hosts                        []*lab.Host
	red, blue                    uint32
	evil, near, far, twin, other *lab.Container
	mac                          net.HardwareAddr
	captures                     []*lab.Capture
}

// lie is something that evil sends to nobody's harm.
type lie struct {
	what string
	// reason is under what each of the frames is counted, at evil unless at says
	// who else counts them.
	reason string
	at     *lab.Container
	frames [][]byte
}

// besiege lets the victims of both tenants in on TCP port 80 and by ping.
func besiege(t *testing.T) *siege {
	l := lab.New(t)
	s := &siege{t: t, hosts: l.Mesh("edge-1", "edge-2")}
	for _, vpc := range []string{"red", "blue"} {
		s.hosts[0].VPC(vpc, "10.0.0.0/24", "fd00:1::/64")
		s.hosts[0].Group(vpc, "web", "ingress tcp 80 from any", "ingress icmp - from any", "ingress icmpv6 - from any")
	}
	s.red, s.blue = vniOf(t, s.hosts[0], "red"), vniOf(t, s.hosts[0], "blue")
	attach := func(host *lab.Host, name, vpc, end string) *lab.Container {
		c := host.Container(name).Serves("tcp/80")
		c.Attach(vpc, "10.0.0."+end+",fd00:1::"+end, "web")
		return c
	}
	s.evil, s.near = attach(s.hosts[0], "evil", "red", "2"), attach(s.hosts[0], "near", "red", "5")
	s.far, s.other = attach(s.hosts[1], "far", "red", "3"), attach(s.hosts[1], "other", "blue", "3")
	s.twin = attach(s.hosts[0], "twin", "blue", "5")
	for _, victim := range []*lab.Container{s.near, s.far} {
		s.evil.Reaches(victim, "icmp", "tcp/80")
		s.evil.Reaches(victim.On6(), "icmp", "tcp/80")
	}
	s.twin.Reaches(s.other, "icmp")
	s.mac = s.evil.MAC()
	for _, victim := range []*lab.Container{s.near, s.far, s.twin, s.other} {
		s.captures = append(s.captures, victim.Captures("eth0"))
	}
	return s
}

// tells sends the lies one after another, and expects that each frame is counted
// once, for the reason, where it is stopped.
func (s *siege) tells(lies []lie) {
	s.t.Helper()
	for _, lie := range lies {
		at := s.evil
		if lie.at != nil {
			at = lie.at
		}
		counted(s.t, at, lie, func() map[string]uint64 { return drops(s.t, at) }, func() {
			s.evil.Injects("eth0", lie.frames...)
		})
	}
}

// counted awaits that what is sent is counted as the lie says, and as nothing else.
func counted(t *testing.T, at fmt.Stringer, lie lie, read func() map[string]uint64, send func()) {
	t.Helper()
	before := read()
	want := maps.Clone(before)
	want[lie.reason] += uint64(len(lie.frames))
	send()
	lab.Await(t, fmt.Sprintf("%s: %d more for %s at %s", lie.what, len(lie.frames), lie.reason, at), func() error {
		if now := read(); !maps.Equal(now, want) {
			return fmt.Errorf("drops %v, before %v", now, before)
		}
		return nil
	})
}

// arrives expects that a frame of evil's that is no lie gets to a victim, so that
// a lie that does not was refused for what is wrong with it.
func (s *siege) arrives(what string, victim *lab.Container, frames ...[]byte) {
	s.t.Helper()
	proof := victim.Captures("eth0")
	s.evil.Injects("eth0", frames...)
	proof.Shows(what, func(f frame.Frame) bool { return bytes.Contains(f.Payload, []byte("honest")) })
	proof.Stop()
}

// ends proves that the captures have all that came before this moment, and that
// nothing of it was forged.
func (s *siege) ends() {
	s.t.Helper()
	for i, victim := range []*lab.Container{s.near, s.far, s.twin, s.other} {
		from := s.evil
		if i > 1 {
			from = map[bool]*lab.Container{true: s.other, false: s.twin}[victim == s.twin]
		}
		s.captures[i].ShowsAfter(from)
		s.captures[i].ShowsNone("a forged packet", isForged)
	}
	// Nobody believes a lie either.
	for _, victim := range []*lab.Container{s.near, s.far} {
		for _, other := range []*lab.Container{s.near, s.far} {
			if other != victim {
				victim.Reaches(other, "icmp", "tcp/80")
				victim.Reaches(other.On6(), "icmp", "tcp/80")
			}
		}
		expectNeighbours(s.t, victim)
	}
}

// expectNeighbours fails if a container knows any station but the gateway, or a
// route by another.
func expectNeighbours(t *testing.T, c *lab.Container) {
	t.Helper()
	for _, line := range lines(c.Runs("ip", "neigh").Stdout) {
		if containsAll(line, "lladdr") && !containsAll(line, frame.GatewayMAC.String()) {
			t.Errorf("%s has a neighbour that is not the gateway: %s", c, line)
		}
	}
	for _, line := range lines(c.Runs("ip", "-6", "route").Stdout) {
		if containsAll(line, "proto ra") || containsAll(line, "proto redirect") {
			t.Errorf("%s was told a route: %s", c, line)
		}
	}
}

// drops are an endpoint's, by reason.
func drops(t *testing.T, of *lab.Container) map[string]uint64 {
	t.Helper()
	endpoint, err := of.Host().Endpoint(of.VPC, of.Name)
	if err != nil {
		t.Fatalf("read counters of %s: %v", of, err)
	}
	found := make(map[string]uint64)
	maps.Copy(found, endpoint.GetCounters().GetDrops())
	return found
}

// udp is a datagram between two addresses of one family, without Ethernet.
func udp(source, target netip.Addr, port uint16, payload string) []byte {
	datagram := frame.UDP(netip.AddrPortFrom(source, 4444), netip.AddrPortFrom(target, port), []byte(payload))
	return packetOf(source, target, frame.ProtoUDP, datagram)
}

// tcp is the beginning of a connection to the open port, with data so that it can
// be told.
func tcp(source, target netip.Addr, payload string) []byte {
	return packetOf(source, target, frame.ProtoTCP, segmentOf(source, target, 80, payload))
}

func segmentOf(source, target netip.Addr, port uint16, payload string) []byte {
	header := frame.TCP{
		Src: netip.AddrPortFrom(source, 4444), Dst: netip.AddrPortFrom(target, port), Flags: frame.FlagSYN,
	}
	return header.Segment([]byte(payload))
}

// packetOf puts the header of the addresses' family before a payload.
func packetOf(source, target netip.Addr, protocol uint8, payload []byte) []byte {
	if source.Is4() {
		return frame.IPv4{Src: source, Dst: target, Protocol: protocol}.Packet(payload)
	}
	return frame.IPv6(source, target, protocol, payload)
}

// sends puts Ethernet before a packet of either family, by the gateway.
func (s *siege) sends(packet []byte) []byte {
	return frame.Ethernet(frame.GatewayMAC, s.mac, etherType(packet), packet)
}

func etherType(packet []byte) uint16 {
	if packet[0]>>4 == 4 {
		return frame.TypeIPv4
	}
	return frame.TypeIPv6
}
