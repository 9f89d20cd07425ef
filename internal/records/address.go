package records

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Addresses are the endpoint's own, the primary one first.
func (e *Endpoint) Addresses() ([]netip.Addr, error) {
	if n := 1 + len(e.GetMoreIps()); n > MaxAddresses {
		return nil, fmt.Errorf("%d ips: at most %d", n, MaxAddresses)
	}
	addrs := make([]netip.Addr, 0, 1+len(e.GetMoreIps()))
	for i := range cap(addrs) {
		text := e.GetIp()
		if i > 0 {
			text = e.GetMoreIps()[i-1]
		}
		addr, err := ParseAddress(text)
		switch {
		case err != nil:
			return nil, err
		case addr.String() != text:
			return nil, fmt.Errorf("ip %q: want it written as %s", text, addr)
		case slices.Contains(addrs, addr):
			return nil, fmt.Errorf("ip %s: is there twice", addr)
		}
		addrs = append(addrs, addr)
	}
	return addrs, nil
}

// ParseAddress parses an address of an endpoint, whatever its VPC.
func ParseAddress(text string) (netip.Addr, error) {
	addr, err := netip.ParseAddr(text)
	if err != nil || addr.Zone() != "" || addr.Is4In6() {
		return netip.Addr{}, fmt.Errorf("ip %q: want an IPv4 or IPv6 address such as 10.0.0.5 or fd00:1::5", text)
	}
	return addr, nil
}

// Routed are the prefixes behind the endpoint.
func (e *Endpoint) Routed() ([]netip.Prefix, error) {
	if n := len(e.GetPrefixes()); n > MaxPrefixes {
		return nil, fmt.Errorf("%d prefixes: at most %d", n, MaxPrefixes)
	}
	var prefixes []netip.Prefix
	for _, text := range e.GetPrefixes() {
		p, err := ParseRouted(text)
		switch {
		case err != nil:
			return nil, err
		case p.String() != text:
			return nil, fmt.Errorf("prefix %q: want it written as %s", text, p)
		case slices.Contains(prefixes, p):
			return nil, fmt.Errorf("prefix %s: is there twice", p)
		}
		prefixes = append(prefixes, p)
	}
	return prefixes, nil
}

// ParseRouted parses a prefix behind an endpoint, whatever its VPC.
func ParseRouted(text string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(text)
	switch {
	case err != nil || p.Addr().Is4In6():
		return netip.Prefix{}, fmt.Errorf("prefix %q: want a prefix such as 10.0.1.0/24 or 10.0.0.100/32", text)
	case p != p.Masked():
		return netip.Prefix{}, fmt.Errorf("prefix %s: has host bits; did you mean %s?", p, p.Masked())
	}
	return p, nil
}

// CheckAddress says why an endpoint cannot have an address in the VPC, and
// else returns the prefix that it is in.
func CheckAddress(prefixes []netip.Prefix, addr netip.Addr) (netip.Prefix, error) {
	for _, p := range prefixes {
		if p.Contains(addr) {
			return p, special(p, addr, "ip")
		}
	}
	return netip.Prefix{}, fmt.Errorf("ip %s: is in none of the VPC's prefixes %s", addr, join(prefixes))
}

// special says what an address of a prefix is, if it is for no endpoint; what is
// the word for the address.
func special(p netip.Prefix, addr netip.Addr, what string) error {
	switch addr {
	case p.Addr():
		return fmt.Errorf("%s %s: is the network address of %s", what, addr, p)
	case Gateway(p):
		return fmt.Errorf("%s %s: is the gateway of %s", what, addr, p)
	case broadcast(p):
		return fmt.Errorf("%s %s: is the broadcast address of %s", what, addr, p)
	}
	return nil
}

// CheckRouted says why an endpoint cannot have a prefix of the VPC behind it.
func CheckRouted(prefixes []netip.Prefix, routed netip.Prefix) error {
	for _, p := range prefixes {
		switch {
		case p.Bits() > routed.Bits() || !p.Contains(routed.Addr()):
		case routed.IsSingleIP():
			return special(p, routed.Addr(), "prefix")
		default:
			return nil
		}
	}
	return fmt.Errorf("prefix %s: is in none of the VPC's prefixes %s", routed, join(prefixes))
}

func join(prefixes []netip.Prefix) string {
	words := make([]string, 0, len(prefixes))
	for _, p := range prefixes {
		words = append(words, p.String())
	}
	return strings.Join(words, ",")
}

// checkAddresses checks all that the endpoint says of addresses.
func (e *Endpoint) checkAddresses() error {
	if _, err := e.Addresses(); err != nil {
		return err
	}
	routed, err := e.Routed()
	if err != nil {
		return err
	}
	if n := len(e.GetAnnounced()); n > MaxAnnounced {
		return fmt.Errorf("%d addresses announced: at most %d", n, MaxAnnounced)
	}
	for _, a := range e.GetAnnounced() {
		addr, err := ParseAddress(a.GetAddress())
		if err != nil {
			return fmt.Errorf("announced: %w", err)
		}
		if !slices.ContainsFunc(routed, func(p netip.Prefix) bool { return p.Contains(addr) }) {
			return fmt.Errorf("announced %s: is in none of the endpoint's prefixes", addr)
		}
	}
	return nil
}
