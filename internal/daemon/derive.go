package daemon

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"edgenet.dev/edgenet/internal/records"
	"edgenet.dev/edgenet/pkg/isolation"
	"edgenet.dev/edgenet/pkg/mesh"
	"edgenet.dev/edgenet/pkg/policy"
)

// tenantOverhead is what the translation of IPv4 to IPv6 adds to a packet, in
// bytes: 40 for the IPv6 header less 20 for the IPv4 header.
const tenantOverhead = 20

// reach is the tunnel to one node.
type reach struct {
	device string
	mtu    int
}

// derive computes the datapath of this host from the records. It is pure.
func (d *derived) derive(s *snapshot, tunnels []string, reaches map[mesh.NodeID]reach, mtu int) (isolation.State, map[uint32]error) {
	return d.update(s, mtu).assemble(s, tunnels, reaches)
}

// assemble makes the whole of its parts. A VPC that cannot be compiled is
// reported under its VNI: its endpoints are cut off and keep their devices, other
// VPCs are not touched.
func (d derived) assemble(s *snapshot, tunnels []string, reaches map[mesh.NodeID]reach) (isolation.State, map[uint32]error) {
	state := isolation.State{
		Tunnels: tunnels,
		Prefix:  s.self.Prefix,
		Nodes:   map[netip.Prefix]isolation.Node{},
		VPCs:    make(map[uint32]*isolation.VPC, len(d)),
	}
	for id, r := range reaches {
		if n, ok := s.nodes[id]; ok && !n.Local {
			state.Nodes[n.Prefix] = isolation.Node{Prefix: n.Prefix, Device: r.device, MTU: r.mtu}
		}
	}
	problems := map[uint32]error{}
	for vni, p := range d {
		if p.err != nil {
			problems[vni] = fmt.Errorf("vpc %s: %w", p.from.vpc.name, p.err)
		}
		state.VPCs[vni] = p.made
	}
	return state, problems
}

// deriveVPC derives the part of a VPC that this host has endpoints of.
func deriveVPC(s *snapshot, from inputs) *part {
	v, p := from.vpc, &part{from: from}
	p.made = &isolation.VPC{Endpoints: make(map[string]isolation.Endpoint, len(v.local))}
	for _, e := range v.local {
		p.made.Endpoints[e.name] = e.desired(v, from.mtu)
	}
	compiled, err := policy.Compile(v.policy())
	if err != nil {
		for name, e := range p.made.Endpoints {
			e.Superseded = true
			p.made.Endpoints[name] = e
		}
		p.err = fmt.Errorf("compile groups: %w", err)
		return p
	}
	p.made.Policies = compiled.Tables
	p.made.Addresses = make(map[netip.Addr]isolation.Location, len(v.hosts))
	for addr, e := range v.hosts {
		where := isolation.Location{Identity: compiled.Identities[addr]}
		if e.node == s.self.ID {
			where.Endpoint = isolation.Key{VNI: v.vni(), Name: e.name}
		} else {
			where.Node = s.nodes[e.node].Prefix
		}
		p.made.Addresses[addr] = where
	}
	for _, e := range v.local {
		d := p.made.Endpoints[e.name]
		d.Ingress = compiled.Policy(e.groups(), policy.Ingress)
		d.Egress = compiled.Policy(e.groups(), policy.Egress)
		p.made.Endpoints[e.name] = d
	}
	return p
}

// policy is the VPC as the compiler wants it.
func (v *vpc) policy() policy.VPC {
	in := policy.VPC{VNI: v.vni(), CIDRs: v.prefixes, Hosts: make([]policy.Host, 0, len(v.hosts))}
	for _, name := range slices.Sorted(maps.Keys(v.groups)) {
		in.Groups = append(in.Groups, policy.Group{Name: name, Rules: v.groups[name].rules})
	}
	for addr, e := range v.hosts {
		in.Hosts = append(in.Hosts, policy.Host{Addr: addr, Groups: e.groups()})
	}
	for _, e := range v.local {
		in.Sets = append(in.Sets, e.groups())
	}
	return in
}

// desired is an endpoint of this host as the datapath wants it.
func (e *endpoint) desired(v *vpc, mtu int) isolation.Endpoint {
	d := isolation.Endpoint{
		Key:        isolation.Key{VNI: e.vni, Name: e.name},
		Addresses:  e.addrs,
		Netns:      e.record.GetNetns(),
		Ifname:     e.record.GetIfname(),
		Device:     e.record.GetDevice(),
		MTU:        mtu,
		Superseded: !e.holds(),
	}
	for _, p := range v.prefixes {
		d.Networks = append(d.Networks, isolation.Network{Prefix: p, Gateway: records.Gateway(p)})
	}
	switch e.record.GetKind() {
	case records.KindNetns:
		d.Kind = isolation.KindNetns
	case records.KindTap:
		d.Kind = isolation.KindTap
	case records.KindDevice:
		d.Kind = isolation.KindDevice
	}
	if mac, err := records.ParseMAC(e.record.GetMac()); err == nil {
		d.MAC = mac
	}
	return d
}
