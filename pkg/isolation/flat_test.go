package isolation

import (
	"net/netip"

	"edgenet.dev/edgenet/pkg/policy"
)

// flatState is a State with its VPCs put together.
type flatState struct {
	Tunnels   []string
	Prefix    netip.Prefix
	Endpoints map[Key]Endpoint
	Addresses map[Address]Location
	Routes    map[Route]Location
	Nodes     map[netip.Prefix]Node
	Policies  map[policy.ID]*policy.Table
}

// Address is a destination of a VPC.
type Address struct {
	VNI  uint32
	Addr netip.Addr
}

// Route is a prefix of a VPC.
type Route struct {
	VNI    uint32
	Prefix netip.Prefix
}

// State is the VPCs taken apart. Tables go to all of them, as no test cares.
func (f *flatState) State() State {
	s := State{Tunnels: f.Tunnels, Prefix: f.Prefix, Nodes: f.Nodes, VPCs: map[uint32]*VPC{}}
	vpc := func(vni uint32) *VPC {
		if s.VPCs[vni] == nil {
			s.VPCs[vni] = &VPC{
				Endpoints: map[string]Endpoint{}, Addresses: map[netip.Addr]Location{},
				Routes: map[netip.Prefix]Location{}, Policies: map[policy.ID]*policy.Table{},
			}
			for id, t := range f.Policies {
				s.VPCs[vni].Policies[id] = t
			}
		}
		return s.VPCs[vni]
	}
	for key, e := range f.Endpoints {
		vpc(key.VNI).Endpoints[key.Name] = e
	}
	for a, l := range f.Addresses {
		vpc(a.VNI).Addresses[a.Addr] = l
	}
	for r, l := range f.Routes {
		vpc(r.VNI).Routes[r.Prefix] = l
	}
	return s
}
