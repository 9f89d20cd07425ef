package daemon

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"edgenet.dev/edgenet/internal/records"
	"edgenet.dev/edgenet/pkg/mesh"
)

// said is all that a snapshot says of endpoints, as text.
func said(s *snapshot) []string {
	var out []string
	for vni, v := range s.byVNI {
		for i, e := range v.all {
			out = append(out, fmt.Sprint(vni, " ", i, " ", e.key(), e.record, e.lost, e.barred, slices.Contains(v.local, e), v.names[e.name] == e))
		}
		for addr, e := range v.hosts {
			out = append(out, fmt.Sprint(vni, " has ", addr, e.key(), e.record))
		}
		for addr, e := range v.announced {
			out = append(out, fmt.Sprint(vni, " announced ", addr, e.key()))
		}
		for p, carriers := range v.carriers {
			for i, e := range carriers {
				out = append(out, fmt.Sprint(vni, " carries ", p, i, e.key()))
			}
		}
	}
	for _, e := range s.strays {
		out = append(out, fmt.Sprint("stray ", e.key(), e.record))
	}
	slices.Sort(out)
	return out
}

// randomEndpoint is an endpoint whose address is another's now and then.
func randomEndpoint(random *rand.Rand, vni uint32, name string) *records.Endpoint {
	e := &records.Endpoint{
		Ip: fmt.Sprintf("10.%d.0.%s", vni, strings.TrimPrefix(name, "e")), Kind: records.KindTap, Device: name, Claim: uint64(1 + random.IntN(1000)),
		Groups: []string{[]string{"web", "db"}[random.IntN(2)]},
	}
	switch random.IntN(100) {
	case 0:
		e.Prefixes = []string{fmt.Sprintf("10.%d.0.128/25", vni)}
		e.Announced = []*records.Announced{{Address: fmt.Sprintf("10.%d.0.%d", vni, 130+random.IntN(3)), Version: uint64(random.IntN(9))}}
	case 1:
		e.Superseded = true
	case 2:
		e.Ip = "10.9.0.9" // not the VPC's
	case 3:
		e.Ip = fmt.Sprintf("10.%d.0.%d", vni, 2+random.IntN(25))
	}
	return e
}

// turmoil is an archive that changes at random.
type turmoil struct {
	*archive
	random *rand.Rand
	// absent is a node that is not known now.
	absent  mesh.Node
	version mesh.Version
	// grants says that there are some, and that time passes.
	grants bool
}

func newTurmoil() *turmoil {
	w := &turmoil{archive: &archive{lists: map[mesh.Kind][]mesh.Record{}}, random: rand.New(rand.NewPCG(7, 8)), version: 1}
	for i := range 3 {
		prefix := netip.PrefixFrom(netip.AddrFrom16([16]byte{0xfd, 1, 1, byte(i)}), 64)
		w.nodes = append(w.nodes, mesh.Node{ID: mesh.NodeID(fmt.Sprintf("%040x", i+1)), Name: fmt.Sprint("n", i), Prefix: prefix, Local: i == 0})
	}
	w.nodes, w.absent = w.nodes[:2], w.nodes[2]
	w.vpc(1)
	return w
}

func (w *turmoil) vpc(vni uint32) {
	w.put(mesh.KindVPC, fmt.Sprint("v", vni), w.version, &records.VPC{Vni: vni, Cidrs: []string{fmt.Sprintf("10.%d.0.0/16", vni)}})
}

// change changes one thing.
func (w *turmoil) change() {
	w.version++
	vni, number := uint32(1+w.random.IntN(2)), 2+w.random.IntN(25)
	name, node := fmt.Sprint("e", number), w.nodes[number%2]
	switch w.random.IntN(200) {
	case 0:
		node = w.absent
	case 1:
		node = w.nodes[1-number%2]
	}
	key := records.EndpointKey(node.ID, vni, name)
	if w.grants && w.random.IntN(2) == 0 {
		w.changeGrant(key)
		return
	}
	switch which := w.random.IntN(40); {
	case which == 0:
		w.vpc(vni)
	case which == 1:
		w.drop(mesh.KindVPC, "v2")
	case which == 2:
		w.nodes[1], w.absent = w.absent, w.nodes[1]
	case which < 5:
		rule := &records.Rule{Direction: "ingress", Protocol: "tcp", Ports: fmt.Sprint(1 + w.random.IntN(5)), Peer: "group:db"}
		w.put(mesh.KindGroup, records.GroupKey(vni, "web"), w.version, &records.Group{Rules: []*records.Rule{rule}})
	case which < 17:
		w.drop(mesh.KindEndpoint, key)
	default:
		w.put(mesh.KindEndpoint, key, w.version, randomEndpoint(w.random, vni, name))
	}
}

// Whatever changes, snapshots and parts that follow from the ones before say what
// those do that are made anew.
func TestSnapshotsOfManyChangesEqualFreshOnes(t *testing.T) {
	for name, grants := range map[string]bool{"without grants": false, "with grants": true} {
		t.Run(name, func(t *testing.T) {
			w := newTurmoil()
			w.grants = grants
			snapshotsEqualFreshOnes(t, w)
		})
	}
}

func snapshotsEqualFreshOnes(t *testing.T, w *turmoil) {
	t.Helper()
	r, parts := &reader{mesh: w.archive, batches: newBatches()}, derived{}
	before, kept := r.read(), 0
	for step := range 3000 {
		w.change()
		if w.random.IntN(3) == 0 {
			continue // several changes are one
		}
		s := r.read()
		fresh := (&reader{mesh: w.archive, batches: newBatches()}).read()
		if got, want := said(s), said(fresh); !slices.Equal(got, want) {
			t.Fatalf("step %d: got\n%q\nwant\n%q", step, got, want)
		}
		if shares(s.byVNI[1], before.byVNI[1]) {
			kept++
		}
		before = s
		if w.random.IntN(4) == 0 {
			s = wouldBe(t, s, randomEndpoint(w.random, 1, fmt.Sprint("e", 2+w.random.IntN(25))))
		}
		derivesTheSame(t, step, s, &parts)
	}
	if kept < 300 {
		t.Errorf("only %d times endpoints of the snapshot before were kept", kept)
	}
}

// wouldBe is a snapshot with an endpoint that is asked for.
func wouldBe(t *testing.T, s *snapshot, record *records.Endpoint) *snapshot {
	t.Helper()
	e := &endpoint{node: s.self.ID, vni: 1, name: record.GetDevice()}
	if err := e.use(record); err != nil {
		t.Fatal(err)
	}
	next, asked := s.with(e)
	if asked.name != e.name || asked.record != record {
		t.Fatalf("asked for %v, got %v", record, asked.record)
	}
	return next
}

func derivesTheSame(t *testing.T, step int, s *snapshot, parts *derived) {
	t.Helper()
	got, _ := parts.update(s, 1420).assemble(s, nil, nil)
	want, _ := new(derived).update(s, 1420).assemble(s, nil, nil)
	if g, w := flatten(got), flatten(want); !g.equal(w) {
		t.Fatalf("step %d: derived\n%+v\nwant\n%+v", step, g, w)
	}
}

// shares tells whether a VPC has changed, and endpoints of before are in it.
func shares(now, before *vpc) bool {
	return now.holdings != before.holdings && slices.ContainsFunc(now.all, func(e *endpoint) bool { return slices.Contains(before.all, e) })
}
