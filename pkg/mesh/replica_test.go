package mesh

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"edgenet.dev/edgenet/pkg/mesh/internal/wire"
)

// memoryReplica is a replica of a test's mesh that has no disk.
func memoryReplica(a *trustAnchor) *replica {
	r := &replica{
		log: slog.New(slog.DiscardHandler), table: newTable(), clock: &hlc{wall: time.Now}, now: time.Now, times: newPeerTime(time.Now),
		dirty: make(map[ref]struct{}), flush: make(chan struct{}, 1),
	}
	r.setTrust(a)
	return r
}

// However records are spread over replicas, one comparison makes each pair
// equal, and what wins does not depend on the order.
func TestComparisonMakesReplicasEqual(t *testing.T) {
	w := newWorld(t)
	authors := []*node{w.admit(w.ca, "a", RoleAuthority), w.admit(w.ca, "b", RoleAuthority)}
	replicas := []*replica{memoryReplica(w.ca.trustAnchor), memoryReplica(w.ca.trustAnchor), memoryReplica(w.ca.trustAnchor)}
	newest := map[ref]*entry{}
	offer := func(env *wire.Envelope) {
		e, err := newEntry(env)
		if err != nil {
			t.Fatal(err)
		}
		if e.newer(newest[e.ref()]) {
			newest[e.ref()] = e
		}
		for _, r := range replicas {
			if rand.IntN(2) == 0 {
				r.apply([]*wire.Envelope{env})
			}
		}
	}
	for _, a := range authors {
		env := w.signed(a, w.record(a))
		offer(env)
		for _, r := range replicas {
			r.apply([]*wire.Envelope{env})
		}
	}
	for range 2000 {
		rec := Record{
			Kind: KindVPC, Key: fmt.Sprintf("v%d", rand.IntN(300)), Deleted: rand.IntN(4) == 0,
			Version: versionAt(w.now) + Version(rand.IntN(5)),
		}
		if !rec.Deleted {
			rec.Payload = fmt.Append(nil, rand.IntN(3))
		}
		offer(w.signed(authors[rand.IntN(2)], rec))
	}
	meet(t, replicas[0], replicas[1])
	meet(t, replicas[1], replicas[2])
	meet(t, replicas[2], replicas[0])
	for _, r := range replicas {
		all := r.table.entries(func(*entry) bool { return true })
		if len(all) > len(newest) {
			t.Fatalf("%d records, at most %d were made", len(all), len(newest))
		}
		for _, e := range all {
			if r.table.get(e.ref()) != e {
				t.Fatal("a record is not where it belongs")
			}
		}
	}
	checkTable(t, replicas[0].table)
}

// meet lets two replicas compare and exchange what differs.
func meet(t *testing.T, a, b *replica) {
	t.Helper()
	push, want, err := a.compare(b.summarize(a.table.digest()))
	if err != nil {
		t.Fatal(err)
	}
	b.apply(envelopesOf(push))
	var got []*entry
	for _, k := range want {
		got = append(got, b.table.get(k))
	}
	a.apply(envelopesOf(got))
	if !slices.Equal(a.table.digest(), b.table.digest()) {
		t.Fatal("the digests differ after a comparison")
	}
}

// checkTable compares what a table keeps up by steps with what follows from its
// contents.
func checkTable(t *testing.T, tab *table) {
	t.Helper()
	var digests [buckets]uint64
	authored := map[NodeID]int{}
	live := map[Kind][]string{}
	for _, e := range tab.entries(func(*entry) bool { return true }) {
		digests[bucketOf(e.ref())] ^= e.digest()
		authored[e.Node]++
		if !e.Deleted {
			live[e.Kind] = append(live[e.Kind], fmt.Sprint(e.Key, "\x00", e.Version))
		}
	}
	if !slices.Equal(digests[:], tab.digest()) {
		t.Error("the digest is not that of the contents")
	}
	for id, n := range authored {
		if tab.authoredBy(id) != n {
			t.Errorf("%s has signed %d, the table says %d", id, n, tab.authoredBy(id))
		}
	}
	for _, kind := range kinds {
		var listed []string
		for _, r := range tab.list(kind) {
			listed = append(listed, fmt.Sprint(r.Key, "\x00", r.Version))
		}
		if slices.Sort(live[kind]); !slices.IsSorted(listed) || !slices.Equal(listed, live[kind]) {
			t.Errorf("listed are %q of %s, there are %q", listed, kind, live[kind])
		}
	}
}

// A remote record in memory that is not on disk yet must not overwrite there
// what was put after it.
func TestFlushWritesWhatIsNewest(t *testing.T) {
	w := newWorld(t)
	auth := w.admit(w.ca, "auth", RoleAuthority)
	w.told(w.signed(auth, w.record(auth)), w.signed(auth, Record{Kind: KindVPC, Key: "v", Payload: []byte("remote")}))
	if _, err := w.m.Put(t.Context(), KindVPC, "v", []byte("local")); err != nil {
		t.Fatal(err)
	}
	if err := w.m.replica.flushAll(); err != nil {
		t.Fatal(err)
	}
	_, _, records, err := w.m.replica.db.load()
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range records {
		if e.Kind == KindVPC && string(e.Payload) != "local" {
			t.Errorf("on disk is %q", e.Payload)
		}
	}
}

// Put is as quick as one write to disk, also beside many records.
func BenchmarkPut(b *testing.B) {
	m, err := Open(Config{StateDir: b.TempDir(), Name: "here", Links: []Link{{Addr: loopback()}}})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = m.Close() }()
	if err := m.Init(b.Context()); err != nil {
		b.Fatal(err)
	}
	payload := make([]byte, 200)
	var recs []Record
	for i := range 10000 {
		recs = append(recs, Record{Kind: KindEndpoint, Key: endpointKey(m.id, fmt.Sprintf("e%d", i)), Payload: payload})
	}
	if _, err := m.replica.putAll(recs, m.current(), m.key); err != nil {
		b.Fatal(err)
	}
	var took []time.Duration
	for b.Loop() {
		begin := time.Now()
		if _, err := m.Put(b.Context(), KindEndpoint, endpointKey(m.id, fmt.Sprintf("e%d", rand.IntN(10000))), payload); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(begin))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-us")
}

// A list is kept up by steps, and is the same slice while nothing changes.
func TestAListIsWhatIsLiveAfterEveryChange(t *testing.T) {
	tab := newTable()
	for i := range 2000 {
		e := &entry{Record: Record{
			Kind: KindVPC, Key: fmt.Sprint("v", rand.IntN(50)), Version: Version(i + 1), Deleted: rand.IntN(3) == 0,
		}}
		e.bucket = bucketOf(e.ref())
		if old := tab.get(e.ref()); old != nil && rand.IntN(4) == 0 {
			tab.remove(old)
		} else {
			tab.put(e)
		}
		if rand.IntN(3) > 0 {
			continue
		}
		var want []Record
		for _, one := range tab.ofKind(KindVPC) {
			if !one.Deleted {
				want = append(want, one.Record)
			}
		}
		slices.SortFunc(want, func(a, b Record) int { return strings.Compare(a.Key, b.Key) })
		got := tab.list(KindVPC)
		same := func(a, b Record) bool { return a.Key == b.Key && a.Version == b.Version }
		if !slices.EqualFunc(got, want, same) {
			t.Fatalf("after %d changes there are %v, want %v", i, got, want)
		}
		if again := tab.list(KindVPC); len(got) > 0 && &again[0] != &got[0] {
			t.Fatal("a list was made anew without a change")
		}
	}
}
