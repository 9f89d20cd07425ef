package netns

import (
	"crypto/sha256"
	"encoding/binary"
	"net/netip"

	"edgenet.dev/edgenet/test/netns/lab"
	"edgenet.dev/edgenet/test/netns/lab/frame"
)

// tunnels are packets in other people's headers, at hosts and at what the rules do
// not open.
func (s *siege) tunnels() []lie {
	inner := tcp(s.twin.IP, s.other.IP, forged)
	inner6 := tcp(s.twin.IP6, s.other.IP6, forged)
	wrapped := func(source, target netip.Addr) (frames [][]byte) {
		ethernet := frame.Ethernet(s.other.MAC(), s.twin.MAC(), frame.TypeIPv4, inner)
		for _, port := range []uint16{4789, 8472, 6081, 51820, 7946} {
			// The longer one last, so that nothing on the way makes one of them.
			frames = append(frames,
				s.sends(udp(source, target, port, "\x04\x00\x00\x00"+string(ethernet))),
				s.sends(udp(source, target, port, string(frame.VXLAN(s.blue, ethernet)))))
		}
		return append(frames,
			s.sends(packetOf(source, target, frame.ProtoIPIP, inner)),
			s.sends(packetOf(source, target, frame.ProtoIPv6, inner6)),
			s.sends(packetOf(source, target, frame.ProtoGRE, append([]byte{0, 0, 0x08, 0}, inner...))),
			s.sends(packetOf(source, target, frame.ProtoGRE, append([]byte{0, 0, 0x86, 0xdd}, inner6...))))
	}
	var lies []lie
	for _, host := range s.hosts {
		lies = append(lies, lie{
			what: "tunnels to " + host.Name, reason: "no-route", frames: wrapped(s.evil.IP, host.Underlay),
		})
	}
	for _, victim := range []*lab.Container{s.near, s.far} {
		lies = append(lies,
			lie{what: "tunnels in IPv4", reason: "no-ingress-rule", at: victim, frames: wrapped(s.evil.IP, victim.IP)},
			lie{what: "tunnels in IPv6", reason: "no-ingress-rule", at: victim, frames: wrapped(s.evil.IP6, victim.IP6)})
	}
	return lies
}

// overlay are IPv6 packets in the mesh's own prefixes, as tunnels carry them: of
// every kind, from evil's own address and from those of the overlay, at tenants and
// at nodes.
func (s *siege) overlay() []lie {
	var frames [][]byte
	for _, to := range s.hosts {
		node := nodePrefix(s.t, to)
		targets := []netip.Addr{nodeAddress(s.t, to)}
		for _, victim := range []*lab.Container{s.near, s.far, s.twin, s.other} {
			vni := map[string]uint32{"red": s.red, "blue": s.blue}[victim.VPC]
			v4, token := binary.BigEndian.Uint32(victim.IP.AsSlice()), tokenOf(vni, victim.IP6)
			targets = append(targets,
				overlayAddress(node, 1, vni, v4), overlayAddress(node, 2, vni, token),
				overlayAddress(node, 3, vni, 0), overlayAddress(node, 0x10, vni, v4), overlayAddress(node, 0x1a, vni, v4))
		}
		for _, target := range targets {
			for _, from := range s.hosts {
				origin := nodePrefix(s.t, from)
				for _, source := range []netip.Addr{
					s.evil.IP6, nodeAddress(s.t, from),
					overlayAddress(origin, 1, s.red, binary.BigEndian.Uint32(s.evil.IP.AsSlice())),
					overlayAddress(origin, 1, s.blue, binary.BigEndian.Uint32(s.twin.IP.AsSlice())),
					overlayAddress(origin, 2, s.blue, tokenOf(s.blue, s.twin.IP6)),
				} {
					frames = append(frames, s.sends(tcp(source, target, forged)))
				}
			}
			frames = append(frames,
				s.sends(frame.IPv6(s.evil.IP6, target, frame.ProtoIPv6, tcp(s.twin.IP6, s.other.IP6, forged))),
				s.sends(frame.IPv6(s.evil.IP6, target, 253, segmentOf(s.evil.IP, s.far.IP, 80, forged))))
		}
	}
	return []lie{{what: "in the mesh's own prefixes", reason: "overlay-address", frames: frames}}
}

// nodePrefix is a node's /64.
func nodePrefix(t lab.TB, host *lab.Host) netip.Addr {
	t.Helper()
	self, err := host.Node(host.Name)
	if err != nil {
		t.Fatalf("read node %s: %v", host.Name, err)
	}
	prefix, err := netip.ParsePrefix(self.GetPrefix())
	if err != nil {
		t.Fatalf("prefix of %s: %v", host.Name, err)
	}
	return prefix.Addr()
}

// nodeAddress is the node's own in the overlay.
func nodeAddress(t lab.TB, host *lab.Host) netip.Addr {
	t.Helper()
	self, err := host.Node(host.Name)
	if err != nil {
		t.Fatalf("read node %s: %v", host.Name, err)
	}
	address, err := netip.ParseAddr(self.GetAddress())
	if err != nil {
		t.Fatalf("address of %s: %v", host.Name, err)
	}
	return address
}

// overlayAddress is kind, VNI and 32 bits under a node's /64.
func overlayAddress(node netip.Addr, kind uint8, vni, low uint32) netip.Addr {
	bytes := node.As16()
	binary.BigEndian.PutUint32(bytes[8:], uint32(kind)<<24|vni)
	binary.BigEndian.PutUint32(bytes[12:], low)
	return netip.AddrFrom16(bytes)
}

// tokenOf is what stands for an IPv6 address in the overlay: the first bytes of
// the SHA-256 of VNI and address.
func tokenOf(vni uint32, address netip.Addr) uint32 {
	digest := sha256.Sum256(append(binary.BigEndian.AppendUint32(nil, vni), address.AsSlice()...))
	return binary.BigEndian.Uint32(digest[:])
}
