package daemon

import (
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strings"

	"edgenet.dev/edgenet/internal/records"
	"edgenet.dev/edgenet/pkg/isolation"
	"edgenet.dev/edgenet/pkg/policy"
)

// part is the share of one VPC in the datapath of this host.
type part struct {
	from inputs
	// compiler knows what the rules were, hosts and sets are what it was given.
	compiler *policy.Compiler
	hosts    []policy.Host
	sets     [][]string
	compiled *policy.Compiled
	// tables are those of the sets, in their order.
	tables []tables
	// made is handed over at the same place for as long as it is the same.
	made *isolation.VPC
	// err says why the rules could not be worked out.
	err error
}

// tables are the policies of a set of groups.
type tables struct{ ingress, egress, shadowIngress, shadowEgress policy.ID }

// use makes what the datapath is to know from what the compiler gave. What is
// as it was in before is the same memory.
func (p *part) use(s *snapshot, before *part) {
	p.made, p.tables = &isolation.VPC{Policies: p.compiled.Tables}, p.policies()
	if before == nil {
		p.made.Endpoints = p.endpoints()
		p.made.Addresses, _ = p.addresses(s, map[netip.Addr]isolation.Location{})
		p.made.Routes = p.routes(s)
		return
	}
	resettled := before.from.vpc.holdings != p.from.vpc.holdings
	p.made.Addresses = before.made.Addresses
	if resettled || !sameMap(before.compiled.Identities, p.compiled.Identities) {
		p.made.Addresses, p.made.Changed = p.addressesAfter(s, before)
	}
	p.made.Routes = before.made.Routes
	if resettled || !sameMap(before.compiled.Prefixes, p.compiled.Prefixes) {
		p.made.Routes = p.routes(s)
	}
	p.made.Endpoints = before.made.Endpoints
	if resettled || before.from.mtu != p.from.mtu || !slices.Equal(before.tables, p.tables) {
		p.made.Endpoints = p.endpoints()
	}
	if !resettled && len(p.made.Changed) == 0 && maps.Equal(before.compiled.Tables, p.compiled.Tables) &&
		sameMap(before.made.Endpoints, p.made.Endpoints) && sameMap(before.made.Routes, p.made.Routes) {
		p.made = before.made
		return
	}
	// One step back is enough to keep in memory.
	before.made.Since, p.made.Since = nil, before.made
}

// sameMap tells whether two maps are the same memory, which is never changed.
func sameMap[K comparable, V any](a, b map[K]V) bool {
	return reflect.ValueOf(a).Pointer() == reflect.ValueOf(b).Pointer()
}

// policies are those of the sets, in their order.
func (p *part) policies() []tables {
	out := make([]tables, len(p.sets))
	for i, set := range p.sets {
		out[i] = tables{
			p.compiled.Policy(set, policy.Ingress), p.compiled.Policy(set, policy.Egress),
			p.compiled.ShadowPolicy(set, policy.Ingress), p.compiled.ShadowPolicy(set, policy.Egress),
		}
	}
	return out
}

// endpoints are those of this host.
func (p *part) endpoints() map[string]isolation.Endpoint {
	v := p.from.vpc
	bySet := make(map[string]tables, len(p.sets))
	for i, of := range p.tables {
		bySet[strings.Join(p.sets[i], ",")] = of
	}
	out := make(map[string]isolation.Endpoint, len(v.local))
	networks := v.networks()
	for _, e := range v.local {
		d := e.desired(networks, p.from.mtu)
		of := bySet[strings.Join(e.groups(), ",")]
		d.Ingress, d.Egress = of.ingress, of.egress
		d.ShadowIngress, d.ShadowEgress = of.shadowIngress, of.shadowEgress
		out[e.name] = d
	}
	return out
}

// addresses makes in what is to be known of the endpoints' own addresses, and
// returns it with the addresses that were otherwise before.
func (p *part) addresses(s *snapshot, in map[netip.Addr]isolation.Location) (map[netip.Addr]isolation.Location, []netip.Addr) {
	v := p.from.vpc
	var changed []netip.Addr
	for addr, e := range v.hosts {
		want := s.locate(e, p.compiled.Identities[addr])
		if old, ok := in[addr]; ok && old == want {
			continue
		}
		in[addr] = want
		changed = append(changed, addr)
	}
	if len(in) > len(v.hosts) {
		maps.DeleteFunc(in, func(addr netip.Addr, _ isolation.Location) bool {
			gone := v.hosts[addr] == nil
			if gone {
				changed = append(changed, addr)
			}
			return gone
		})
	}
	return in, changed
}

// addressesAfter changes the addresses of before into those of now, and returns
// them with those that were otherwise.
func (p *part) addressesAfter(s *snapshot, before *part) (map[netip.Addr]isolation.Location, []netip.Addr) {
	in, v := before.made.Addresses, p.from.vpc
	moved, known := p.compiled.Moved(before.compiled)
	if !known || p.from.self != before.from.self {
		return p.addresses(s, in)
	}
	var changed []netip.Addr
	for _, addr := range slices.Concat(moved, v.touched(before.from.vpc.holdings)) {
		old, was := in[addr]
		e := v.hosts[addr]
		if e == nil {
			if was {
				delete(in, addr)
				changed = append(changed, addr)
			}
			continue
		}
		if want := s.locate(e, p.compiled.Identities[addr]); !was || old != want {
			in[addr] = want
			changed = append(changed, addr)
		}
	}
	return in, changed
}

// routes are the prefixes behind endpoints, cut where rules tell their addresses
// apart.
func (p *part) routes(s *snapshot) map[netip.Prefix]isolation.Location {
	out := make(map[netip.Prefix]isolation.Location, len(p.compiled.Prefixes))
	for prefix, identity := range p.compiled.Prefixes {
		if e := p.from.vpc.holder(prefix); e != nil {
			out[prefix] = s.locate(e, identity)
		}
	}
	return out
}

// holder is the endpoint that has all of a prefix, but for longer ones in it.
func (h *holdings) holder(p netip.Prefix) *endpoint {
	if p.IsSingleIP() {
		if e := h.announced[p.Addr()]; e != nil {
			return e
		}
	}
	return h.behind(p)
}

// locate says where an endpoint is.
func (s *snapshot) locate(e *endpoint, identity policy.Identity) isolation.Location {
	if e.node == s.self.ID {
		return isolation.Location{Endpoint: isolation.Key{VNI: e.vni, Name: e.name}, Identity: identity}
	}
	return isolation.Location{Node: s.nodes[e.node].Prefix, Identity: identity}
}

// cutOff are the endpoints of this host when nothing may pass.
func (v *vpc) cutOff(mtu int) map[string]isolation.Endpoint {
	out := make(map[string]isolation.Endpoint, len(v.local))
	for _, e := range v.local {
		d := e.desired(v.networks(), mtu)
		d.Superseded = true
		out[e.name] = d
	}
	return out
}

// networks are the VPC's prefixes with their gateways.
func (v *vpcRecord) networks() []isolation.Network {
	out := make([]isolation.Network, 0, len(v.prefixes))
	for _, p := range v.prefixes {
		out = append(out, isolation.Network{Prefix: p, Gateway: records.Gateway(p)})
	}
	return out
}

// leastMTU6 is what an interface with IPv6 has at least (RFC 8200).
const leastMTU6 = 1280

// mtu is that of the endpoint's interface over a tunnel that leaves it so much of
// IPv4. IPv6 takes no more than it has, and what does not fit is told so.
func (e *endpoint) mtu(over int) int {
	if slices.ContainsFunc(e.addrs, netip.Addr.Is6) {
		return max(over, leastMTU6)
	}
	return over
}

// desired is an endpoint of this host as the datapath wants it, but for its
// policies.
func (e *endpoint) desired(networks []isolation.Network, mtu int) isolation.Endpoint {
	d := isolation.Endpoint{
		Key:        isolation.Key{VNI: e.vni, Name: e.name},
		Addresses:  e.addrs,
		Routed:     e.routed,
		Networks:   networks,
		Netns:      e.record.GetNetns(),
		Ifname:     e.record.GetIfname(),
		Device:     e.record.GetDevice(),
		MTU:        e.mtu(mtu),
		Superseded: !e.holds(),
	}
	switch e.record.GetKind() {
	case records.KindNetns:
		d.Kind = isolation.KindNetns
	case records.KindTap:
		d.Kind = isolation.KindTap
	case records.KindDevice:
		d.Kind = isolation.KindDevice
	}
	if text := e.record.GetMac(); text != "" {
		if mac, err := records.ParseMAC(text); err == nil { // As Validate has seen to.
			d.MAC = mac
		}
	}
	return d
}
