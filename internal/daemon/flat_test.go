package daemon

import (
	"net/netip"

	"edgenet.dev/edgenet/pkg/isolation"
	"edgenet.dev/edgenet/pkg/policy"
)

// flat is a state with the VPCs put together, for tests to look things up in.
type flat struct {
	Endpoints map[isolation.Key]isolation.Endpoint
	Addresses map[vpcAddress]isolation.Location
	Policies  map[policy.ID]*policy.Table
}

type vpcAddress struct {
	VNI  uint32
	Addr netip.Addr
}

func flatten(s isolation.State) flat {
	f := flat{
		Endpoints: map[isolation.Key]isolation.Endpoint{},
		Addresses: map[vpcAddress]isolation.Location{},
		Policies:  map[policy.ID]*policy.Table{},
	}
	for vni, v := range s.VPCs {
		for name, e := range v.Endpoints {
			f.Endpoints[isolation.Key{VNI: vni, Name: name}] = e
		}
		for addr, l := range v.Addresses {
			f.Addresses[vpcAddress{vni, addr}] = l
		}
		for id, t := range v.Policies {
			f.Policies[id] = t
		}
	}
	return f
}
