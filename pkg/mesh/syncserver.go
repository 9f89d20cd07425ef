package mesh

import (
	"cmp"
	"net/http"
	"slices"

	"edgenet.dev/edgenet/pkg/mesh/internal/wire"
)

// answerSync answers one request of a node: it takes what the other side brings, and
// gives what it asks for.
func (m *Mesh) answerSync(caller NodeID, req *wire.SyncRequest) (*wire.SyncResponse, error) {
	if n := len(req.GetDigests()); n != 0 && n != buckets || len(req.GetWant()) > syncRefs {
		return nil, refuseOf(caller, refusedMalformed, "%w", errBadMessage)
	}
	news, strangers := m.replica.applyFrom(caller, req.GetRecords())
	m.learned(news)
	if strangers {
		m.mu.RLock()
		s := m.session
		m.mu.RUnlock()
		if s != nil {
			s.requestAnySync()
		}
	}
	answer := &wire.SyncResponse{}
	if len(req.GetDigests()) != 0 {
		answer.Buckets = m.replica.summarize(req.GetDigests())
	}
	var found []*entry
	for _, w := range req.GetWant() {
		if e := m.replica.table.get(ref{Kind(w.GetKind()), w.GetKey()}); e != nil {
			found = append(found, e)
		}
	}
	inExchangeOrder(found)
	answer.Records = envelopesOf(found[:fit(found)])
	return answer, nil
}

// summarize lists what is in the buckets whose digests differ, as much as fits:
// the next comparison goes on where this one ended. A bucket that does not fit
// alone, which takes intent, is listed in part: all but endpoints, and then
// others of these each time.
func (r *replica) summarize(theirs []uint64) []*wire.Bucket {
	mine := r.table.digest()
	size := 0
	byBucket := make(map[uint8]*wire.Bucket)
	for i := range mine {
		if mine[i] != theirs[i] {
			byBucket[uint8(i)] = &wire.Bucket{Index: uint32(i)}
		}
	}
	r.table.entries(func(e *entry) bool {
		if b := byBucket[e.bucket]; b != nil {
			b.Entries = append(b.Entries, &wire.Summary{
				Kind: string(e.Kind), Key: e.Key, Version: uint64(e.Version), Signature: e.hash,
			})
		}
		return false
	})
	var out []*wire.Bucket
	for _, b := range byBucket {
		out = append(out, b)
	}
	slices.SortFunc(out, func(a, b *wire.Bucket) int { return cmp.Compare(a.GetIndex(), b.GetIndex()) })
	for i, b := range out {
		for j, e := range b.GetEntries() {
			if size += len(e.GetKind()) + len(e.GetKey()) + 24; size <= syncBytes {
				continue
			}
			if i == 0 {
				b.Entries, i = b.Entries[:j], 1
			}
			return out[:i]
		}
	}
	return out
}

// fit returns how many of the entries go into one message, at least one.
func fit(es []*entry) int {
	size := 0
	for i, e := range es {
		if size += e.size(); size > syncBytes {
			return max(i, 1)
		}
	}
	return len(es)
}

// envelopesOf returns what travels of entries.
func envelopesOf(es []*entry) []*wire.Envelope {
	out := make([]*wire.Envelope, 0, len(es))
	for _, e := range es {
		out = append(out, e.envelope())
	}
	return out
}

// refsInOrder sorts names of records in the order of exchange.
func refsInOrder(refs []ref) []ref {
	slices.SortStableFunc(refs, func(a, b ref) int {
		return cmp.Compare(slices.Index(kinds[:], a.kind), slices.Index(kinds[:], b.kind))
	})
	return refs
}

// serveSync is the handler of the synchronization.
func (m *Mesh) serveSync(w http.ResponseWriter, r *http.Request) {
	var req wire.SyncRequest
	if !readMessage(w, r, maxSyncBody, &req) {
		return
	}
	caller, _ := PeerFromContext(r.Context())
	answer, err := m.answerSync(caller.ID, &req)
	if err != nil {
		m.replica.refusals.count(err)
		writeRefusal(w, http.StatusBadRequest, codeBadRequest, err)
		return
	}
	writeMessage(w, answer)
}
