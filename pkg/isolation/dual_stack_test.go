package isolation

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
)

// dualPair are two hosts with a tenant of both families on them.
//
//	a: web 10.0.0.2 fd00:64::2, behind it 10.9.0.0/24 fd00:9::/64
//	   db  10.0.0.3 fd00:64::3
//	b: far 10.0.0.4 fd00:64::4
type dualPair struct {
	a, b         *host
	web, db, far *space
}

func newDualPair(t *testing.T, mtu int) *dualPair {
	t.Helper()
	p := &dualPair{web: newSpace(t), db: newSpace(t), far: newSpace(t)}
	p.a, p.b = newPair(t, AttachAuto)
	dual := func(h *host, name, address, address6 string, s *space) Endpoint {
		e := h.endpoint(testVNI, name, address, s)
		e.Addresses = append(e.Addresses, netip.MustParseAddr(address6))
		e.Networks = []Network{{vpc, gateway}, {vpc6, gateway6}}
		e.MTU = mtu
		h.put(e)
		return e
	}
	web := dual(p.a, "web", "10.0.0.2", "fd00:64::2", p.web)
	web.Routed = []netip.Prefix{netip.MustParsePrefix("10.9.0.0/24"), netip.MustParsePrefix("fd00:9::/64")}
	p.a.put(web)
	dual(p.a, "db", "10.0.0.3", "fd00:64::3", p.db)
	dual(p.b, "far", "10.0.0.4", "fd00:64::4", p.far)
	p.a.state.Routes, p.b.state.Routes = map[Route]Location{}, map[Route]Location{}
	for _, prefix := range web.Routed {
		p.a.state.Routes[Route{testVNI, prefix}] = Location{Endpoint: webKey, Identity: someone}
		p.b.state.Routes[Route{testVNI, prefix}] = Location{Node: nodeA, Identity: someone}
	}
	for _, address := range []string{"10.0.0.2", "10.0.0.3", "fd00:64::2", "fd00:64::3"} {
		p.b.knows(testVNI, address, nodeA)
	}
	p.a.knows(testVNI, "10.0.0.4", nodeB)
	p.a.knows(testVNI, "fd00:64::4", nodeB)
	p.a.apply()
	p.b.apply()
	p.web.nested("10.9.0.7/32", "fd00:9::7/128")
	return p
}

// nested gives a space addresses of a network behind it.
func (s *space) nested(prefixes ...string) {
	s.t.Helper()
	in(s, func() (any, error) {
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return nil, err
		}
		for _, p := range prefixes {
			addr, err := netlink.ParseAddr(p)
			if err == nil {
				err = netlink.AddrAdd(lo, nodad(addr))
			}
			if err != nil {
				return nil, fmt.Errorf("%s: %w", p, err)
			}
		}
		return nil, nil
	})
}

// reachesFrom pings from an address of the space's.
func (s *space) reachesFrom(from, to string) {
	s.t.Helper()
	if err := s.pingFrom(from, to, 1, answerWithin); err != nil {
		s.t.Fatalf("ping %s from %s: %v", to, from, err)
	}
}

func TestDualStackAcrossHosts(t *testing.T) {
	p := newDualPair(t, 1400)
	for _, to := range []string{"10.0.0.1", "fd00:64::1", "10.0.0.3", "fd00:64::3", "10.0.0.4", "fd00:64::4"} {
		p.web.reaches(to)
	}
	for _, to := range []string{"10.9.0.7", "fd00:9::7"} {
		p.db.reaches(to)
		p.far.reaches(to)
	}
	p.web.reachesFrom("10.9.0.7", "10.0.0.4")
	p.web.reachesFrom("fd00:9::7", "fd00:64::4")
	p.web.doesNotReach("fd00:64::99")
	for at, servers := range map[*space][]string{p.db: {"10.0.0.3", "fd00:64::3"}, p.far: {"10.0.0.4", "fd00:64::4"}} {
		for _, server := range servers {
			tcp, udp := net.JoinHostPort(server, "80"), net.JoinHostPort(server, "53")
			at.serveTCP(tcp)
			at.serveUDP(udp)
			p.web.echoesFrom("", tcp, 8<<20)
			// The larger ones go in fragments, there and back.
			for _, size := range []int{1, 1300, 2000, 8000, 60000} {
				if err := p.web.asks(udp, make([]byte, size), answerWithin); err != nil {
					t.Errorf("datagram of %d bytes to %s: %v", size, server, err)
				}
			}
		}
	}
	// Whole packets inside of others, cut by the sender's host.
	p.web.echoesFrom("fd00:9::7", "[fd00:64::4]:80", 8<<20)
	p.web.echoesFrom("10.9.0.7", "10.0.0.4:80", 1<<20)
}

// echoesFrom opens a connection from an address, or any, and wants back what it
// sends.
func (s *space) echoesFrom(from, to string, size int) {
	s.t.Helper()
	dialer := net.Dialer{Timeout: answerWithin}
	if from != "" {
		dialer.LocalAddr = &net.TCPAddr{IP: net.ParseIP(from)}
	}
	c := in(s, func() (net.Conn, error) { return dialer.DialContext(s.t.Context(), "tcp", to) })
	defer func() { _ = c.Close() }()
	echoes(s.t, c, size)
}

// Interfaces whose MTU is not the tunnel's are told what fits.
func TestPathMTUIsFoundOut(t *testing.T) {
	p := newDualPair(t, 1500)
	for server, want := range map[string]int{"10.0.0.4": tunnelMTU - 20, "fd00:64::4": tunnelMTU} {
		p.far.serveUDP(net.JoinHostPort(server, "53"))
		c := in(p.web, func() (net.Conn, error) { return net.Dial("udp", net.JoinHostPort(server, "53")) }).(*net.UDPConn)
		level, discover, do, mtu := unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO, unix.IP_MTU
		if strings.Contains(server, ":") {
			level, discover, do, mtu = unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_DO, unix.IPV6_MTU
		}
		control(t, c, func(fd int) error { return unix.SetsockoptInt(fd, level, discover, do) })
		eventually(t, func() error {
			if _, err := c.Write(make([]byte, 1450)); !errors.Is(err, syscall.EMSGSIZE) {
				return fmt.Errorf("the path takes it all: %w", err)
			}
			return nil
		})
		control(t, c, func(fd int) error {
			got, err := unix.GetsockoptInt(fd, level, mtu)
			if err == nil && got != want {
				t.Errorf("MTU to %s is %d, want %d", server, got, want)
			}
			return err
		})
		// On one host there is no tunnel to fit.
		_ = c.Close()
		p.far.serveTCP(net.JoinHostPort(server, "80"))
		p.web.echoesFrom("", net.JoinHostPort(server, "80"), 4<<20)
	}
	p.db.serveUDP("10.0.0.3:53")
	if err := p.web.asks("10.0.0.3:53", make([]byte, 1472), answerWithin); err != nil {
		t.Error(err)
	}
}

// A traceroute shows the gateway, then the target.
func TestTracerouteShowsTheGateway(t *testing.T) {
	p := newDualPair(t, 1400)
	for _, to := range []string{"10.0.0.3", "10.0.0.4", "fd00:64::3", "fd00:64::4"} {
		want := []string{"10.0.0.1", to}
		if strings.Contains(to, ":") {
			want[0] = "fd00:64::1"
		}
		for hops, from := range want {
			if got, err := p.web.hop(to, hops+1); err != nil || got != from {
				t.Errorf("hop %d to %s is %s, want %s: %v", hops+1, to, got, from, err)
			}
		}
	}
}

// hop pings with so many hops to live, and says who answers.
func (s *space) hop(to string, hops int) (string, error) {
	network, protocol, request := "ip4:icmp", 1, icmp.Type(ipv4.ICMPTypeEcho)
	if strings.Contains(to, ":") {
		network, protocol, request = "ip6:ipv6-icmp", 58, ipv6.ICMPTypeEchoRequest
	}
	c := in(s, func() (*icmp.PacketConn, error) { return icmp.ListenPacket(network, "") })
	defer func() { _ = c.Close() }()
	var err error
	if protocol == 1 {
		err = c.IPv4PacketConn().SetTTL(hops)
	} else {
		err = c.IPv6PacketConn().SetHopLimit(hops)
	}
	if err != nil {
		return "", err
	}
	b, err := (&icmp.Message{Type: request, Body: &icmp.Echo{ID: hops, Seq: 1}}).Marshal(nil)
	if err != nil {
		return "", err
	}
	if _, err := c.WriteTo(b, &net.IPAddr{IP: net.ParseIP(to)}); err != nil {
		return "", err
	}
	if err := c.SetReadDeadline(time.Now().Add(answerWithin)); err != nil {
		return "", err
	}
	for buf := make([]byte, 2000); ; {
		n, from, err := c.ReadFrom(buf)
		if err != nil {
			return "", err
		}
		m, err := icmp.ParseMessage(protocol, buf[:n])
		if err != nil {
			return "", err
		}
		switch m.Type {
		case ipv4.ICMPTypeEchoReply, ipv6.ICMPTypeEchoReply, ipv4.ICMPTypeTimeExceeded, ipv6.ICMPTypeTimeExceeded:
			return from.String(), nil
		}
	}
}
