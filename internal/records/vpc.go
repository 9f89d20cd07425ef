package records

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"edgenet.dev/edgenet/pkg/mesh"
)

// Prefix lengths that a VPC may have: room for a gateway and an endpoint at
// the one end, no more than the private /8, or a site's /48, at the other.
const (
	minBits4, maxBits4 = 8, 30
	minBits6, maxBits6 = 48, 126
)

// The networks from which a VPC's IPv6 prefixes are: unique local (RFC 4193) and
// global unicast addresses (RFC 4291).
var unicast6 = []netip.Prefix{netip.MustParsePrefix("fc00::/7"), netip.MustParsePrefix("2000::/3")}

// ParseCIDRs parses the prefixes of a VPC: at least one, IPv4 or IPv6, with no
// host bits, none overlapping another, nothing that is not a unicast network.
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
		return p, fmt.Errorf("cidr %q: want a prefix such as 10.0.0.0/24 or fd00:1::/64", text)
	}
	if p != p.Masked() {
		return p, fmt.Errorf("cidr %s: has host bits; did you mean %s?", p, p.Masked())
	}
	shortest, longest := minBits4, maxBits4
	if p.Addr().Is6() {
		shortest, longest = minBits6, maxBits6
	}
	if p.Bits() < shortest || p.Bits() > longest {
		return p, fmt.Errorf("cidr %s: want a length of %d to %d", p, shortest, longest)
	}
	if !isUnicast(p.Addr()) {
		return p, fmt.Errorf("cidr %s: is not a network for unicast hosts", p)
	}
	return p, nil
}

func isUnicast(a netip.Addr) bool {
	if a.Is6() {
		return slices.ContainsFunc(unicast6, func(p netip.Prefix) bool { return p.Contains(a) })
	}
	return !a.IsMulticast() && !a.IsLoopback() && !a.IsUnspecified() && !a.IsLinkLocalUnicast() && a.As4()[0] < 240 && a.As4()[0] != 0
}

// Gateway is the VPC's own address in a prefix: its first host.
func Gateway(p netip.Prefix) netip.Addr { return p.Addr().Next() }

// broadcast is the last address of an IPv4 prefix; IPv6 has none.
func broadcast(p netip.Prefix) netip.Addr {
	if p.Addr().Is6() {
		return netip.Addr{}
	}
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
