package netns

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"testing"

	"edgenet.dev/edgenet/test/netns/lab"
	"edgenet.dev/edgenet/test/netns/lab/frame"
)

// taken is a host that somebody else is root on: what it sends into its tunnel is
// not what its datapath would have made.
//
//	edge-1: web 10.0.0.2    edge-2: db 10.0.0.3 (victim)    edge-3: own 10.0.0.4, taken over
//	all in blue, with fd00:1:: and the same ends; red is a VPC without endpoints there
type taken struct {
	t                   *testing.T
	victim              *lab.Host
	web, db, own, thief *lab.Container
	device              string
	blue, red           uint32
	// The /64s of the three nodes.
	webs, dbs, owns netip.Addr
}

// A node that was taken over forges overlay packets of every kind. What is not its
// own endpoints' is refused by the node that gets it, and counted for what is wrong.
func TestATakenNodeForgesNoKindOfPacket(t *testing.T) {
	t.Parallel()
	n := takeNode(t)
	n.passes("IPv4", n.kind1(n.own4(), n.db4(), "honest"))
	n.passes("IPv6 by tokens", n.kind2(n.own6(), n.db6(), "honest"))
	n.passes("whole IPv6", n.kind3(tcp(n.own.IP6, n.db.IP6, "honest")))
	n.passes("IPv4 with options", n.kind16(n.own4(), 2, frame.ProtoTCP, slices.Concat(recordRoute, segmentOf(n.own.IP, n.db.IP, 80, "honest"))))
	capture := n.db.Captures("eth0")
	n.forges(n.lies4())
	n.forges(n.lies6())
	n.forges(n.liesAboutNodes())
	n.trains()
	capture.ShowsAfter(n.own)
	capture.ShowsNone("a forged packet", isForged)
}

func takeNode(t *testing.T) *taken {
	l := lab.New(t)
	hosts := l.Mesh("edge-1", "edge-2", "edge-3")
	hosts[0].VPC("blue", "10.0.0.0/24", "fd00:1::/64")
	hosts[0].VPC("red", "10.0.0.0/24", "fd00:1::/64")
	hosts[0].Group("blue", "all", open)
	n := &taken{
		t: t, victim: hosts[1], blue: vniOf(t, hosts[0], "blue"), red: vniOf(t, hosts[0], "red"),
		webs: nodePrefix(t, hosts[0]), dbs: nodePrefix(t, hosts[1]), owns: nodePrefix(t, hosts[2]),
	}
	for i, name := range []string{"web", "db", "own"} {
		c := hosts[i].Container(name)
		c.Attach("blue", fmt.Sprintf("10.0.0.%d,fd00:1::%d", i+2, i+2), "all")
		*[]**lab.Container{&n.web, &n.db, &n.own}[i] = c
	}
	for _, from := range []*lab.Container{n.own, n.web} {
		from.Reaches(n.db, "icmp")
		from.Reaches(n.db.On6(), "icmp")
	}
	peer, err := hosts[2].Node("edge-2")
	if err != nil {
		t.Fatal(err)
	}
	n.thief, n.device = hosts[2].Insider("thief"), peer.GetTunnel().GetDevice()
	return n
}

func low4(c *lab.Container) uint32 { return binary.BigEndian.Uint32(c.IP.AsSlice()) }

func (n *taken) own4() netip.Addr { return overlayAddress(n.owns, 1, n.blue, low4(n.own)) }
func (n *taken) db4() netip.Addr  { return overlayAddress(n.dbs, 1, n.blue, low4(n.db)) }
func (n *taken) own6() netip.Addr {
	return overlayAddress(n.owns, 2, n.blue, tokenOf(n.blue, n.own.IP6))
}

func (n *taken) db6() netip.Addr {
	return overlayAddress(n.dbs, 2, n.blue, tokenOf(n.blue, n.db.IP6))
}

// lastPort keeps forged packets from being merged on the way, which would be
// counted once.
var lastPort uint16

// kind1 is a translated IPv4 packet, or what the addresses make of it.
func (n *taken) kind1(source, target netip.Addr, payload string) []byte {
	lastPort++
	datagram := frame.UDP(netip.AddrPortFrom(source, 10000+lastPort), netip.AddrPortFrom(target, 9), []byte(payload))
	return frame.IPv6(source, target, frame.ProtoUDP, datagram)
}

// kind2 is IPv6 by tokens: it looks the same.
func (n *taken) kind2(source, target netip.Addr, payload string) []byte {
	return n.kind1(source, target, payload)
}

// kind3 is a whole packet behind the overlay's header.
func (n *taken) kind3(packet []byte) []byte {
	return frame.IPv6(overlayAddress(n.owns, 3, n.blue, 0), overlayAddress(n.dbs, 3, n.blue, 0), frame.ProtoIPv6, packet)
}

// kind16 is IPv4 with words of options, or a fragment: source says whose it is, rest
// has the place and the protocol of it.
func (n *taken) kind16(source netip.Addr, words uint8, rest uint32, payload []byte) []byte {
	from := source.As16()
	binary.BigEndian.PutUint32(from[8:], 0x10000000|uint32(words)<<24|rest)
	to := overlayAddress(n.dbs, 0x10+words, n.blue, low4(n.db))
	return frame.IPv6(netip.AddrFrom16(from), to, 253, payload)
}

// passes expects that a packet arrives that the node may send.
func (n *taken) passes(what string, packet []byte) {
	n.t.Helper()
	proof := n.db.Captures("eth0")
	n.thief.Injects(n.device, packet)
	proof.Shows(what, func(f frame.Frame) bool {
		return (f.Src == n.own.IP || f.Src == n.own.IP6) && bytes.Contains(f.Payload, []byte("honest"))
	})
	proof.Stop()
}

// forges sends lies, and expects them in the counters of the victim's node: the
// victim's own where at says so, else nobody's.
func (n *taken) forges(lies []lie) {
	n.t.Helper()
	for _, lie := range lies {
		read, at := n.nobodys, fmt.Stringer(n.victim)
		if lie.at != nil {
			read, at = func() map[string]uint64 { return drops(n.t, lie.at) }, lie.at
		}
		counted(n.t, at, lie, read, func() { n.thief.Injects(n.device, lie.frames...) })
	}
}

// nobodys are the drops of the victim's node that are no endpoint's.
func (n *taken) nobodys() map[string]uint64 {
	n.t.Helper()
	status, err := n.victim.API().Status()
	if err != nil {
		n.t.Fatalf("read status of %s: %v", n.victim, err)
	}
	found := make(map[string]uint64)
	maps.Copy(found, status.GetDrops())
	return found
}

// lies4 are of IPv4, translated and with options.
func (n *taken) lies4() []lie {
	webs := overlayAddress(n.owns, 1, n.blue, low4(n.web))
	segment := segmentOf(n.web.IP, n.db.IP, 80, forged)
	fragment := append([]byte(nil), forged+"..."...)
	const more, protocol = 0x100, frame.ProtoTCP
	place := func(offset uint32) uint32 { return offset / 8 << 9 }
	route := slices.Concat([]byte{0x83, 7, 4}, n.own.IP.AsSlice(), []byte{0}, segment)
	return []lie{
		{what: "IPv4 of another node's, of nobody's, of another VPC's", reason: "not-owner", at: n.db, frames: [][]byte{
			n.kind1(webs, n.db4(), forged),
			n.kind1(overlayAddress(n.owns, 1, n.blue, 0x0a000009), n.db4(), forged),
			n.kind1(overlayAddress(n.owns, 1, n.blue, low4(n.db)), n.db4(), forged),
			n.kind1(overlayAddress(n.owns, 1, n.blue, 0x0a000001), n.db4(), forged),
			n.kind1(overlayAddress(n.owns, 1, n.red, low4(n.own)), n.db4(), forged),
			n.kind1(overlayAddress(n.owns, 0, 0, 1), n.db4(), forged),
			n.kind1(overlayAddress(n.owns, 2, n.blue, low4(n.own)), n.db4(), forged),
			n.kind16(webs, 0, more|protocol, padded(segment)),
			n.kind16(webs, 2, protocol, slices.Concat(recordRoute, segment)),
		}},
		{what: "IPv4 to what is not there", reason: "no-route", frames: [][]byte{
			n.kind1(n.own4(), overlayAddress(n.dbs, 1, n.blue, 0x0a000009), forged),
			n.kind1(n.own4(), overlayAddress(n.dbs, 1, n.blue, low4(n.web)), forged),
			n.kind1(overlayAddress(n.owns, 1, n.red, low4(n.own)), overlayAddress(n.dbs, 1, n.red, low4(n.db)), forged),
		}},
		{what: "a source route", reason: "source-routing", frames: [][]byte{n.kind16(n.own4(), 2, protocol, route)}},
		{what: "options and fragments that contradict themselves", reason: "malformed", frames: [][]byte{
			n.kind16(n.own4(), 2, protocol, slices.Concat([]byte{7, 40, 4, 0, 0, 0, 0, 0}, segment)),
			n.kind16(n.own4(), 10, protocol, segment[:24]),
			n.kind16(n.own4(), 0, place(65528)|protocol, fragment),
			n.kind16(n.own4(), 0, place(24)|more|protocol, fragment[:9]),
		}},
		{what: "a first fragment without its header", reason: "fragment-short", frames: [][]byte{
			n.kind16(n.own4(), 0, more|protocol, segment[:8]),
		}},
		{what: "a later fragment alone", reason: "fragment-alone", at: n.db, frames: [][]byte{
			n.kind16(n.own4(), 0, place(24)|protocol, fragment),
		}},
	}
}

// lies6 are of IPv6, by tokens and whole.
func (n *taken) lies6() []lie {
	token := func(node netip.Addr, vni uint32, address string) netip.Addr {
		return overlayAddress(node, 2, vni, tokenOf(vni, addr(address)))
	}
	own, db := n.own.IP6, n.db.IP6
	discovery := func(packet []byte) []byte {
		return frame.IPv6(n.own6(), n.db6(), frame.ProtoICMPv6, append(packet[40:], forged...))
	}
	short := tcp(own, db, forged)
	short[5]--
	expired := tcp(own, db, forged)
	expired[7] = 0
	foreign := frame.IPv6(overlayAddress(n.owns, 3, n.blue, 0), overlayAddress(n.dbs, 3, n.blue, 0), frame.ProtoUDP, tcp(own, db, forged))
	return []lie{
		{what: "IPv6 of another node's, of nobody's, of another VPC's", reason: "not-owner", at: n.db, frames: [][]byte{
			n.kind2(token(n.owns, n.blue, "fd00:1::2"), n.db6(), forged),
			n.kind2(token(n.owns, n.blue, "fd00:1::3"), n.db6(), forged),
			n.kind2(token(n.owns, n.blue, "fd00:1::1"), n.db6(), forged),
			n.kind2(token(n.owns, n.red, "fd00:1::4"), n.db6(), forged),
			n.kind2(overlayAddress(n.owns, 2, n.blue, 0), n.db6(), forged),
			n.kind2(overlayAddress(n.owns, 2, n.blue, 0xdeadbeef), n.db6(), forged),
			n.kind2(n.own4(), n.db6(), forged),
			n.kind3(tcp(n.web.IP6, db, forged)), n.kind3(tcp(addr("fd00:1::77"), db, forged)),
			n.kind3(tcp(db, db, forged)), n.kind3(tcp(addr("fd00:1::1"), db, forged)), n.kind3(tcp(n.own6(), db, forged)),
		}},
		{what: "IPv6 to what is not there", reason: "no-route", frames: [][]byte{
			n.kind2(n.own6(), overlayAddress(n.dbs, 2, n.blue, 0xdeadbeef), forged),
			n.kind2(n.own6(), token(n.dbs, n.blue, "fd00:1::2"), forged),
			n.kind2(token(n.owns, n.red, "fd00:1::4"), token(n.dbs, n.red, "fd00:1::3"), forged),
			n.kind3(tcp(own, addr("fd00:1::77"), forged)), n.kind3(tcp(own, n.web.IP6, forged)),
			n.kind3(tcp(own, nodeAddress(n.t, n.victim), forged)), n.kind3(tcp(own, n.db6(), forged)),
		}},
		{what: "neighbour discovery", reason: "neighbor-discovery", at: n.db, frames: [][]byte{
			discovery(frame.Advertisement(own, db, own, n.db.MAC())), discovery(frame.RouterAdvertisement(own, db, n.db.MAC())),
			discovery(frame.Redirect(own, db, own, n.web.IP6)),
		}},
		{what: "whole IPv6 that contradicts itself", reason: "malformed", frames: [][]byte{
			n.kind3(short), n.kind3(expired), foreign, n.kind3(tcp(own, db, forged)[:39]),
			n.kind3(udp(addr("::ffff:10.0.0.4"), addr("::ffff:10.0.0.3"), 9, forged)), n.kind3(tcp(n.own.IP, n.db.IP, forged)),
		}},
		{what: "source routes in either kind", reason: "source-routing", frames: [][]byte{
			frame.IPv6(n.own6(), n.db6(), frame.ProtoRouting, frame.Routing6(frame.ProtoTCP, n.web.IP6, []byte(forged))),
			n.kind3(frame.IPv6(own, db, frame.ProtoRouting, frame.Routing6(frame.ProtoTCP, n.web.IP6, []byte(forged)))),
		}},
	}
}

// liesAboutNodes are to the node itself, or of no kind that is known.
func (n *taken) liesAboutNodes() []lie {
	node, self := nodeAddress(n.t, n.victim), overlayAddress(n.owns, 0, 0, 1)
	var unknown [][]byte
	for _, kind := range []uint8{4, 0x0f, 0x1b, 0x20, 0xff} {
		unknown = append(unknown, n.kind1(n.own4(), overlayAddress(n.dbs, kind, n.blue, low4(n.db)), forged))
	}
	unknown = append(unknown, n.kind1(self, overlayAddress(n.dbs, 0, 0, 2), forged), n.kind1(self, overlayAddress(n.dbs, 0, n.blue, low4(n.db)), forged))
	return []lie{
		{what: "of kinds that are none", reason: "foreign-destination", frames: unknown},
		{what: "to the node, of tenants", reason: "not-owner", frames: [][]byte{n.kind1(n.own4(), node, forged), n.kind2(n.own6(), node, forged)}},
		{what: "to the node, but no ping", reason: "host-service", frames: [][]byte{
			n.kind1(self, node, forged),
			frame.IPv6(self, node, frame.ProtoTCP, segmentOf(self, node, 7947, forged)),
			frame.IPv6(self, node, frame.ProtoIPv6, tcp(n.own.IP6, n.db.IP6, forged)),
		}},
	}
}

// trains are TCP segments of one connection, one behind the other, which a tunnel
// may hand over as one large packet, in the kinds that cannot be large.
func (n *taken) trains() {
	n.t.Helper()
	before := n.nobodys()["malformed"]
	for _, target := range []netip.Addr{overlayAddress(n.dbs, 3, n.blue, 0), overlayAddress(n.dbs, 0x10, n.blue, low4(n.db))} {
		var train [][]byte
		payload := append([]byte(forged), make([]byte, 1000)...)
		for i := range 8 {
			header := frame.TCP{
				Src: netip.AddrPortFrom(n.own4(), 4444), Dst: netip.AddrPortFrom(target, 80),
				Flags: frame.FlagACK, Sequence: uint32(i * len(payload)), Ack: 1,
			}
			train = append(train, frame.IPv6(n.own4(), target, frame.ProtoTCP, header.Segment(payload)))
		}
		n.thief.Injects(n.device, train...)
	}
	lab.Await(n.t, "trains are counted as malformed", func() error {
		if now := n.nobodys()["malformed"]; now < before+2 {
			return fmt.Errorf("%d more", now-before)
		}
		return nil
	})
}
