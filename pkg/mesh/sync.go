package mesh

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"edgenet.dev/edgenet/pkg/mesh/internal/wire"
)

// Limits of synchronization.
const (
	syncTimeout = 30 * time.Second
	// syncAtOnce is with how many peers a node synchronizes at a time.
	syncAtOnce = 4
	// syncBytes is how many bytes of records, or of summaries, a message has
	// at most, but for the last that did not fit.
	syncBytes = 2 << 20
	// syncRefs is how many records are asked for at a time.
	syncRefs = 4096
)

// syncTask is what is to be got from one peer.
type syncTask struct {
	peer NodeID
	want map[ref]struct{}
	// full asks for a comparison of everything.
	full bool
}

// syncer synchronizes with peers, one task at a time with each.
type syncer struct {
	s       *session
	mu      sync.Mutex
	pending map[NodeID]*syncTask
	busy    map[NodeID]bool
	wake    chan struct{}
}

func newSyncer(s *session) *syncer {
	return &syncer{
		s: s, pending: make(map[NodeID]*syncTask), busy: make(map[NodeID]bool),
		wake: make(chan struct{}, 1),
	}
}

// request asks for some records of a peer, or, with none, for all that differs.
// Who is no known node cannot be asked: gossip may bring any name.
func (y *syncer) request(peer NodeID, refs []ref) {
	if peer == y.s.m.id || y.s.m.replica.table.get(ref{KindNode, string(peer)}) == nil {
		return
	}
	y.mu.Lock()
	task := y.pending[peer]
	if task == nil {
		task = &syncTask{peer: peer, want: make(map[ref]struct{})}
		y.pending[peer] = task
	}
	for _, r := range refs {
		task.want[r] = struct{}{}
	}
	if task.full = task.full || len(refs) == 0 || len(task.want) > syncRefs; task.full {
		clear(task.want)
	}
	y.mu.Unlock()
	poke(y.wake)
}

// next takes a task that can be done now, nil if there is none.
func (y *syncer) next() *syncTask {
	y.mu.Lock()
	defer y.mu.Unlock()
	if len(y.busy) >= syncAtOnce {
		return nil
	}
	for peer, task := range y.pending {
		if !y.busy[peer] {
			y.busy[peer] = true
			delete(y.pending, peer)
			return task
		}
	}
	return nil
}

// done says that a task with a peer has ended.
func (y *syncer) done(peer NodeID) {
	y.mu.Lock()
	delete(y.busy, peer)
	y.mu.Unlock()
	poke(y.wake)
}

// run does what is asked for until ctx ends.
func (y *syncer) run(ctx context.Context) {
	var tasks sync.WaitGroup
	defer tasks.Wait()
	for {
		select {
		case <-ctx.Done():
			return
		case <-y.wake:
		}
		for task := y.next(); task != nil; task = y.next() {
			tasks.Go(func() {
				defer y.done(task.peer)
				if err := y.s.m.syncPeer(ctx, task); err != nil {
					y.s.log.Debug("synchronize", "peer", task.peer, "err", err)
				}
			})
		}
	}
}

// syncPeer does a task.
func (m *Mesh) syncPeer(ctx context.Context, task *syncTask) error {
	ctx, cancel := context.WithTimeout(ctx, syncTimeout)
	defer cancel()
	base := PeerURL(task.peer)
	if !task.full {
		got, err := m.fetch(ctx, base, slices.Collect(maps.Keys(task.want)))
		if err != nil || !got.strangers {
			return err
		}
	}
	news, err := m.syncAll(ctx, base)
	m.paced(news)
	return err
}

// paced notes how many news a comparison with a peer has brought.
func (m *Mesh) paced(news int) {
	m.mu.RLock()
	s := m.session
	m.mu.RUnlock()
	if s != nil {
		s.pace.brought(news > 0)
	}
}

// syncAll makes this node and another have the same records, and returns how
// many were news here.
func (m *Mesh) syncAll(ctx context.Context, base string) (news int, err error) {
	answer, err := m.exchange(ctx, base, &wire.SyncRequest{Digests: m.replica.table.digest()})
	if err != nil {
		return 0, err
	}
	push, want, err := m.replica.compare(answer.GetBuckets())
	if err != nil {
		return 0, err
	}
	for len(push) > 0 {
		n := fit(push)
		if _, err := m.exchange(ctx, base, &wire.SyncRequest{Records: envelopesOf(push[:n])}); err != nil {
			return 0, err
		}
		push = push[n:]
	}
	got, err := m.fetch(ctx, base, want)
	return got.news, err
}

// fetched is what has come of asking for records.
type fetched struct {
	// news is how many were new here.
	news int
	// strangers tells whether some were refused for want of their author's
	// certificate.
	strangers bool
}

// fetch gets records from another node.
func (m *Mesh) fetch(ctx context.Context, base string, want []ref) (all fetched, err error) {
	for len(want) > 0 {
		n := min(len(want), syncRefs)
		part := want[:n]
		want = want[n:]
		req := &wire.SyncRequest{}
		for _, r := range part {
			req.Want = append(req.Want, &wire.Ref{Kind: string(r.kind), Key: r.key})
		}
		answer, err := m.exchange(ctx, base, req)
		if err != nil {
			return all, err
		}
		got := answer.GetRecords()
		news, unknown := m.replica.applyFrom(peerOf(base), got)
		all.strangers, all.news = all.strangers || unknown, all.news+len(news)
		m.learned(news)
		if len(got) > 0 && len(got) < len(part) {
			want = append(m.replica.stillWanted(part, got), want...)
		}
	}
	return all, nil
}

// stillWanted returns the wanted records that are not among those received.
func (r *replica) stillWanted(want []ref, got []*wire.Envelope) []ref {
	have := make(map[ref]struct{}, len(got))
	for _, env := range got {
		if e, err := newEntry(env); err == nil {
			have[e.ref()] = struct{}{}
		}
	}
	var out []ref
	for _, w := range want {
		if _, ok := have[w]; !ok {
			out = append(out, w)
		}
	}
	if len(out) == len(want) {
		return nil // The other side sends what was not asked for: no end in sight.
	}
	return out
}

// compare says which records another node lacks, and which this one lacks,
// given what the other has in some buckets.
func (r *replica) compare(theirs []*wire.Bucket) (push []*entry, want []ref, err error) {
	listed := make(map[uint8]map[ref]*wire.Summary, len(theirs))
	for _, b := range theirs {
		if b.GetIndex() >= buckets {
			return nil, nil, fmt.Errorf("compare records: %w", errBadMessage)
		}
		in := make(map[ref]*wire.Summary, len(b.GetEntries()))
		for _, s := range b.GetEntries() {
			k := ref{Kind(s.GetKind()), s.GetKey()}
			in[k] = s
			if mine := r.table.get(k); mine == nil || mine.before(s) {
				want = append(want, k)
			}
		}
		listed[uint8(b.GetIndex())] = in
	}
	push = r.table.entries(func(e *entry) bool {
		in, ok := listed[e.bucket]
		if !ok {
			return false
		}
		s, has := in[e.ref()]
		return !has || e.after(s)
	})
	inExchangeOrder(push)
	return push, refsInOrder(want), nil
}

// before tells whether a summary is of a newer state than e.
func (e *entry) before(s *wire.Summary) bool {
	if v := Version(s.GetVersion()); v != e.Version {
		return v > e.Version
	}
	return s.GetSignature() > e.hash
}

// after tells whether e is newer than the state in a summary.
func (e *entry) after(s *wire.Summary) bool {
	if v := Version(s.GetVersion()); v != e.Version {
		return v < e.Version
	}
	return s.GetSignature() < e.hash
}
