package daemon

import (
	"fmt"
	"slices"
	"testing"

	"edgenet.dev/edgenet/internal/records"
	"edgenet.dev/edgenet/pkg/mesh"
)

// What it costs that each endpoint needs a grant: 10,000 endpoints in 20 VPCs are
// settled, all of them or those of whom one grant is not as it was.
func BenchmarkGrants(b *testing.B) {
	for name, required := range map[string]bool{"off": false, "on": true} {
		b.Run(name, func(b *testing.B) {
			s := crowd(b, 500)
			if required {
				for _, e := range s.claims {
					v := s.byVNI[e.vni]
					if v.grants == nil {
						v.grants = &vpcGrants{by: map[holder]*grant{}}
					}
					h := holder{e.node, e.name}
					v.grants.by[h] = &grant{holder: h, vni: e.vni, addrs: e.addrs, record: &records.Grant{Groups: e.record.GetGroups()}}
				}
			}
			members := map[uint32][]endpoint{}
			for _, e := range s.claims {
				members[e.vni] = append(members[e.vni], *e)
			}
			for b.Loop() {
				for vni, old := range s.byVNI {
					v := &vpc{vpcRecord: old.vpcRecord, grants: old.grants}
					if v.settle(here, slices.Clone(members[vni])); len(v.hosts) != len(members[vni]) {
						b.Fatalf("%d of %d endpoints hold their address", len(v.hosts), len(members[vni]))
					}
				}
			}
		})
	}
	b.Run("one", benchmarkOneGrant)
}

func benchmarkOneGrant(b *testing.B) {
	s := crowd(b, 500)
	a := &archive{lists: map[mesh.Kind][]mesh.Record{}, at: beginning, nodes: []mesh.Node{s.nodes[here], s.nodes[there]}}
	var all placed
	all.add(mesh.KindSettings, mesh.SettingsKey, &records.Settings{RequireGrants: true})
	for name, v := range s.vpcs {
		all.add(mesh.KindVPC, name, &records.VPC{Vni: v.vni(), Cidrs: []string{"10.0.0.0/16"}})
	}
	for _, e := range s.claims {
		all.add(mesh.KindEndpoint, e.key(), e.record)
		all.add(mesh.KindGrant, e.key(), &records.Grant{Ips: []string{e.record.GetIp()}, Groups: e.record.GetGroups()})
	}
	a.fill(all.all)
	r := &reader{mesh: a}
	if got := r.read(); len(got.byVNI[1].hosts) != 500 {
		b.Fatalf("%d of 500 endpoints hold their address", len(got.byVNI[1].hosts))
	}
	e := s.claims[7]
	for i := 0; b.Loop(); i++ {
		b.StopTimer()
		a.put(mesh.KindGrant, e.key(), mesh.Version(1_000_000+i), &records.Grant{Ips: []string{fmt.Sprintf("10.0.%d.9", 200+i%2), e.record.GetIp()}[i%2:], Groups: e.record.GetGroups()})
		b.StartTimer()
		r.read()
	}
}
