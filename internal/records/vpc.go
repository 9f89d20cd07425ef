package records

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"edgenet.dev/edgenet/pkg/mesh"
)

// Prefix lengths that a VPC may have: room for a gateway and an endpoint at
// the one end, no more than the private /8 at the other.
const (
	minPrefixLen = 8
	maxPrefixLen = 30
)

// ParseCIDRs parses the prefixes of a VPC: at least one, IPv4, with no host
// bits, none overlapping another, nothing that is not a unicast network.
func ParseCIDRs(texts []string) ([]netip.Prefix, error) {
	if len(texts) == 0 {
		return nil, errors.New("cidr: want at least one, such as 10.0.0.0/24")
	}
	if len(texts) > MaxCIDRs {
		return nil, fmt.Errorf("%d cidrs: at most %d", len(texts), MaxCIDRs)
	}
	prefixes := make([]netip.Prefix, 0, len(texts))
	for _, text := range texts {
		p, err := parseCIDR(text)
		if err != nil {
			return nil, err
		}
		for _, other := range prefixes {
			if p.Overlaps(other) {
				return nil, fmt.Errorf("cidr %s: overlaps %s", p, other)
			}
		}
		prefixes = append(prefixes, p)
	}
	return prefixes, nil
}

func parseCIDR(text string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return p, fmt.Errorf("cidr %q: want a prefix such as 10.0.0.0/24", text)
	}
	if !p.Addr().Is4() {
		return p, fmt.Errorf("cidr %s: want IPv4", p)
	}
	if p != p.Masked() {
		return p, fmt.Errorf("cidr %s: has host bits; did you mean %s?", p, p.Masked())
	}
	if p.Bits() < minPrefixLen || p.Bits() > maxPrefixLen {
		return p, fmt.Errorf("cidr %s: want a length of %d to %d", p, minPrefixLen, maxPrefixLen)
	}
	a := p.Addr()
	if a.IsMulticast() || a.IsLoopback() || a.IsUnspecified() || a.IsLinkLocalUnicast() || a.As4()[0] >= 240 || a.As4()[0] == 0 {
		return p, fmt.Errorf("cidr %s: is not a network for unicast hosts", p)
	}
	return p, nil
}

// Gateway is the VPC's own address in a prefix: its first host.
func Gateway(p netip.Prefix) netip.Addr { return p.Addr().Next() }

// Broadcast is the last address of an IPv4 prefix.
func Broadcast(p netip.Prefix) netip.Addr {
	a := p.Addr().As4()
	host := uint32(1)<<(32-p.Bits()) - 1
	var last [4]byte
	binary.BigEndian.PutUint32(last[:], binary.BigEndian.Uint32(a[:])|host)
	return netip.AddrFrom4(last)
}

// DecodeVPC decodes a record that has passed Validate.
func DecodeVPC(r mesh.Record) (*VPC, error) { return decode(r.Payload, &VPC{}) }

// Prefixes are the prefixes of a VPC that has passed Validate.
func (v *VPC) Prefixes() []netip.Prefix {
	prefixes := make([]netip.Prefix, 0, len(v.GetCidrs()))
	for _, text := range v.GetCidrs() {
		if p, err := parseCIDR(text); err == nil {
			prefixes = append(prefixes, p)
		}
	}
	return prefixes
}

// CheckAddress says why an endpoint cannot have an address in the VPC, and
// else returns the prefix that it is in.
func CheckAddress(prefixes []netip.Prefix, addr netip.Addr) (netip.Prefix, error) {
	for _, p := range prefixes {
		if !p.Contains(addr) {
			continue
		}
		switch addr {
		case p.Addr():
			return p, fmt.Errorf("ip %s: is the network address of %s", addr, p)
		case Gateway(p):
			return p, fmt.Errorf("ip %s: is the gateway of %s", addr, p)
		case Broadcast(p):
			return p, fmt.Errorf("ip %s: is the broadcast address of %s", addr, p)
		}
		return p, nil
	}
	return netip.Prefix{}, fmt.Errorf("ip %s: is in none of the VPC's prefixes %v", addr, prefixes)
}
