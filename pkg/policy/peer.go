package policy

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

const groupPrefix = "group:"

// ParsePeer reads the other side of a rule, without exceptions: a CIDR as
// "10.0.0.0/24" or "fd00:1::/64", an address as "10.0.0.7", a group of the same
// VPC as "group:web", or "any".
func ParsePeer(s string) (Peer, error) {
	p, err := parsePeer(s)
	if err != nil {
		return Peer{}, fmt.Errorf("parse peer %q: %w", s, err)
	}
	return p, nil
}

// String is the twin of [ParsePeer]: an address is written as its CIDR, and
// exceptions are left out.
func (p Peer) String() string {
	switch p.Kind {
	case PeerAny:
		return "any"
	case PeerCIDR:
		return p.CIDR.String()
	case PeerGroup:
		return groupPrefix + p.Group
	default:
		return fmt.Sprintf("Peer(%d)", uint8(p.Kind))
	}
}

func parsePeer(s string) (Peer, error) {
	if s == "any" {
		return Peer{Kind: PeerAny}, nil
	}
	if name, ok := strings.CutPrefix(s, groupPrefix); ok {
		p := Peer{Kind: PeerGroup, Group: name}
		return p, p.validate()
	}
	cidr, ok := parseCIDR(s)
	if !ok {
		return Peer{}, errors.New("write a CIDR (10.0.0.0/24), an address (10.0.0.7), group:NAME or any")
	}
	p := Peer{Kind: PeerCIDR, CIDR: cidr}
	return p, p.validate()
}

// parseCIDR reads a CIDR, or an address as the CIDR of its full length.
func parseCIDR(s string) (netip.Prefix, bool) {
	if addr, err := netip.ParseAddr(s); err == nil && addr.Zone() == "" {
		return netip.PrefixFrom(addr, addr.BitLen()), true
	}
	cidr, err := netip.ParsePrefix(s)
	return cidr, err == nil
}

func (p Peer) validate() error {
	if len(p.Except) > 0 && p.Kind != PeerCIDR {
		return fmt.Errorf("%s has exceptions: only a CIDR has them", p)
	}
	switch p.Kind {
	case PeerAny:
		return nil
	case PeerCIDR:
		if err := validateCIDR(p.CIDR); err != nil {
			return err
		}
		return validateExcept(p.CIDR, p.Except)
	case PeerGroup:
		return ValidateName(p.Group)
	default:
		return fmt.Errorf("kind %d is none of any, CIDR and group", p.Kind)
	}
}

func validateCIDR(cidr netip.Prefix) error {
	if !cidr.IsValid() {
		return errors.New("CIDR is not set or not valid")
	}
	if !supported(cidr.Addr()) {
		return fmt.Errorf("%s is IPv4 within IPv6: write %s", cidr, cidr.Addr().Unmap())
	}
	if masked := cidr.Masked(); masked != cidr {
		return fmt.Errorf("%s has bits set behind its length: write %s for the network or %s for the address",
			cidr, masked, cidr.Addr())
	}
	return nil
}

// supported tells whether tenants may have the address: each has one form only.
func supported(addr netip.Addr) bool { return addr.IsValid() && !addr.Is4In6() && addr.Zone() == "" }
