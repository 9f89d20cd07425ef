package policy

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
)

// world makes random VPCs in which rules, hosts and flows meet often.
type world struct{ *rand.Rand }

func (w world) group() string { return fmt.Sprintf("g%d", w.IntN(6)) }

// addr is one of 24 addresses of each family, at both ends of small networks.
func (w world) addr() netip.Addr {
	net, host := byte(w.IntN(3)), byte(w.IntN(8))
	if w.IntN(3) == 0 {
		return netip.AddrFrom16([16]byte{0: 0xfd, 7: net, 15: host})
	}
	return netip.AddrFrom4([4]byte{10, 0, net, host})
}

// cidr is a prefix around an address, often one inside a network.
func (w world) cidr(addr netip.Addr) netip.Prefix {
	bits := pick(w, 0, 8, 22, 23, 24, 29, 30, 31, 32)
	if addr.Is6() {
		bits = pick(w, 0, 8, 60, 63, 64, 125, 126, 127, 128)
	}
	return netip.PrefixFrom(addr, bits).Masked()
}

func pick[T any](w world, from ...T) T { return from[w.IntN(len(from))] }

func (w world) port() uint16 {
	return pick[uint16](w, 0, 1, 2, 79, 80, 81, 443, 8<<8, 8<<8|1, 8<<8|255, 9<<8, math.MaxUint16-1, math.MaxUint16)
}

func (w world) peer() Peer {
	switch w.IntN(3) {
	case 0:
		return Peer{Kind: PeerAny}
	case 1:
		return Peer{Kind: PeerGroup, Group: w.group()}
	}
	p := Peer{Kind: PeerCIDR, CIDR: w.cidr(w.addr())}
	for range w.IntN(6) {
		if e := w.cidr(w.addr()); e.Bits() > p.CIDR.Bits() && p.CIDR.Contains(e.Addr()) {
			p.Except = append(p.Except, e)
		}
	}
	p.Except = mergeExcept(p.Except)
	return p
}

func (w world) rule() Rule {
	r := Rule{
		Direction: pick(w, Ingress, Ingress, Egress),
		Action:    pick(w, Allow, Allow, Deny),
		Priority:  pick(w, Priority{}, Priority{}, PriorityOf(0), PriorityOf(10), PriorityOf(65535)),
		Protocol:  Protocol(w.IntN(6)),
		Peer:      w.peer(),
		Disabled:  w.IntN(8) == 0,
	}
	switch r.Protocol {
	case ProtocolTCP, ProtocolUDP, ProtocolSCTP:
		for range w.IntN(4) {
			first, last := max(1, w.port()), max(1, w.port())
			r.Ports = append(r.Ports, PortRange{First: min(first, last), Last: max(first, last)})
		}
		r.Ports = mergePorts(r.Ports)
	case ProtocolICMP, ProtocolICMPv6:
		if r.Peer.Kind == PeerCIDR {
			r.Protocol = ProtocolICMP
			if r.Peer.CIDR.Addr().Is6() {
				r.Protocol = ProtocolICMPv6
			}
		}
		port := w.port()
		r.ICMP = pick(w, ICMP{}, ICMP{HasType: true, Type: uint8(port >> 8)}, ICMP{HasType: true, HasCode: true, Type: uint8(port >> 8), Code: uint8(port)})
	case ProtocolAny:
	}
	return r
}

func (w world) rules(n int) []Rule {
	var rules []Rule
	seen := map[string]bool{}
	for range n {
		if r := w.rule(); !seen[r.ID()] {
			seen[r.ID()] = true
			rules = append(rules, r)
		}
	}
	return rules
}

func (w world) groups() []Group {
	groups := []Group{}
	for i := range 6 {
		if w.IntN(5) > 0 { // else rules and hosts may still name it
			groups = append(groups, Group{Name: fmt.Sprintf("g%d", i), Rules: w.rules(w.IntN(7))})
		}
	}
	w.Shuffle(len(groups), func(i, j int) { groups[i], groups[j] = groups[j], groups[i] })
	return groups
}

func (w world) host() Host {
	h := Host{Addr: w.addr()}
	if w.IntN(6) == 0 {
		h = Host{Prefix: w.cidr(w.addr())}
	}
	for range w.IntN(4) {
		h.Groups = append(h.Groups, w.group())
	}
	return h
}

func (w world) hosts(n int) []Host {
	var hosts []Host
	for range n {
		h := w.host()
		if !slices.ContainsFunc(hosts, func(other Host) bool { return other.Addr == h.Addr && other.Prefix == h.Prefix }) {
			hosts = append(hosts, h)
		}
	}
	return hosts
}

func (w world) vpc() VPC {
	v := VPC{VNI: uint32(1 + w.IntN(MaxVNI)), CIDRs: w.cidrs(), Groups: w.groups(), Hosts: w.hosts(14)}
	if w.IntN(3) > 0 {
		v.Shadow = w.groups()
	}
	v.Sets = setsOf(v.Hosts)
	return v
}

// cidrs are those of a VPC; hosts may be outside them.
func (w world) cidrs() []netip.Prefix {
	return pick(w, nil,
		[]netip.Prefix{prefix("10.0.0.0/22")},
		[]netip.Prefix{prefix("10.0.0.0/22"), prefix("fd00::/60")},
		[]netip.Prefix{prefix("10.0.0.0/24"), prefix("10.0.1.0/24"), prefix("fd00::/64")})
}

func (w world) flow(v VPC) Flow {
	end := func() netip.Addr {
		if h := v.Hosts[w.IntN(len(v.Hosts))]; h.Addr.IsValid() && w.IntN(6) > 0 {
			return h.Addr
		}
		return w.addr()
	}
	f := Flow{Source: end(), Destination: end(), Protocol: pick[uint8](w, 6, 6, 17, 1, 58, 132, 0, 47), Port: w.port()}
	for tries := 0; f.Source.Is4() != f.Destination.Is4() && tries < 8; tries++ {
		f.Destination = end()
	}
	return f
}
