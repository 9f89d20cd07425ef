package frame

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
)

// Frame is what a scenario asks of a captured frame.
type Frame struct {
	To, From  net.HardwareAddr
	EtherType uint16
	// Src and Dst are valid for IPv4, IPv6 and ARP (its sender and target).
	Src, Dst netip.Addr
	// Protocol of IPv4 and IPv6.
	Protocol uint8
	// Payload is what follows the IP header, or the Ethernet header.
	Payload []byte
}

// Parse reads an Ethernet frame. A header that is cut short is an error.
func Parse(bytes []byte) (Frame, error) {
	if len(bytes) < 14 {
		return Frame{}, fmt.Errorf("parse frame: %d bytes are no Ethernet header", len(bytes))
	}
	f := Frame{
		To: bytes[0:6], From: bytes[6:12],
		EtherType: binary.BigEndian.Uint16(bytes[12:]), Payload: bytes[14:],
	}
	switch f.EtherType {
	case TypeIPv4:
		return f, f.parseIPv4()
	case TypeIPv6:
		return f, f.parseIPv6()
	case TypeARP:
		return f, f.parseARP()
	default:
		return f, nil
	}
}

func (f *Frame) parseIPv4() error {
	header := f.Payload
	if len(header) < 20 || header[0]>>4 != 4 {
		return fmt.Errorf("parse frame: no IPv4 header in %d bytes", len(header))
	}
	length := int(header[0]&15) * 4
	if length < 20 || len(header) < length {
		return fmt.Errorf("parse frame: IPv4 header of %d in %d bytes", length, len(header))
	}
	f.Protocol = header[9]
	f.Src, _ = netip.AddrFromSlice(header[12:16])
	f.Dst, _ = netip.AddrFromSlice(header[16:20])
	f.Payload = header[length:]
	return nil
}

func (f *Frame) parseIPv6() error {
	header := f.Payload
	if len(header) < 40 || header[0]>>4 != 6 {
		return fmt.Errorf("parse frame: no IPv6 header in %d bytes", len(header))
	}
	f.Protocol = header[6]
	f.Src, _ = netip.AddrFromSlice(header[8:24])
	f.Dst, _ = netip.AddrFromSlice(header[24:40])
	f.Payload = header[40:]
	return nil
}

func (f *Frame) parseARP() error {
	if len(f.Payload) < 28 {
		return fmt.Errorf("parse frame: ARP of %d bytes", len(f.Payload))
	}
	f.Src, _ = netip.AddrFromSlice(f.Payload[14:18])
	f.Dst, _ = netip.AddrFromSlice(f.Payload[24:28])
	return nil
}

// String says in one line what the frame is.
func (f Frame) String() string {
	return fmt.Sprintf("%s -> %s type %04x: %s -> %s protocol %d, %d bytes",
		f.From, f.To, f.EtherType, f.Src, f.Dst, f.Protocol, len(f.Payload))
}
