package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/net/ipv6"
)

// listen opens a raw ICMPv6 socket on the address that sees echo replies only.
// The socket stays usable when the address goes and comes back.
func listen(source netip.Addr) (net.PacketConn, error) {
	var config net.ListenConfig
	c, err := config.ListenPacket(context.Background(), "ip6:ipv6-icmp", source.String())
	if err != nil {
		return nil, fmt.Errorf("open ICMPv6 socket: %w", err)
	}
	var filter ipv6.ICMPFilter
	filter.SetAll(true)
	filter.Accept(ipv6.ICMPTypeEchoReply)
	if err := ipv6.NewPacketConn(c).SetICMPFilter(&filter); err != nil {
		return nil, errors.Join(fmt.Errorf("filter ICMPv6 socket: %w", err), c.Close())
	}
	return c, nil
}

// source returns the sender's address, or the zero address.
func source(a net.Addr) netip.Addr {
	ip, ok := a.(*net.IPAddr)
	if !ok {
		return netip.Addr{}
	}
	addr, _ := netip.AddrFromSlice(ip.IP)
	return addr
}
