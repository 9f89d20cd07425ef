package frame

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"
)

var (
	web = netip.MustParseAddr("10.0.0.2")
	db  = netip.MustParseAddr("10.0.0.3")
)

func TestBuiltPacketsAreReadBack(t *testing.T) {
	payload := []byte("hello")
	datagram := UDP(netip.AddrPortFrom(web, 4000), netip.AddrPortFrom(db, 53), payload)
	bytesOf := Ethernet(GatewayMAC, Broadcast, TypeIPv4, IPv4{Src: web, Dst: db, Protocol: ProtoUDP}.Packet(datagram))
	got, err := Parse(bytesOf)
	if err != nil {
		t.Fatal(err)
	}
	if got.Src != web || got.Dst != db || got.Protocol != ProtoUDP || !bytes.Equal(got.Payload, datagram) {
		t.Errorf("read back %v with payload %q", got, got.Payload)
	}
}

func TestChecksumsVerify(t *testing.T) {
	datagram := UDP(netip.AddrPortFrom(web, 4000), netip.AddrPortFrom(db, 53), []byte("odd"))
	pseudo := append(web.AsSlice(), db.AsSlice()...)
	pseudo = binary.BigEndian.AppendUint32(pseudo, uint32(len(datagram)))
	pseudo = append(pseudo, 0, 0, 0, ProtoUDP)
	if got := fold(sum(sum(0, pseudo), datagram)); got != 0 {
		t.Errorf("UDP checksum leaves %#x", got)
	}
	header := IPv4{Src: web, Dst: db, Protocol: ProtoUDP}.Packet(nil)
	if got := fold(sum(0, header)); got != 0 {
		t.Errorf("IPv4 checksum leaves %#x", got)
	}
}

func TestNeighbourDiscoveryIsFromThisLink(t *testing.T) {
	station, everyone := netip.MustParseAddr("fd00::2"), netip.MustParseAddr("ff02::1")
	for name, packet := range map[string][]byte{
		"advertisement":        Advertisement(station, everyone, station, GatewayMAC),
		"solicitation":         Solicitation(station, everyone, station, GatewayMAC),
		"router advertisement": RouterAdvertisement(station, everyone, GatewayMAC),
		"redirect":             Redirect(station, everyone, station, station),
	} {
		got, err := Parse(Ethernet(Broadcast, GatewayMAC, TypeIPv6, packet))
		if err != nil || got.Src != station || got.Dst != everyone || got.Protocol != ProtoICMPv6 || packet[7] != 255 {
			t.Errorf("%s: read back %v, hop limit %d: %v", name, got, packet[7], err)
		}
		pseudo := append(station.AsSlice(), everyone.AsSlice()...)
		pseudo = append(binary.BigEndian.AppendUint32(pseudo, uint32(len(got.Payload))), 0, 0, 0, ProtoICMPv6)
		if left := fold(sum(sum(0, pseudo), got.Payload)); left != 0 {
			t.Errorf("%s: the checksum leaves %#x", name, left)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(Ethernet(GatewayMAC, Broadcast, TypeARP, ARP(ARPRequest, GatewayMAC, web, db)))
	f.Add(Ethernet(GatewayMAC, Broadcast, TypeIPv6, IPv6(netip.IPv6Loopback(), netip.IPv6Loopback(), ProtoUDP, nil)))
	f.Add(Ethernet(GatewayMAC, Broadcast, TypeIPv4, IPv4{Src: web, Dst: db}.Packet(nil)))
	f.Fuzz(func(_ *testing.T, bytes []byte) {
		if frame, err := Parse(bytes); err == nil {
			_ = frame.String()
		}
	})
}
