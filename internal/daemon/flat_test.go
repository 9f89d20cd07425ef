package daemon

import (
	"maps"
	"net/netip"
	"reflect"
	"slices"

	"edgenet.dev/edgenet/pkg/isolation"
	"edgenet.dev/edgenet/pkg/policy"
)

// flat is a state with the VPCs put together, for tests to look things up in.
type flat struct {
	Endpoints map[isolation.Key]isolation.Endpoint
	Addresses map[vpcAddress]isolation.Location
	Routes    map[vpcPrefix]isolation.Location
	Policies  map[policy.ID]*policy.Table
}

type vpcAddress struct {
	VNI  uint32
	Addr netip.Addr
}

type vpcPrefix struct {
	VNI    uint32
	Prefix netip.Prefix
}

func flatten(s isolation.State) flat {
	f := flat{
		Endpoints: map[isolation.Key]isolation.Endpoint{},
		Addresses: map[vpcAddress]isolation.Location{},
		Routes:    map[vpcPrefix]isolation.Location{},
		Policies:  map[policy.ID]*policy.Table{},
	}
	for vni, v := range s.VPCs {
		for name, e := range v.Endpoints {
			f.Endpoints[isolation.Key{VNI: vni, Name: name}] = e
		}
		for addr, l := range v.Addresses {
			f.Addresses[vpcAddress{vni, addr}] = l
		}
		for prefix, l := range v.Routes {
			f.Routes[vpcPrefix{vni, prefix}] = l
		}
		for id, t := range v.Policies {
			f.Policies[id] = t
		}
	}
	return f
}

// equal tells whether both say the same; tables are compared by their verdicts.
func (f flat) equal(other flat) bool {
	return reflect.DeepEqual(f.Endpoints, other.Endpoints) && maps.Equal(f.Addresses, other.Addresses) &&
		maps.Equal(f.Routes, other.Routes) &&
		maps.EqualFunc(f.Policies, other.Policies, func(a, b *policy.Table) bool {
			return maps.EqualFunc(a.Verdicts, b.Verdicts, func(as, bs []policy.Interval) bool {
				return slices.EqualFunc(as, bs, func(i, j policy.Interval) bool {
					return i.First == j.First && i.Last == j.Last && i.Action == j.Action && a.Rules[i.Rule] == b.Rules[j.Rule]
				})
			})
		})
}
