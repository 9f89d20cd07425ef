package daemon

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"edgenet.dev/edgenet/internal/records"
	"edgenet.dev/edgenet/pkg/mesh"
)

// site is a node with records of its own, which decides by itself.
type site struct {
	id    mesh.NodeID
	nodes []mesh.Node
	store map[string]mesh.Record
	lists map[mesh.Kind][]mesh.Record
	// clock is the highest version that it has seen, skew how far its wall clock
	// is off.
	clock, skew mesh.Version
	reader      reader
	// knew are the claims on the same address or name that the claimer of one knew.
	knew map[string][]string
}

func (s *site) Self() mesh.Node {
	return s.nodes[slices.IndexFunc(s.nodes, func(n mesh.Node) bool { return n.ID == s.id })]
}
func (s *site) Nodes() []mesh.Node                { return s.nodes }
func (s *site) List(kind mesh.Kind) []mesh.Record { return s.lists[kind] }
func (s *site) Time() time.Time                   { return time.UnixMilli(int64(s.clock)) }
func instance(e *endpoint) string                 { return fmt.Sprint(e.key(), "@", e.record.GetClaim()) }

func (s *site) now(step int) mesh.Version {
	s.clock = max(s.clock+1, mesh.Version(step)+s.skew)
	return s.clock
}
func (s *site) snapshot() (*snapshot, *vpc)     { v := s.reader.read(); return v, v.byVNI[1] }
func (s *site) put(e *endpoint, v mesh.Version) { s.take(encoded(e, v)) }
func (s *site) remove(e *endpoint, v mesh.Version) {
	s.take(mesh.Record{Kind: mesh.KindEndpoint, Key: e.key(), Version: v, Deleted: true})
}

func encoded(e *endpoint, v mesh.Version) mesh.Record {
	payload, err := proto.Marshal(e.record)
	if err != nil {
		panic(err)
	}
	return mesh.Record{Kind: mesh.KindEndpoint, Key: e.key(), Version: v, Payload: payload}
}

// take stores a record if it is news, as the mesh does.
func (s *site) take(r mesh.Record) {
	if old, known := s.store[r.Key]; known && old.Version >= r.Version {
		return
	}
	s.clock = max(s.clock, r.Version)
	s.store[r.Key] = r
	var list []mesh.Record
	for _, key := range slices.Sorted(maps.Keys(s.store)) {
		if !s.store[key].Deleted {
			list = append(list, s.store[key])
		}
	}
	s.lists[mesh.KindEndpoint] = list
}

// attach does what network.attach does with the records.
func (s *site) attach(step int, name string, addrs ...string) {
	shot, v := s.snapshot()
	e := &endpoint{node: s.id, vni: 1, name: name}
	if err := e.use(&records.Endpoint{Ip: addrs[0], MoreIps: addrs[1:], Kind: records.KindTap, Device: "tap0"}); err != nil {
		panic(err)
	}
	if old := shot.find(e); old != nil && !old.lost {
		return
	}
	e.record.Claim, e.record.Epoch = uint64(s.now(step)), v.nextEpoch(e)
	for _, other := range v.all {
		if other.rivals(e) {
			s.knew[instance(e)] = append(s.knew[instance(e)], instance(other))
		}
	}
	s.put(e, s.now(step))
}

// detach does what network.withdraw does.
func (s *site) detach(step int, name string) {
	shot, v := s.snapshot()
	e := shot.find(&endpoint{node: s.id, vni: 1, name: name})
	switch {
	case e == nil:
	case v.idle(e):
		s.remove(e, s.now(step))
	default:
		s.put(released(e), s.now(step))
	}
}

// report does what network.report does.
func (s *site) report(step int) {
	shot, v := s.snapshot()
	for e := range shot.local() {
		if e.lost && !e.record.GetSuperseded() {
			next := *e
			next.record = proto.CloneOf(e.record)
			next.record.Superseded = true
			s.put(&next, s.now(step))
		}
	}
	for _, e := range v.released {
		if e.node == s.id && v.idle(e) {
			s.remove(e, s.now(step))
		}
	}
}

// islands are sites that hear of one another, or not.
type islands struct {
	sites  []*site
	on     []int
	random *rand.Rand
	step   int
}

func newIslands(seed uint64) *islands {
	w := &islands{random: rand.New(rand.NewPCG(seed, 9)), on: make([]int, 4)}
	vpc, err := proto.Marshal(&records.VPC{Vni: 1, Cidrs: []string{"10.0.0.0/24"}})
	if err != nil {
		panic(err)
	}
	var nodes []mesh.Node
	for i := range w.on {
		prefix := netip.PrefixFrom(netip.AddrFrom16([16]byte{0xfd, 1, 1, byte(i)}), 64)
		nodes = append(nodes, mesh.Node{ID: mesh.NodeID(fmt.Sprintf("%040x", i+1)), Prefix: prefix})
	}
	knew := map[string][]string{}
	for _, n := range nodes {
		s := &site{id: n.ID, nodes: nodes, store: map[string]mesh.Record{}, knew: knew, lists: map[mesh.Kind][]mesh.Record{}}
		s.lists[mesh.KindVPC] = []mesh.Record{{Kind: mesh.KindVPC, Key: "blue", Version: 1, Payload: vpc}}
		// What clocks say is worth nothing here.
		s.skew = mesh.Version(w.random.IntN(1000))
		s.reader.mesh = s
		w.sites = append(w.sites, s)
	}
	return w
}

// meet has two sites that hear of one another have the same records.
func (w *islands) meet(a, b int) {
	if w.on[a] != w.on[b] {
		return
	}
	for _, r := range w.sites[a].store {
		w.sites[b].take(r)
	}
	for _, r := range w.sites[b].store {
		w.sites[a].take(r)
	}
}

// live does something at random.
func (w *islands) live(attach func(*site), detaches bool) {
	w.step++
	i := w.random.IntN(len(w.sites))
	switch n := w.random.IntN(20); {
	case n == 0:
		for at := range w.on {
			w.on[at] = w.random.IntN(2)
		}
	case n < 6:
		attach(w.sites[i])
	case n < 8 && detaches:
		_, v := w.sites[i].snapshot()
		if len(v.local) > 0 {
			w.sites[i].detach(w.step, v.local[w.random.IntN(len(v.local))].name)
		}
	case n < 12:
		w.sites[i].report(w.step)
	default:
		w.meet(i, w.random.IntN(len(w.sites)))
	}
}

// heal lets all hear of all until nothing changes.
func (w *islands) heal(t *testing.T) {
	t.Helper()
	clear(w.on)
	for range 20 {
		w.step++
		before := make([]int, 0, len(w.sites))
		for i, s := range w.sites {
			before = append(before, len(s.store)+int(s.clock))
			w.meet(0, i)
		}
		for i := range w.sites {
			w.meet(0, i)
			w.sites[i].report(w.step)
		}
		if slices.EqualFunc(before, w.sites, func(n int, s *site) bool { return n == len(s.store)+int(s.clock) }) {
			return
		}
	}
	t.Fatal("the sites do not come to rest")
}

// check returns who holds what, the same for all sites.
func (w *islands) check(t *testing.T, seed uint64) *vpc {
	t.Helper()
	shot, v := w.sites[0].snapshot()
	for _, s := range w.sites[1:] {
		other, _ := s.snapshot()
		if got, want := winners(other), winners(shot); !slices.Equal(got, want) {
			t.Fatalf("seed %d: %s has it that %v, the first that %v", seed, s.id, got, want)
		}
	}
	for _, e := range v.all {
		if e.lost != e.record.GetSuperseded() {
			t.Errorf("seed %d: %s lost is %t, its record says %t", seed, e.key(), e.lost, e.record.GetSuperseded())
		}
	}
	if len(v.released) > 0 {
		t.Errorf("seed %d: %d claims that were withdrawn are there still", seed, len(v.released))
	}
	return v
}

// Whatever partitions there were and whatever clocks say, all nodes agree in the
// end on one owner of each address that is claimed, and it is none that somebody
// knew of who took the address from it.
func TestAfterPartitionsEachAddressHasOneOwner(t *testing.T) {
	for seed := range uint64(300) {
		w := newIslands(seed)
		attach := func(s *site) {
			n := w.random.IntN(4)
			s.attach(w.step, fmt.Sprint("app", n), fmt.Sprint("10.0.0.", 10+n))
		}
		for range 150 {
			w.live(attach, false)
		}
		w.heal(t)
		v := w.check(t, seed)
		for _, e := range v.all {
			owner := v.hosts[e.addrs[0]]
			if owner == nil {
				t.Fatalf("seed %d: %s is claimed and nobody's", seed, e.addrs[0])
			}
			if slices.Contains(e.knownTo(w.sites[0]), instance(owner)) {
				t.Errorf("seed %d: %s has its address, though %s took it knowingly", seed, owner.key(), e.key())
			}
		}
	}
}

func (e *endpoint) knownTo(s *site) []string { return s.knew[instance(e)] }

// The same with endpoints that are detached, have several addresses and other names.
func TestAfterPartitionsAllAgree(t *testing.T) {
	for seed := range uint64(300) {
		w := newIslands(seed)
		attach := func(s *site) {
			var addrs []string
			for _, n := range w.random.Perm(4)[:1+w.random.IntN(2)] {
				addrs = append(addrs, fmt.Sprint("10.0.0.", 10+n))
			}
			s.attach(w.step, fmt.Sprint("app", w.random.IntN(4)), addrs...)
		}
		for range 150 {
			w.live(attach, true)
		}
		w.heal(t)
		w.check(t, seed)
	}
}

// A host is cut off; its endpoint is started elsewhere, and ends there. When the
// host comes back it does not get the address again.
func TestWhoWasSupersededWhileCutOffStaysSo(t *testing.T) {
	w := newIslands(1)
	older, newer := w.sites[0], w.sites[1]
	older.attach(1, "app", "10.0.0.9")
	w.meet(0, 1)
	w.on[0] = 1
	newer.attach(2, "app", "10.0.0.9")
	if _, v := newer.snapshot(); v.names["app"].node != newer.id || v.names["app"].record.GetEpoch() != 2 {
		t.Fatalf("the new claim is %v", v.names["app"])
	}
	newer.detach(3, "app")
	if _, v := newer.snapshot(); len(v.hosts)+len(v.local) > 0 || len(v.released) != 1 {
		t.Errorf("%v have the address, %d claims were withdrawn", v.hosts, len(v.released))
	}
	w.heal(t)
	v := w.check(t, 1)
	if len(v.hosts) > 0 || len(v.all) != 1 || !v.all[0].lost {
		t.Errorf("after healing %v, %v", v.hosts, v.all)
	}
	older.attach(9, "app", "10.0.0.9")
	if _, v := older.snapshot(); v.names["app"] == nil {
		t.Error("it cannot be attached again")
	}
}

// A host is cut off, and its endpoint is started elsewhere. What it does meanwhile,
// by whatever clock, takes nothing back.
func TestAClockThatIsAheadWinsNothing(t *testing.T) {
	w := newIslands(1)
	older, newer := w.sites[0], w.sites[1]
	older.skew, newer.skew = 0, 0
	older.attach(1, "app", "10.0.0.9")
	w.meet(0, 1)
	w.on[0], older.skew = 1, 1<<30
	newer.attach(2, "app", "10.0.0.9")
	older.detach(3, "app")
	older.attach(4, "app", "10.0.0.9")
	w.heal(t)
	if got := w.check(t, 1).names["app"]; got.node != newer.id {
		t.Errorf("%s of epoch %d has the address", got.node, got.record.GetEpoch())
	}
}

// The last epoch helps nobody: who attaches later has the address.
func TestTheLastEpochIsBeatenByALaterClaim(t *testing.T) {
	w := newIslands(1)
	e := &endpoint{node: w.sites[0].id, vni: 1, name: "app"}
	if err := e.use(&records.Endpoint{Ip: "10.0.0.9", Kind: records.KindTap, Device: "t", Claim: 7, Epoch: math.MaxUint32}); err != nil {
		t.Fatal(err)
	}
	w.sites[0].put(e, 7)
	w.meet(0, 1)
	w.sites[1].attach(1, "app", "10.0.0.9")
	_, v := w.sites[1].snapshot()
	if got := v.names["app"]; got.node != w.sites[1].id || got.record.GetEpoch() != math.MaxUint32 || cmp.Compare(got.record.GetClaim(), 7) <= 0 {
		t.Errorf("%v has it", got)
	}
}
