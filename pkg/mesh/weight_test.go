package mesh

import (
	"bytes"
	"fmt"
	"runtime"
	"testing"

	"edgenet.dev/edgenet/pkg/mesh/internal/wire"
)

// endpointPayload is as long as those of endpoints are: 150 bytes.
var endpointPayload = bytes.Repeat([]byte("edgenet"), 22)[:150]

// weigh returns how many bytes a table of count endpoint records of one node takes,
// by record.
func weigh(tb testing.TB, count int) (perRecord float64) {
	tb.Helper()
	key, err := newKey(tb.TempDir() + "/key")
	if err != nil {
		tb.Fatal(err)
	}
	id, err := idOf(key.public())
	if err != nil {
		tb.Fatal(err)
	}
	author, before := &credential{id: NodeID(id)}, inUse()
	t := newTable()
	for i := range count {
		signed, err := sign(Record{
			Kind: KindEndpoint, Key: fmt.Sprintf("%s/%d/e%05d", id, 1+i%1000, i), Version: Version(1 + i), Node: author.id,
			Payload: endpointPayload,
		}, author, key)
		if err != nil {
			tb.Fatal(err)
		}
		b, err := wire.Marshal(signed.envelope()) // As it comes from others.
		if err != nil {
			tb.Fatal(err)
		}
		var env wire.Envelope
		if err := wire.Unmarshal(b, &env); err != nil {
			tb.Fatal(err)
		}
		e, err := newEntry(&env)
		if err != nil {
			tb.Fatal(err)
		}
		t.put(e)
	}
	perRecord = (inUse() - before) / float64(count)
	runtime.KeepAlive(t)
	return perRecord
}

// inUse is the heap without garbage, in bytes.
func inUse() float64 {
	runtime.GC()
	runtime.GC() // What pools hold goes with the second.
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

// A record takes little more than what travels of it, 350 bytes with its signature.
func TestARecordTakesLittle(t *testing.T) {
	if got := weigh(t, 10_000); got < 350 || got > 850 {
		t.Errorf("a record takes %.0f bytes", got)
	} else {
		t.Logf("a record takes %.0f bytes", got)
	}
}

// BenchmarkWeight tells what a record takes in memory.
func BenchmarkWeight(b *testing.B) {
	for _, count := range []int{10_000, 100_000} {
		b.Run(fmt.Sprint(count), func(b *testing.B) {
			for b.Loop() {
				b.ReportMetric(weigh(b, count), "B/record")
			}
		})
	}
}

// What an entry refers to within its body is what the body says, of all kinds.
func TestAnEntrySaysWhatItsBodySays(t *testing.T) {
	w := newWorld(t)
	n := w.admit(w.ca, "other", RoleEdge)
	for name, rec := range map[string]Record{
		"a node":                w.record(n),
		"an endpoint":           {Kind: KindEndpoint, Key: endpointKey(n.cred.id, "web"), Payload: endpointPayload},
		"one without a payload": {Kind: KindEndpoint, Key: endpointKey(n.cred.id, "web")},
		"a tombstone":           {Kind: KindVPC, Key: "v", Deleted: true},
	} {
		rec.Version = versionAt(w.now)
		env := w.signed(n, rec)
		e, err := newEntry(env)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var body wire.Body
		if err := wire.Unmarshal(env.GetBody(), &body); err != nil {
			t.Fatal(err)
		}
		if e.Node != n.cred.id || e.Key != rec.Key || !bytes.Equal(e.Payload, rec.Payload) || !bytes.Equal(e.certificate(), body.GetCertificate()) {
			t.Errorf("%s became %+v with a certificate of %d bytes", name, e.Record, len(e.certificate()))
		}
		again := e.envelope()
		if !bytes.Equal(again.GetBody(), env.GetBody()) || !bytes.Equal(again.GetSignature(), env.GetSignature()) {
			t.Errorf("%s travels on as something else", name)
		}
	}
}

// Nodes that share records keep them once, check each all the same, and have those
// that were there before.
func TestSharedRecordsAreKeptOnce(t *testing.T) {
	w := newWorld(t)
	n, shared := w.admit(w.ca, "other", RoleEdge), NewShared()
	env := w.signed(n, w.record(n))
	b, err := wire.Marshal(env)
	if err != nil {
		t.Fatal(err)
	}
	if err := shared.Add(w.ca.mesh, b); err != nil {
		t.Fatal(err)
	}
	endpoint := Record{Kind: KindEndpoint, Key: endpointKey(n.cred.id, "web"), Version: versionAt(w.now), Payload: endpointPayload}
	good := w.signed(n, endpoint)
	forged := &wire.Envelope{Body: good.GetBody(), Signature: bytes.Repeat([]byte{1}, 64)}
	var kept []*entry
	for range 2 {
		r := memoryReplica(w.ca.trustAnchor)
		r.shared = shared
		if err := r.restore(nil); err != nil {
			t.Fatal(err)
		}
		if r.table.get(ref{KindNode, string(n.cred.id)}) == nil {
			t.Fatal("the record that all share is missing")
		}
		if news, _ := r.apply([]*wire.Envelope{forged}); len(news) != 0 {
			t.Fatal("a forged record was taken")
		}
		if news, _ := r.apply([]*wire.Envelope{good}); len(news) != 1 {
			t.Fatalf("%d news", len(news))
		}
		kept = append(kept, r.table.get(ref{KindEndpoint, endpoint.Key}))
	}
	if kept[0] == nil || kept[0] != kept[1] {
		t.Error("the endpoint is kept twice")
	}
	if err := shared.Add(w.ca.mesh, []byte("nonsense")); err == nil {
		t.Error("nonsense was added")
	}
}
