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

// derive computes the datapath of this host from the records. It is pure. A VPC
// that cannot be compiled is reported under its VNI: its endpoints are cut off
// and keep their devices, other VPCs are not touched.
func derive(s *snapshot, tunnels []string, reaches map[mesh.NodeID]reach, mtu int) (isolation.State, map[uint32]error) {
	state := isolation.State{
		Tunnels:   tunnels,
		Prefix:    s.self.Prefix,
		Endpoints: map[isolation.Key]isolation.Endpoint{},
		Addresses: map[isolation.Address]isolation.Location{},
		Nodes:     map[netip.Prefix]isolation.Node{},
		Policies:  map[policy.ID]*policy.Table{},
	}
	for id, r := range reaches {
		if n, ok := s.nodes[id]; ok && !n.Local {
			state.Nodes[n.Prefix] = isolation.Node{Prefix: n.Prefix, Device: r.device, MTU: r.mtu}
		}
	}
	local := map[uint32][]*endpoint{}
	for _, e := range s.endpoints {
		if e.node == s.self.ID {
			local[e.vni] = append(local[e.vni], e)
		}
	}
	problems := map[uint32]error{}
	for _, vni := range slices.Sorted(maps.Keys(local)) {
		v, ok := s.byVNI[vni]
		if !ok {
			continue
		}
		if err := deriveVPC(s, v, local[vni], mtu-tenantOverhead, &state); err != nil {
			problems[vni] = fmt.Errorf("vpc %s: %w", v.name, err)
		}
	}
	return state, problems
}

// deriveVPC adds a VPC that this host has endpoints of.
func deriveVPC(s *snapshot, v *vpc, local []*endpoint, mtu int, state *isolation.State) error {
	compiled, err := policy.Compile(v.policy(local))
	if err != nil {
		for _, e := range local {
			d := e.desired(v, mtu)
			d.Superseded = true
			state.Endpoints[d.Key] = d
		}
		return fmt.Errorf("compile groups: %w", err)
	}
	maps.Copy(state.Policies, compiled.Tables)
	for addr, e := range v.hosts {
		where := isolation.Location{Identity: compiled.Identities[addr]}
		if e.node == s.self.ID {
			where.Endpoint = isolation.Key{VNI: v.vni(), Name: e.name}
		} else {
			where.Node = s.nodes[e.node].Prefix
		}
		state.Addresses[isolation.Address{VNI: v.vni(), Addr: addr}] = where
	}
	for _, e := range local {
		d := e.desired(v, mtu)
		d.Ingress = compiled.Policy(e.record.GetGroups(), policy.Ingress)
		d.Egress = compiled.Policy(e.record.GetGroups(), policy.Egress)
		state.Endpoints[d.Key] = d
	}
	return nil
}

// policy is the VPC as the compiler wants it.
func (v *vpc) policy(local []*endpoint) policy.VPC {
	in := policy.VPC{VNI: v.vni(), Hosts: make([]policy.Host, 0, len(v.hosts))}
	for _, name := range slices.Sorted(maps.Keys(v.groups)) {
		in.Groups = append(in.Groups, policy.Group{Name: name, Rules: v.groups[name].rules})
	}
	for addr, e := range v.hosts {
		in.Hosts = append(in.Hosts, policy.Host{Addr: addr, Groups: e.record.GetGroups()})
	}
	for _, e := range local {
		in.Sets = append(in.Sets, e.record.GetGroups())
	}
	return in
}

// desired is an endpoint of this host as the datapath wants it.
func (e *endpoint) desired(v *vpc, mtu int) isolation.Endpoint {
	d := isolation.Endpoint{
		Key:        isolation.Key{VNI: e.vni, Name: e.name},
		Address:    e.addr,
		Prefixes:   v.prefixes,
		Netns:      e.record.GetNetns(),
		Ifname:     e.record.GetIfname(),
		Device:     e.record.GetDevice(),
		MTU:        mtu,
		Superseded: !e.holds(),
	}
	for _, p := range v.prefixes {
		if p.Contains(e.addr) {
			d.Gateway = records.Gateway(p)
		}
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
