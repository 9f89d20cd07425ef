package policy

import (
	"net/netip"
	"sort"
)

// ICMPPort is what stands for a port in ICMP and ICMPv6: type and code in one
// number.
func ICMPPort(icmpType, code uint8) uint16 { return uint16(icmpType)<<8 | uint16(code) }

// Identity is that of an address: its own, or that of the longest prefix around
// it. It is 0 for an address that no host has.
func (c *Compiled) Identity(addr netip.Addr) Identity {
	_, id := c.locate(addr)
	return id
}

// locate finds what gives an address its identity: the address itself as a
// prefix of full length, or the longest prefix around it.
func (c *Compiled) locate(addr netip.Addr) (netip.Prefix, Identity) {
	if id, ok := c.Identities[addr]; ok {
		return netip.PrefixFrom(addr, addr.BitLen()), id
	}
	if len(c.Prefixes) == 0 {
		return netip.Prefix{}, 0
	}
	for bits := addr.BitLen(); bits >= 0; bits-- {
		// Prefix fails for no length that the family has.
		if prefix, err := addr.Prefix(bits); err == nil {
			if id, ok := c.Prefixes[prefix]; ok {
				return prefix, id
			}
		}
	}
	return netip.Prefix{}, 0
}

// Row finds the intervals for a match, as the datapath does. There are none for
// who has no identity.
func (t *Table) Row(m Match) []Interval {
	if m.Identity == m.Identity.Rest() {
		return nil
	}
	if row, ok := t.Verdicts[m]; ok {
		return row
	}
	m.Identity = m.Identity.Rest()
	return t.Verdicts[m]
}

// Lookup finds the rule that decides on a port, as the datapath does: by binary
// search. Without one, the verdict is that of the default, which drops.
func (t *Table) Lookup(m Match, port uint16) (RuleRef, Action) {
	intervals := t.Row(m)
	i := sort.Search(len(intervals), func(i int) bool { return intervals[i].Last >= port })
	if i == len(intervals) || intervals[i].First > port {
		return RuleRef{}, Deny
	}
	return t.Rules[intervals[i].Rule], intervals[i].Action
}
