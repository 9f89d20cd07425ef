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
