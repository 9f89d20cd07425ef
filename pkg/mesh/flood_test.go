package mesh

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"testing"
	"time"

	"edgenet.dev/edgenet/pkg/mesh/internal/wire"
)

// floodedSyncer is a syncer that nobody empties.
func floodedSyncer(w *world) *syncer {
	return newSyncer(&session{m: w.m})
}

// Hints in the name of nodes that do not exist, or of very much, take no
// memory.
func TestHintsDoNotPileUp(t *testing.T) {
	w := newWorld(t)
	edge := w.admit(w.ca, "edge", RoleEdge)
	w.told(w.signed(edge, w.record(edge)))
	y := floodedSyncer(w)
	for i := range 3000 {
		y.request(NodeID(fmt.Sprintf("%040x", i)), nil)
		for j := range 3 {
			y.request(edge.cred.id, []ref{{KindVPC, fmt.Sprintf("v%d-%d", i, j)}})
		}
	}
	if n := len(y.pending); n != 1 {
		t.Errorf("%d peers are to be asked, want 1", n)
	}
	if task := y.pending[edge.cred.id]; task == nil || !task.full || len(task.want) > syncRefs {
		t.Errorf("the task is %+v", task)
	}
}

// A message of millions of tiny parts takes far more memory than bytes.
func TestMessagesOfVeryManyPartsAreRefused(t *testing.T) {
	hosts := newMesh(t, "centre", "edge")
	id := hosts[0].Self().ID
	for name, part := range map[string][]byte{
		"empty wants": {3<<3 | 2, 0}, "empty records": {2<<3 | 2, 0},
	} {
		status, err := post(t, hosts[1].PeerClient(id), PeerURL(id)+pathSync, bytes.Repeat(part, 1<<20))
		if err != nil || status != http.StatusBadRequest {
			t.Errorf("%s: %d, %v", name, status, err)
		}
	}
	// What can be refused only once it is decoded is too late.
	empty := bytes.Repeat([]byte{2<<3 | 2, 0}, 1<<20)
	bucket := append([]byte{1<<3 | 2, 0x80, 0x80, 0x80, 1}, empty...)
	var m wire.SyncResponse
	if err := wire.Unmarshal(bucket, &m); !errors.Is(err, wire.ErrTooManyParts) {
		t.Errorf("a bucket of empty entries: %v", err)
	}
}

// One node that asks and does not finish holds few calls; others are served.
func TestANodeHoldsFewSynchronizations(t *testing.T) {
	hosts := newMesh(t, "centre", "edge", "honest")
	id := hosts[0].Self().ID
	var writers []*io.PipeWriter
	for range maxSyncsOfNode {
		r, w := io.Pipe()
		writers = append(writers, w)
		go func() {
			resp, err := hosts[1].PeerClient(id).Post(PeerURL(id)+pathSync, messageType, r)
			if err == nil {
				_ = resp.Body.Close()
			}
		}()
		if _, err := w.Write([]byte{0}); err != nil { // It is on its way.
			t.Fatal(err)
		}
	}
	defer func() {
		for _, w := range writers {
			_ = w.Close()
		}
	}()
	eventuallyPolled(t, func() error {
		_, err := hosts[1].exchange(t.Context(), PeerURL(id), &wire.SyncRequest{})
		if !errors.Is(err, errTooManyCalls) {
			return fmt.Errorf("one more: %w", errors.Join(err, errors.New("it is served")))
		}
		return nil
	})
	if _, err := hosts[2].exchange(t.Context(), PeerURL(id), &wire.SyncRequest{}); err != nil {
		t.Errorf("another node: %v", err)
	}
}

// However much is in one bucket, an answer fits, and says first what all need.
func TestAnOverfullBucketIsListedInPart(t *testing.T) {
	w := newWorld(t)
	r := w.m.replica
	vpc := ref{KindVPC, "v"}
	bucket := bucketOf(vpc)
	put := func(k ref) {
		r.table.put(&entry{Record: Record{Kind: k.kind, Key: k.key, Version: 1}, bucket: bucket, hash: 1})
	}
	put(vpc)
	for i := range syncBytes / 100 {
		put(ref{KindEndpoint, endpointKey(w.m.id, fmt.Sprintf("%0100d", i))})
	}
	theirs := slices.Clone(r.table.digest())
	theirs[bucket]++
	out := r.summarize(theirs)
	b, err := wire.Marshal(&wire.SyncResponse{Buckets: out})
	if err != nil || len(b) > maxSyncBody {
		t.Fatalf("%d bytes, %v", len(b), err)
	}
	if len(out) != 1 || !slices.ContainsFunc(out[0].GetEntries(), func(s *wire.Summary) bool { return s.GetKey() == "v" }) {
		t.Errorf("%d buckets, or the VPC is missing", len(out))
	}
}

// A node that is admitted cannot fill the others' memory.
func TestANodeHasRoomForSoMuch(t *testing.T) {
	w := newWorld(t)
	edge := w.admit(w.ca, "edge", RoleEdge)
	w.told(w.signed(edge, w.record(edge)))
	first := Record{Kind: KindEndpoint, Key: endpointKey(edge.cred.id, "0"), Payload: make([]byte, MaxPayload)}
	for i := range 2 * maxOwnedBytes / MaxPayload {
		rec := first
		rec.Key = endpointKey(edge.cred.id, fmt.Sprint(i))
		w.told(w.signed(edge, rec))
	}
	if n := len(w.m.List(KindEndpoint)); n > maxOwnedBytes/MaxPayload {
		t.Errorf("it has %d records of 1 MiB", n)
	}
	if got := w.m.Refusals()[refusedQuota]; got == 0 {
		t.Error("nothing is refused")
	}
	// What makes it less is always taken.
	w.now = w.now.Add(time.Second)
	first.Version, first.Payload, first.Deleted = versionAt(w.now), nil, true
	if n, why := w.told(w.signed(edge, first)); n != 1 {
		t.Errorf("a tombstone: refusals %v", why)
	}
	// The node itself is told, rather than left alone with what nobody takes.
	var err error
	for i := 0; err == nil && i <= maxOwnedBytes/MaxPayload; i++ {
		_, err = w.m.Put(t.Context(), KindEndpoint, endpointKey(w.m.id, fmt.Sprint(i)), make([]byte, MaxPayload))
	}
	wantError(t, err, errTooMuch)
	if err := w.m.Delete(t.Context(), KindEndpoint, endpointKey(w.m.id, "0")); err != nil {
		t.Error(err)
	}
}

func TestANodeHasSoManyRecords(t *testing.T) {
	var tab table
	tab.reset()
	id := NodeID(fmt.Sprintf("%040x", 1))
	for i := range maxOwned {
		tab.put(&entry{Record: Record{Kind: KindEndpoint, Key: endpointKey(id, fmt.Sprint(i)), Node: id, Version: 1}})
	}
	next := func(name string) *entry {
		return &entry{Record: Record{Kind: KindEndpoint, Key: endpointKey(id, name), Node: id, Version: 2}}
	}
	if tab.hasRoom(next("x")) || !tab.hasRoom(next("1")) {
		t.Error("the number is not bounded, or a change of what is there is refused")
	}
	tab.remove(tab.get(ref{KindEndpoint, endpointKey(id, "5")}))
	if !tab.hasRoom(next("x")) {
		t.Error("what is removed still counts")
	}
}
