package daemon

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"edgenet.dev/edgenet/internal/records"
	"edgenet.dev/edgenet/pkg/mesh"
)

// archive is a mesh's records without a mesh.
type archive struct {
	nodes []mesh.Node
	lists map[mesh.Kind][]mesh.Record
	at    time.Time
}

func (a *archive) Self() mesh.Node                   { return a.nodes[0] }
func (a *archive) Nodes() []mesh.Node                { return slices.Clone(a.nodes) }
func (a *archive) List(kind mesh.Kind) []mesh.Record { return a.lists[kind] }
func (a *archive) Time() time.Time                   { return a.at }

// put changes one record, as a mesh does: in a new list.
func (a *archive) put(kind mesh.Kind, key string, version mesh.Version, m proto.Message) {
	payload, err := proto.Marshal(m)
	if err != nil {
		panic(err)
	}
	list := slices.Clone(a.lists[kind])
	at, found := slices.BinarySearchFunc(list, key, func(r mesh.Record, key string) int { return strings.Compare(r.Key, key) })
	if !found {
		list = slices.Insert(list, at, mesh.Record{})
	}
	list[at] = mesh.Record{Kind: kind, Key: key, Version: version, Payload: payload}
	a.lists[kind] = list
}

// fill makes the records given all that there are.
func (a *archive) fill(recs []mesh.Record) {
	for _, rec := range recs {
		a.lists[rec.Kind] = append(a.lists[rec.Kind], rec)
	}
	for _, list := range a.lists {
		slices.SortFunc(list, func(a, b mesh.Record) int { return strings.Compare(a.Key, b.Key) })
	}
}

// The bounds that are held in one VPC.
const (
	boundGroups    = 999 // and the default group
	boundRules     = 10_000
	boundLocal     = 5_000
	boundAddresses = 100_000
)

func archiveGroup(i, version int) *records.Group {
	g := &records.Group{}
	for n := range boundRules / (boundGroups + 1) {
		r := &records.Rule{Direction: "ingress", Protocol: "tcp", Ports: fmt.Sprint(1 + (i*10+n)%60000), Peer: "any"}
		if n == 0 {
			r.Ports = fmt.Sprint(60000 + version%5000) // the one rule that changes
		}
		switch n % 3 {
		case 1:
			r.Peer = fmt.Sprintf("10.%d.%d.0/24", i%16, (i*7+n)%256)
		case 2:
			r.Peer = fmt.Sprintf("group:g%d", (i+n)%boundGroups)
		}
		g.Rules = append(g.Rules, r)
	}
	return g
}

// full is a mesh with a VPC at its bounds, of which this node has 5,000
// endpoints.
func full(tb testing.TB) *archive {
	tb.Helper()
	a := &archive{lists: map[mesh.Kind][]mesh.Record{}}
	for i := range 500 {
		id := mesh.NodeID(fmt.Sprintf("%040x", i+1))
		prefix := netip.PrefixFrom(netip.AddrFrom16([16]byte{0xfd, 1, 1, byte(i >> 8), byte(i)}), 64)
		a.nodes = append(a.nodes, mesh.Node{ID: id, Name: fmt.Sprint("n", i), Prefix: prefix, Local: i == 0})
	}
	a.put(mesh.KindVPC, "blue", 1, &records.VPC{Vni: 1, Cidrs: []string{"10.0.0.0/8"}})
	all := map[string]mesh.Record{}
	add := func(kind mesh.Kind, key string, m proto.Message) {
		payload, err := proto.Marshal(m)
		if err != nil {
			tb.Fatal(err)
		}
		all[string(kind)+"|"+key] = mesh.Record{Kind: kind, Key: key, Version: 1, Payload: payload}
	}
	for i := range boundGroups {
		add(mesh.KindGroup, records.GroupKey(1, fmt.Sprint("g", i)), archiveGroup(i, 0))
	}
	for i := range boundAddresses {
		node := a.nodes[0]
		if i >= boundLocal {
			node = a.nodes[1+i%499]
		}
		name := fmt.Sprint("e", i)
		add(mesh.KindEndpoint, records.EndpointKey(node.ID, 1, name), &records.Endpoint{
			Ip: netip.AddrFrom4([4]byte{10, byte(i >> 14), byte(i >> 7 & 127), byte(2 + i&127)}).String(), Kind: records.KindTap, Device: name,
			Groups: []string{fmt.Sprint("g", i%boundGroups)}, Claim: uint64(i + 1),
		})
	}
	for _, key := range slices.Sorted(maps.Keys(all)) {
		a.lists[all[key].Kind] = append(a.lists[all[key].Kind], all[key])
	}
	return a
}

// What a change of one record costs the daemon until the datapath is called, in a
// VPC of 10,000 rules, 1,000 groups, 5,000 endpoints here and 100,000 addresses.
func BenchmarkChangeInAFullVPC(b *testing.B) {
	for name, change := range map[string]func(a *archive, i int){
		"rule": func(a *archive, i int) {
			a.put(mesh.KindGroup, records.GroupKey(1, "g7"), mesh.Version(i+2), archiveGroup(7, i+1))
		},
		"attach": func(a *archive, i int) {
			a.put(mesh.KindEndpoint, records.EndpointKey(a.nodes[0].ID, 1, "extra"), mesh.Version(i+2), &records.Endpoint{
				Ip: fmt.Sprintf("10.200.0.%d", 2+i%200), Kind: records.KindTap, Device: "extra", Claim: 1 << 40,
			})
		},
	} {
		b.Run(name, func(b *testing.B) {
			a := full(b)
			r := &reader{mesh: a, batches: newBatches()}
			var d derived
			if state, problems := d.update(r.read(), 1420).assemble(r.last, nil, nil); len(problems) > 0 || len(state.VPCs[1].Endpoints) != boundLocal {
				b.Fatalf("%v, %d endpoints", problems, len(state.VPCs[1].Endpoints))
			}
			i := 0
			for b.Loop() {
				b.StopTimer()
				change(a, i)
				i++
				b.StartTimer()
				before := d[1].made
				state, problems := d.update(r.read(), 1420).assemble(r.last, nil, nil)
				if len(problems) > 0 || state.VPCs[1] == before {
					b.Fatal("nothing has changed", problems)
				}
			}
		})
	}
}

// drop takes a record away, if it is there, in a new list.
func (a *archive) drop(kind mesh.Kind, key string) {
	a.lists[kind] = slices.DeleteFunc(slices.Clone(a.lists[kind]), func(r mesh.Record) bool { return r.Key == key })
}
