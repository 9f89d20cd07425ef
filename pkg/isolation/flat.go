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

func (s *State) flat() *flatState {
	f := &flatState{
		Tunnels: s.Tunnels, Prefix: s.Prefix, Nodes: s.Nodes,
		Endpoints: map[Key]Endpoint{}, Addresses: map[Address]Location{}, Routes: map[Route]Location{},
		Policies: map[policy.ID]*policy.Table{},
	}
	for vni, v := range s.VPCs {
		for name, e := range v.Endpoints {
			f.Endpoints[Key{vni, name}] = e
		}
		for addr, l := range v.Addresses {
			f.Addresses[Address{vni, addr}] = l
		}
		for prefix, l := range v.Routes {
			f.Routes[Route{vni, prefix}] = l
		}
		for id, t := range v.Policies {
			f.Policies[id] = t
		}
	}
	return f
}
