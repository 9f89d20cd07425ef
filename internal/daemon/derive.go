package daemon

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

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
	// assumed says that nothing is known of mtu yet.
	assumed bool
	// reqID is what its packets are known by that come by the kernel's IPsec.
	reqID uint32
	// upper is the half of its /64 that packets to it have.
	upper bool
	// dead says that the node does not answer.
	dead bool
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
			state.Nodes[n.Prefix] = isolation.Node{Prefix: n.Prefix, Device: r.device, MTU: r.mtu, Assumed: r.assumed, RequestID: r.reqID, Upper: r.upper, Dead: r.dead}
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

// deriveVPC derives the part of a VPC that this host has endpoints of. What is
// as it was in before, which may be nil, is taken from there, and before's maps
// are changed.
func deriveVPC(s *snapshot, from inputs, before *part) *part {
	v, p := from.vpc, &part{from: from, compiler: new(policy.Compiler)}
	if from.evicted {
		p.err = errEvicted
		p.made = &isolation.VPC{Endpoints: v.cutOff(from.mtu)}
		return p
	}
	if before != nil {
		p.compiler = before.compiler
		if before.err != nil {
			before = nil // There is nothing to go on from.
		}
	}
	if before != nil && before.from.vpc.holdings == v.holdings {
		p.hosts, p.sets = before.hosts, before.sets
	} else {
		p.hosts, p.sets = v.hostList(), v.sets()
	}
	compiled, err := p.compiler.Compile(v.policy(p.hosts, p.sets))
	if err != nil {
		p.err = fmt.Errorf("compile groups: %w", err)
		p.made = &isolation.VPC{Endpoints: v.cutOff(from.mtu)}
		return p
	}
	p.compiled = compiled
	p.use(s, before)
	return p
}

// policy is the VPC as the compiler wants it.
func (v *vpc) policy(hosts []policy.Host, sets [][]string) policy.VPC {
	in := policy.VPC{VNI: v.vni(), CIDRs: v.prefixes, Hosts: hosts, Sets: sets}
	in.Groups = make([]policy.Group, 0, len(v.groups))
	for _, name := range slices.Sorted(maps.Keys(v.groups)) {
		in.Groups = append(in.Groups, policy.Group{Name: name, Rules: v.groups[name].rules})
	}
	if v.shadow != nil {
		in.Shadow = withRules(in, v.shadow.rules).Groups
	}
	return in
}

// whole is the VPC as the simulator wants it.
func (v *vpc) whole() policy.VPC { return v.policy(v.hostList(), v.sets()) }

// hostList are the addresses and prefixes of the VPC's endpoints.
func (v *vpc) hostList() []policy.Host {
	hosts := make([]policy.Host, 0, len(v.hosts))
	for _, e := range v.all {
		if !e.holds() {
			continue
		}
		for _, addr := range e.addrs {
			hosts = append(hosts, policy.Host{Name: e.name, Addr: addr, Groups: e.groups()})
		}
	}
	shared := make(map[netip.Prefix]*endpoint, len(v.carriers)+len(v.announced))
	for p, carriers := range v.carriers {
		shared[p] = carriers[0]
	}
	for addr, e := range v.announced {
		shared[netip.PrefixFrom(addr, addr.BitLen())] = e
	}
	for _, p := range slices.SortedFunc(maps.Keys(shared), netip.Prefix.Compare) {
		hosts = append(hosts, policy.Host{Name: shared[p].name, Prefix: p, Groups: shared[p].groups()})
	}
	return hosts
}

// sets are the sets of groups that this host's endpoints carry, each once.
func (v *vpc) sets() [][]string {
	seen := map[string]bool{}
	var sets [][]string
	for _, e := range v.local {
		if key := strings.Join(e.groups(), ","); !seen[key] {
			seen[key] = true
			sets = append(sets, e.groups())
		}
	}
	return sets
}
