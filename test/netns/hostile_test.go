package netns

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"testing"

	"edgenet.dev/edgenet/test/netns/lab"
	"edgenet.dev/edgenet/test/netns/lab/frame"
)

// forged marks every packet that must arrive nowhere.
const forged = "edgenet-forged-packet"

// isForged matches them, whatever they were turned into.
func isForged(f frame.Frame) bool { return bytes.Contains(f.Payload, []byte(forged)) }

// A container cannot speak for another: not with another's address, not with
// another's MAC, not in ARP.
//
//	edge-1: web 10.0.0.2 (lies)     edge-2: db 10.0.0.3, app 10.0.0.4
func TestSpoofedSourcesGoNowhere(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	hosts := l.Mesh("edge-1", "edge-2")
	hosts[0].VPC("blue", "10.0.0.0/24")
	hosts[0].Group("blue", "all", open)
	web := hosts[0].Container("web")
	near := hosts[0].Container("near")
	db, app := hosts[1].Container("db"), hosts[1].Container("app")
	web.Attach("blue", "10.0.0.2", "all")
	near.Attach("blue", "10.0.0.5", "all")
	db.Attach("blue", "10.0.0.3", "all")
	app.Attach("blue", "10.0.0.4", "all")
	web.Reaches(db, "icmp")
	web.Reaches(near, "icmp")

	mac := web.MAC()
	send := func(from net.HardwareAddr, source, target netip.Addr, payload string) {
		web.Injects("eth0", udpFrame(from, source, target, payload))
	}
	// The same frame without a lie arrives: only the lie is what is refused.
	proof := db.Captures("eth0")
	send(mac, web.IP, db.IP, "honest")
	proof.Shows("the honest packet", func(f frame.Frame) bool {
		return f.Src == web.IP && bytes.Contains(f.Payload, []byte("honest"))
	})
	proof.Stop()

	captures := []*lab.Capture{db.Captures("eth0"), near.Captures("eth0"), app.Captures("eth0")}
	stranger := net.HardwareAddr{0x02, 0, 0, 0, 0, 0x66}
	for _, target := range []*lab.Container{db, near} {
		send(mac, app.IP, target.IP, forged)
		send(mac, addr("10.0.0.77"), target.IP, forged)
		send(mac, addr("192.0.2.1"), target.IP, forged)
		send(stranger, web.IP, target.IP, forged)
		send(near.MAC(), near.IP, target.IP, forged)
		claim := frame.ARP(frame.ARPReply, mac, app.IP, target.IP)
		web.Injects("eth0", frame.Ethernet(frame.Broadcast, mac, frame.TypeARP, append(claim, forged...)))
	}
	// Whoever comes through after the lies proves that they had their time.
	web.Reaches(db, "icmp")
	web.Reaches(near, "icmp")
	for _, capture := range captures {
		capture.ShowsNone("a forged packet", isForged)
	}
	// The lie about ARP moved nobody.
	db.Reaches(app, "icmp")
	near.Reaches(app, "icmp")
	dropsAtLeast(t, hosts[0], "blue", "web", 10)
}

// udpFrame is a datagram to port 9 by the gateway's MAC.
func udpFrame(from net.HardwareAddr, source, target netip.Addr, payload string) []byte {
	datagram := frame.UDP(netip.AddrPortFrom(source, 4444), netip.AddrPortFrom(target, 9), []byte(payload))
	packet := frame.IPv4{Src: source, Dst: target, Protocol: frame.ProtoUDP}.Packet(datagram)
	return frame.Ethernet(frame.GatewayMAC, from, frame.TypeIPv4, packet)
}

// dropsAtLeast fails unless the endpoint's own node counted that many drops.
func dropsAtLeast(t *testing.T, host *lab.Host, vpc, name string, atLeast uint64) {
	t.Helper()
	endpoint, err := host.Endpoint(vpc, name)
	if err != nil {
		t.Fatalf("read counters of %s: %v", name, err)
	}
	total := uint64(0)
	for _, count := range endpoint.GetCounters().GetDrops() {
		total += count
	}
	if total < atLeast {
		t.Errorf("%s: %d drops counted of at least %d: %v", name, total, atLeast, endpoint.GetCounters())
	}
}

// Tenant red sends everything that it can make by hand at tenant blue, whose
// addresses it knows, from both hosts. Nothing arrives.
//
//	edge-1: red-web 10.0.0.2, blue-web 10.0.0.2, blue-spare 10.0.0.4
//	edge-2: red-db  10.0.0.3, blue-db  10.0.0.3
func TestHandMadePacketsGoNowhere(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	hosts, blue, red := twoTenants(l)
	red.web.Reaches(red.db, "icmp")
	blue.web.Reaches(blue.db, "icmp")
	vni := vniOf(t, hosts[0], "blue")

	var captures []*lab.Capture
	for _, victim := range []*lab.Container{blue.web, blue.db, blue.spare} {
		captures = append(captures, victim.Captures("eth0"))
	}
	for _, attacker := range []*lab.Container{red.web, red.db} {
		attack := attack{from: attacker, mac: attacker.MAC(), vni: vni}
		for _, victim := range []*lab.Container{blue.web, blue.db, blue.spare} {
			frames := attack.on(t, victim, hosts)
			attacker.Injects("eth0", frames...)
		}
		for _, host := range hosts {
			attacker.NeverReaches(host.Underlay, "tcp/7947", "icmp")
		}
	}
	red.web.Reaches(red.db, "icmp")
	blue.web.Reaches(blue.db, "icmp")
	for _, capture := range captures {
		capture.ShowsNone("a forged packet", isForged)
	}
	dropsAtLeast(t, hosts[1], "red", "red-web", 50)
}

// attack makes frames of one attacker.
type attack struct {
	from *lab.Container
	mac  net.HardwareAddr
	vni  uint32
}

// on returns all kinds of frames at one victim.
func (a attack) on(t *testing.T, victim *lab.Container, hosts []*lab.Host) [][]byte {
	t.Helper()
	inner := udpFrame(victim.MAC(), blueNeighbour(victim), victim.IP, forged)
	frames := a.overlay(t, victim, hosts)
	for _, host := range hosts {
		frames = append(frames, a.tunnels(host.Underlay, inner)...)
	}
	return append(frames, a.odd(victim, inner)...)
}

// blueNeighbour is an address that the victim would take packets from.
func blueNeighbour(victim *lab.Container) netip.Addr {
	if victim.IP == addr("10.0.0.2") {
		return addr("10.0.0.3")
	}
	return addr("10.0.0.2")
}

// overlay returns IPv6 packets as the tunnels carry them, at every node.
func (a attack) overlay(t *testing.T, victim *lab.Container, hosts []*lab.Host) (frames [][]byte) {
	t.Helper()
	for _, from := range hosts {
		for _, to := range hosts {
			source := tenantAddress(t, from, a.vni, blueNeighbour(victim))
			target := tenantAddress(t, to, a.vni, victim.IP)
			datagram := frame.UDP(netip.AddrPortFrom(source, 4444), netip.AddrPortFrom(target, 9), []byte(forged))
			packet := frame.IPv6(source, target, frame.ProtoUDP, datagram)
			frames = append(frames,
				frame.Ethernet(frame.GatewayMAC, a.mac, frame.TypeIPv6, packet),
				frame.Ethernet(frame.Broadcast, a.mac, frame.TypeIPv6, packet),
				// With the type of IPv4, which it is not.
				frame.Ethernet(frame.GatewayMAC, a.mac, frame.TypeIPv4, packet),
				// Inside IPv4, as next header 41.
				a.ipv4(to.Underlay, frame.ProtoIPv6, packet))
		}
	}
	return frames
}

// tunnels returns packets of other tunnels at a host's underlay address.
func (a attack) tunnels(host netip.Addr, inner []byte) [][]byte {
	var frames [][]byte
	for _, port := range []uint16{4789, 8472, 6081, 51820} {
		source, target := netip.AddrPortFrom(a.from.IP, 51820), netip.AddrPortFrom(host, port)
		frames = append(frames,
			a.ipv4(host, frame.ProtoUDP, frame.UDP(source, target, frame.VXLAN(a.vni, inner))),
			// WireGuard's transport message begins with 4.
			a.ipv4(host, frame.ProtoUDP, frame.UDP(source, target, append([]byte{4, 0, 0, 0}, inner...))))
	}
	return append(frames,
		a.ipv4(host, frame.ProtoIPIP, inner[14:]),
		a.ipv4(host, frame.ProtoGRE, append([]byte{0, 0, 0x08, 0}, inner[14:]...)))
}

// odd returns what is unusual on the way straight to the victim.
func (a attack) odd(victim *lab.Container, inner []byte) [][]byte {
	packet := inner[14:]
	vlan := append([]byte{0, byte(a.vni), 0x08, 0}, packet...)
	fragment := frame.IPv4{Src: a.from.IP, Dst: victim.IP, Protocol: frame.ProtoUDP, FragmentWord: 0x2000}
	options := append([]byte(nil), packet...)
	options[0] = 0x46
	lying := append([]byte(nil), packet...)
	lying[2], lying[3] = 0xff, 0xff
	var frames [][]byte
	for _, to := range []net.HardwareAddr{victim.MAC(), frame.GatewayMAC, frame.Broadcast} {
		frames = append(frames,
			frame.Ethernet(to, a.mac, frame.TypeIPv4, packet),
			frame.Ethernet(to, a.mac, 0x8100, vlan),
			frame.Ethernet(to, a.mac, 0x88a8, vlan),
			frame.Ethernet(to, a.mac, 0x88b5, []byte(forged)),
			frame.Ethernet(to, a.mac, frame.TypeIPv4, fragment.Packet([]byte(forged))),
			frame.Ethernet(to, a.mac, frame.TypeIPv4, options),
			frame.Ethernet(to, a.mac, frame.TypeIPv4, lying),
			frame.Ethernet(to, a.mac, frame.TypeIPv4, packet[:12]))
	}
	for _, many := range []string{"255.255.255.255", "10.0.0.255", "224.0.0.1", "127.0.0.1", "0.0.0.0"} {
		target := netip.AddrPortFrom(addr(many), 9)
		datagram := frame.UDP(netip.AddrPortFrom(a.from.IP, 9), target, []byte(forged))
		frames = append(frames, a.ipv4(target.Addr(), frame.ProtoUDP, datagram))
	}
	return frames
}

// ipv4 is a packet from the attacker's own address, by the gateway.
func (a attack) ipv4(to netip.Addr, protocol uint8, payload []byte) []byte {
	packet := frame.IPv4{Src: a.from.IP, Dst: to, Protocol: protocol}.Packet(payload)
	return frame.Ethernet(frame.GatewayMAC, a.mac, frame.TypeIPv4, packet)
}

// vniOf is the number of a VPC.
func vniOf(t *testing.T, host *lab.Host, vpc string) uint32 {
	t.Helper()
	var shown struct{ VNI uint32 }
	host.CtlJSON(&shown, "vpc", "show", vpc)
	if shown.VNI == 0 {
		t.Fatalf("VPC %s has no number", vpc)
	}
	return shown.VNI
}

// tenantAddress is what a tenant's address is translated to on a node: its /64,
// kind 1, the VNI, the IPv4 address.
func tenantAddress(t *testing.T, on *lab.Host, vni uint32, ip netip.Addr) netip.Addr {
	t.Helper()
	self, err := on.Node(on.Name)
	if err != nil {
		t.Fatalf("read node %s: %v", on.Name, err)
	}
	prefix, err := netip.ParsePrefix(self.GetPrefix())
	if err != nil {
		t.Fatalf("prefix of %s: %v", on.Name, err)
	}
	bytes := prefix.Addr().As16()
	bytes[8], bytes[9], bytes[10], bytes[11] = 1, byte(vni>>16), byte(vni>>8), byte(vni)
	copy(bytes[12:], ip.AsSlice())
	return netip.AddrFrom16(bytes)
}

// Root on one host can send what it likes into its own tunnel. It can speak for
// the endpoints of that host, and for nobody else.
//
//	edge-1: web 10.0.0.2    edge-2: db 10.0.0.3 (victim)    edge-3: own 10.0.0.4, taken over
func TestATakenNodeSpeaksOnlyForItself(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	hosts := l.Mesh("edge-1", "edge-2", "edge-3")
	hosts[0].VPC("blue", "10.0.0.0/24")
	hosts[0].VPC("red", "10.0.0.0/24")
	hosts[0].Group("blue", "all", open)
	web, db, own := hosts[0].Container("web"), hosts[1].Container("db"), hosts[2].Container("own")
	web.Attach("blue", "10.0.0.2", "all")
	db.Attach("blue", "10.0.0.3", "all")
	own.Attach("blue", "10.0.0.4", "all")
	own.Reaches(db, "icmp")
	web.Reaches(db, "icmp")
	blue, red := vniOf(t, hosts[0], "blue"), vniOf(t, hosts[0], "red")

	peer, err := hosts[2].Node("edge-2")
	if err != nil {
		t.Fatal(err)
	}
	thief, device := hosts[2].Insider("thief"), peer.GetTunnel().GetDevice()
	target := tenantAddress(t, hosts[1], blue, db.IP)
	send := func(source, target netip.Addr, payload string) {
		datagram := frame.UDP(netip.AddrPortFrom(source, 4444), netip.AddrPortFrom(target, 9), []byte(payload))
		thief.Injects(device, frame.IPv6(source, target, frame.ProtoUDP, datagram))
	}

	proof := db.Captures("eth0")
	send(tenantAddress(t, hosts[2], blue, own.IP), target, "honest")
	proof.Shows("what the node may send", func(f frame.Frame) bool {
		return f.Src == own.IP && bytes.Contains(f.Payload, []byte("honest"))
	})
	proof.Stop()

	capture := db.Captures("eth0")
	send(tenantAddress(t, hosts[2], blue, web.IP), target, forged)                                // another node's endpoint
	send(tenantAddress(t, hosts[0], blue, web.IP), target, forged)                                // another node's prefix
	send(tenantAddress(t, hosts[2], blue, addr("10.0.0.9")), target, forged)                      // nobody's address
	send(tenantAddress(t, hosts[2], red, own.IP), target, forged)                                 // from VPC to VPC
	send(tenantAddress(t, hosts[2], red, own.IP), tenantAddress(t, hosts[1], red, db.IP), forged) // a VPC not there
	send(tenantAddress(t, hosts[2], blue, own.IP), tenantAddress(t, hosts[0], blue, db.IP), forged)
	own.Reaches(db, "icmp")
	capture.ShowsNone("a forged packet", isForged)

	// Nor do the services of a host listen inside the tunnel.
	for _, port := range []int{7946, 7947} {
		url := fmt.Sprintf("https://[%s]:%d/", peer.GetAddress(), port)
		if result := thief.Runs("curl", "-sk", "--max-time", "2", url); result.Code == 0 {
			t.Errorf("port %d of edge-2 answers inside the tunnel", port)
		}
	}
	var status struct{ Drops map[string]uint64 }
	hosts[1].CtlJSON(&status, "status")
	for _, reason := range []string{"host-service", "no-route"} {
		if status.Drops[reason] == 0 {
			t.Errorf("edge-2 tells of the drops %v, want some for %s", status.Drops, reason)
		}
	}
}

// isInClear tells whether a frame of the underlay is a tenant's packet, or one of
// the overlay.
func isInClear(f frame.Frame) bool {
	overlay := f.EtherType == frame.TypeIPv6 && f.Src.IsValid() && f.Src.As16()[0] == 0xfd
	tenant := f.EtherType == frame.TypeIPv4 && f.Src.IsValid() && (f.Src.As4()[0] == 10 || f.Dst.As4()[0] == 10)
	return overlay || tenant
}

// Whoever listens on the wire reads nothing of tenants, and what the wire says
// in the overlay's own addresses is not believed.
//
//	edge-1 ══ tunnel ══ edge-2         stranger, on the same wire
func TestTheWireIsNotTrusted(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	hosts, blue, _ := twoTenants(l)
	edge1, edge2 := hosts[1], hosts[2]
	stranger := l.Stranger("stranger")
	blue.web.Reaches(blue.db, "icmp")

	wire := edge1.Wiretap()
	blue.web.Says("udp", blue.db.IP, 53, "a tenant's secret")
	blue.web.Reaches(blue.db, "icmp", "tcp/7", "udp/53", "http/80")
	wire.ShowsNone("a tenant's or an overlay packet in clear", func(f frame.Frame) bool {
		return isInClear(f) || bytes.Contains(f.Payload, []byte("a tenant's secret"))
	})

	vni := vniOf(t, edge1, "blue")
	capture := blue.web.Captures("eth0")
	source, target := tenantAddress(t, edge2, vni, blue.db.IP), tenantAddress(t, edge1, vni, blue.web.IP)
	datagram := frame.UDP(netip.AddrPortFrom(source, 4444), netip.AddrPortFrom(target, 9), []byte(forged))
	packet := frame.IPv6(source, target, frame.ProtoUDP, datagram)
	mac := edge1.Insider("look").MACOf("underlay0")
	inner := udpFrame(blue.web.MAC(), blue.db.IP, blue.web.IP, forged)
	vxlan := frame.UDP(netip.AddrPortFrom(stranger.IP, 4789), netip.AddrPortFrom(edge1.Underlay, 4789), frame.VXLAN(vni, inner))
	stranger.Injects("underlay0",
		frame.Ethernet(mac, stranger.MACOf("underlay0"), frame.TypeIPv6, packet),
		frame.Ethernet(mac, stranger.MACOf("underlay0"), frame.TypeIPv4, inner[14:]),
		frame.Ethernet(mac, stranger.MACOf("underlay0"), frame.TypeIPv4,
			frame.IPv4{Src: stranger.IP, Dst: edge1.Underlay, Protocol: frame.ProtoUDP}.Packet(vxlan)))
	blue.db.Reaches(blue.web, "icmp")
	capture.ShowsNone("a packet from the wire", isForged)
}
