package policy

import (
	"net/netip"
	"slices"
)

// end is where flows begin or end, as far as tables tell: an address, or the
// addresses of a prefix that no rule tells apart.
type end struct {
	host     *Host
	part     netip.Prefix // of full length for an address
	identity Identity
	class    int
}

// endpoint is what the end belongs to; flows within it never meet a rule.
func (e *end) endpoint() string {
	if e.host.Name != "" {
		return e.host.Name
	}
	return e.part.String()
}

// endClass is what all ends have in common that rules treat alike.
type endClass struct {
	identity Identity
	tables   policiesOf
}

type policiesOf [sides][Egress + 1]*Table

// ends are all ends of a VPC, and the tables that rule them.
type ends struct {
	vpc      VPC
	compiled *Compiled
	all      []end
	classes  []endClass
}

// findEnds compiles the VPC, with the tables of all its hosts.
func (v VPC) findEnds() (*ends, error) {
	v.Sets = make([][]string, len(v.Hosts))
	for i, h := range v.Hosts {
		v.Sets[i] = h.Groups
	}
	compiled, err := Compile(v)
	if err != nil {
		return nil, err
	}
	e := &ends{vpc: v, compiled: compiled}
	known := make(map[endClass]int)
	for i := range v.Hosts {
		h := &v.Hosts[i]
		if h.Addr.IsValid() {
			e.add(known, h, netip.PrefixFrom(h.Addr, h.Addr.BitLen()), compiled.Identities[h.Addr])
		}
	}
	for part, identity := range compiled.Prefixes {
		if _, other := compiled.Identities[part.Addr()]; other && part.IsSingleIP() {
			continue
		}
		if _, some := e.sample(&end{part: part}, part); some {
			e.add(known, v.routed(part), part, identity)
		}
	}
	// In an order that nothing but the VPC decides.
	slices.SortFunc(e.all, func(a, b end) int { return a.part.Compare(b.part) })
	return e, nil
}

// routed is the host with the longest prefix around a part of it. There is one.
func (v VPC) routed(part netip.Prefix) *Host {
	var found *Host
	for i := range v.Hosts {
		h := &v.Hosts[i]
		if h.Prefix.IsValid() && h.Prefix.Bits() <= part.Bits() && h.Prefix.Contains(part.Addr()) &&
			(found == nil || h.Prefix.Bits() > found.Prefix.Bits()) {
			found = h
		}
	}
	return found
}

// sample is the first address of an end inside a prefix that overlaps it. There
// is none if every one of them is another end's.
func (e *ends) sample(of *end, within netip.Prefix) (netip.Addr, bool) {
	if within.Bits() < of.part.Bits() {
		within = of.part
	}
	last := lastAddr(within)
	for addr := within.Addr(); addr.IsValid() && addr.Compare(last) <= 0; {
		around, _ := e.compiled.locate(addr)
		if around == of.part {
			return addr, true
		}
		addr = lastAddr(around).Next()
	}
	return netip.Addr{}, false
}

func (e *ends) add(known map[endClass]int, h *Host, part netip.Prefix, identity Identity) {
	c := endClass{identity: identity}
	ids := e.compiled.sets[string(appendNames(nil, normalSet(h.Groups)))]
	for side := range ids {
		for _, dir := range directions {
			c.tables[side][dir] = e.compiled.Tables[ids[side][dir]]
		}
	}
	class, ok := known[c]
	if !ok {
		class = len(e.classes)
		known[c] = class
		e.classes = append(e.classes, c)
	}
	e.all = append(e.all, end{host: h, part: part, identity: identity, class: class})
}

// protocolsOf are the values of Match.Protocol that packets of a family have.
func protocolsOf(family Identity) []uint8 {
	if family == Rest6 {
		return []uint8{protoTCP, protoUDP, protoSCTP, protoICMPv6, protoOther}
	}
	return []uint8{protoTCP, protoUDP, protoSCTP, protoICMP, protoOther}
}

// rowsOf are the rows that decide on flows between two classes: the source's
// egress, and the destination's ingress.
func (e *ends) rowsOf(side, source, destination int, protocol uint8) (egress, ingress []Interval) {
	s, d := &e.classes[source], &e.classes[destination]
	if out := s.tables[side][Egress]; out != nil {
		egress = out.Row(Match{Identity: d.identity, Protocol: protocol})
	}
	if in := d.tables[side][Ingress]; in != nil {
		ingress = in.Row(Match{Identity: s.identity, Protocol: protocol})
	}
	return egress, ingress
}
