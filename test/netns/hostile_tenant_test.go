package netns

import (
	"net"
	"net/netip"
	"slices"
	"testing"

	"edgenet.dev/edgenet/test/netns/lab"
	"edgenet.dev/edgenet/test/netns/lab/frame"
)

// A container can speak for itself only, in both families: not with another's
// MAC or address, nor by ARP or neighbour discovery; not to what is not its VPC,
// by whatever header. Each lie is counted for what is wrong with it.
func TestAHostileTenantSpeaksOnlyForItself(t *testing.T) {
	t.Parallel()
	s := besiege(t)
	s.arrives("what it may send", s.far, s.sends(tcp(s.evil.IP, s.far.IP, "honest")))
	s.arrives("what it may send", s.near, s.sends(tcp(s.evil.IP6, s.near.IP6, "honest")))
	s.tells(s.sources())
	s.tells(s.stations())
	s.tells(s.neighbours())
	s.tells(s.tunnels())
	s.tells(s.overlay())
	s.ends()
}

// sources are packets from what is not evil's.
func (s *siege) sources() []lie {
	var foreign, local [][]byte
	for _, victim := range []*lab.Container{s.near, s.far} {
		for _, source := range []string{"10.0.0.5", "10.0.0.3", "10.0.0.1", "10.0.0.77", "192.0.2.1", "127.0.0.1", "0.0.0.0", "255.255.255.255"} {
			if addr(source) != victim.IP {
				foreign = append(foreign, s.sends(tcp(addr(source), victim.IP, forged)))
			}
		}
		for _, source := range []string{"fd00:1::5", "fd00:1::3", "fd00:1::1", "fd00:1::77", "2001:db8::1", "::1", "::", "::ffff:10.0.0.2", "ff02::1"} {
			if addr(source) != victim.IP6 {
				foreign = append(foreign, s.sends(tcp(addr(source), victim.IP6, forged)))
			}
		}
		local = append(local, s.sends(tcp(linkLocal, victim.IP6, forged)))
	}
	return []lie{
		{what: "from an address that is not its own", reason: "spoofed-source", frames: foreign},
		{what: "from a link-local address", reason: "spoofed-source", frames: local},
	}
}

// linkLocal is an address that any station may have on its link.
var linkLocal = netip.MustParseAddr("fe80::66")

// stations are frames from or to the wrong MAC, or with tags.
func (s *siege) stations() []lie {
	var stolen, direct, tagged [][]byte
	stranger := net.HardwareAddr{0x02, 0, 0, 0, 0, 0x66}
	for _, victim := range []*lab.Container{s.near, s.far} {
		for _, packet := range [][]byte{tcp(s.evil.IP, victim.IP, forged), tcp(s.evil.IP6, victim.IP6, forged)} {
			kind := etherType(packet)
			for _, mac := range []net.HardwareAddr{victim.MAC(), stranger, frame.GatewayMAC} {
				stolen = append(stolen, frame.Ethernet(frame.GatewayMAC, mac, kind, packet))
			}
			for _, mac := range []net.HardwareAddr{victim.MAC(), stranger, frame.Broadcast} {
				direct = append(direct, frame.Ethernet(mac, s.mac, kind, packet))
			}
			single := slices.Concat([]byte{0, 7, byte(kind >> 8), byte(kind)}, packet)
			priority := slices.Concat([]byte{0xe0, 0, byte(kind >> 8), byte(kind)}, packet)
			double := slices.Concat([]byte{0, 7, 0x81, 0x00}, single)
			for _, mac := range []net.HardwareAddr{victim.MAC(), frame.GatewayMAC} {
				tagged = append(tagged,
					frame.Ethernet(mac, s.mac, 0x8100, single),
					frame.Ethernet(mac, s.mac, 0x8100, priority),
					frame.Ethernet(mac, s.mac, 0x88a8, single),
					frame.Ethernet(mac, s.mac, 0x8100, double),
					frame.Ethernet(mac, s.mac, 0x88a8, double))
			}
		}
	}
	return []lie{
		{what: "from another's MAC", reason: "spoofed-mac", frames: stolen},
		{what: "past the gateway", reason: "not-gateway", frames: direct},
		{what: "with VLAN tags", reason: "unsupported-protocol", frames: tagged},
	}
}

// neighbours are claims by ARP and neighbour discovery.
func (s *siege) neighbours() []lie {
	everyone := addr("ff02::1")
	arp := func(mac net.HardwareAddr, operation uint16, sender, target netip.Addr) []byte {
		message := append(frame.ARP(operation, mac, sender, target), forged...)
		return frame.Ethernet(frame.Broadcast, s.mac, frame.TypeARP, message)
	}
	var claims, others, routers, claims6, far6 [][]byte
	for _, claimed := range []netip.Addr{s.near.IP, s.far.IP, addr("10.0.0.1"), addr("10.0.0.77")} {
		for _, target := range []netip.Addr{claimed, s.near.IP, s.far.IP} {
			claims = append(claims, arp(s.mac, frame.ARPReply, claimed, target), arp(s.mac, frame.ARPRequest, claimed, target))
		}
		others = append(others, arp(s.near.MAC(), frame.ARPReply, claimed, s.near.IP))
	}
	for _, to := range []netip.Addr{everyone, s.near.IP6, s.far.IP6} {
		for _, claimed := range []netip.Addr{s.near.IP6, s.far.IP6, addr("fd00:1::1"), addr("fd00:1::77")} {
			if claimed == to {
				continue
			}
			claims6 = append(claims6,
				s.sends(frame.Advertisement(s.evil.IP6, to, claimed, s.mac)),
				s.sends(frame.Advertisement(linkLocal, to, claimed, s.mac)),
				s.sends(frame.Advertisement(claimed, to, claimed, s.mac)),
				s.sends(frame.Solicitation(claimed, to, s.near.IP6, s.mac)))
		}
		routers = append(routers,
			s.sends(frame.RouterAdvertisement(linkLocal, to, s.mac)),
			s.sends(frame.RouterAdvertisement(s.evil.IP6, to, s.mac)),
			s.sends(frame.Redirect(linkLocal, to, s.evil.IP6, s.far.IP6)),
			s.sends(frame.Redirect(s.evil.IP6, to, s.evil.IP6, s.far.IP6)))
		passed := frame.Advertisement(s.evil.IP6, to, s.evil.IP6, s.mac)
		passed[7] = 254
		far6 = append(far6, s.sends(passed))
	}
	return []lie{
		{what: "ARP for another's address", reason: "spoofed-source", frames: claims},
		{what: "ARP of another's MAC", reason: "spoofed-mac", frames: others},
		{what: "neighbour discovery for another's address", reason: "spoofed-source", frames: claims6},
		{what: "as a router", reason: "neighbor-discovery", frames: routers},
		{what: "neighbour discovery from another link", reason: "malformed", frames: far6},
	}
}
