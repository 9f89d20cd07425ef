package daemon

import (
	"cmp"
	"context"
	"fmt"
	"hash/maphash"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	api "edgenet.dev/edgenet/api/edgenet/v1"
	"edgenet.dev/edgenet/internal/eventlog"
)

const (
	// recordDelay gathers changes, so that a burst is one write.
	recordDelay = 50 * time.Millisecond
	// recordShare is how many times as long as a round took the next one is away at
	// least, and recordMost how long at most: in a storm most of the time is left.
	recordShare = 10
	recordMost  = time.Second
	// foundAtStart is said of what has changed while nobody looked.
	foundAtStart = "found when edgenetd started"
)

// recorded is what there is at a moment.
type recorded struct {
	// mesh is empty in no mesh.
	mesh  string
	nodes []*api.Node
	*snapshot
}

// recorder compares what there is with what the log of events last said, and enters
// what is otherwise. It alone writes there.
type recorder struct {
	log     *eventlog.Log
	look    func() recorded
	trouble *complaint
	// asks are those who wait for a round: it closes what they send.
	asks chan chan struct{}

	doubts doubts
	// known are the objects that the log has, by key; nil if that is to be read. round
	// tells those that are still there from others.
	known map[string]*known
	round uint64
	seed  maphash.Seed
	// started is true after the first round.
	started bool
}

// known is an object that the log has.
type known struct {
	// digest is of the object; from what it was made of, if that alone says how it is.
	digest uint64
	from   any
	told   bool
	round  uint64
}

func newRecorder(log *eventlog.Log, look func() recorded, trouble *complaint) *recorder {
	return &recorder{log: log, look: look, trouble: trouble, asks: make(chan chan struct{}), doubts: newDoubts(), seed: maphash.MakeSeed()}
}

// upToDate waits until the log has what there is now. It is false if ctx ended before.
func (r *recorder) upToDate(ctx context.Context) bool {
	done := make(chan struct{})
	select {
	case r.asks <- done:
	case <-ctx.Done():
		return false
	}
	select {
	case <-done:
		return true
	case <-ctx.Done():
		return false
	}
}

// run makes a round after each change, until ctx ends.
func (r *recorder) run(ctx context.Context, changed <-chan struct{}) error {
	again := time.NewTimer(0)
	defer again.Stop()
	var asked chan struct{}
	for {
		begun := time.Now()
		now := r.look()
		if ctx.Err() != nil {
			return nil // how nodes look while the mesh is left to itself is no news
		}
		doubtful, err := r.record(begun, now)
		r.trouble.note(err)
		r.started = true
		if asked != nil {
			close(asked)
			asked = nil
		}
		again.Stop()
		if doubtful {
			again.Reset(doubtTick)
		}
		took := time.Since(begun)
		select {
		case asked = <-r.asks:
			continue
		case <-changed:
		case <-again.C:
		case <-ctx.Done():
			return nil
		}
		if !pause(ctx, min(max(recordDelay, recordShare*took), recordMost)) {
			return nil
		}
	}
}

// record is one round. It says whether there is something that time alone makes clear.
func (r *recorder) record(at time.Time, now recorded) (doubtful bool, err error) {
	_, of, _, err := r.log.Head()
	if err != nil {
		return false, err
	}
	if of != "" && of != now.mesh { // what belongs to a mesh that was left is nobody's business
		r.known, r.doubts = nil, newDoubts()
		if err := r.log.Begin(); err != nil {
			return false, err
		}
	}
	words := ""
	if !r.started {
		words = foundAtStart
	}
	for range 2 { // a log that is begun anew gets all there is
		if err := r.load(); err != nil {
			return false, err
		}
		changes, doubtful, err := r.changes(at, now)
		if err != nil {
			r.known = nil
			return false, err
		}
		if len(changes) == 0 && r.started && of == now.mesh {
			return doubtful, nil
		}
		begun, err := r.log.Commit(at, now.mesh, words, changes)
		if err != nil || begun {
			r.known = nil
		}
		if err != nil || !begun {
			return doubtful, err
		}
		of = ""
	}
	return true, nil
}

// load reads what the log has, unless that is known.
func (r *recorder) load() error {
	if r.known != nil {
		return nil
	}
	_, objects, err := r.log.Objects()
	if err != nil {
		return err
	}
	r.known = make(map[string]*known, len(objects))
	for _, o := range objects {
		r.known[o.Key] = &known{digest: maphash.Bytes(r.seed, o.Stored()), told: true}
	}
	return nil
}

// changes are what is not as the log has it. In the order of their keys each object
// comes after what it refers to, and goes before it.
func (r *recorder) changes(at time.Time, now recorded) (changes []eventlog.Change, doubtful bool, err error) {
	r.round++
	note := func(key string, from any, object func() *api.WatchResponse) {
		k := r.known[key]
		if k == nil {
			k = &known{}
			r.known[key] = k
		}
		if k.round = r.round; from != nil && k.from == from {
			return
		}
		m := object()
		b, failed := proto.MarshalOptions{Deterministic: true}.Marshal(m)
		if failed != nil {
			err = fmt.Errorf("encode object %s: %w", key, failed)
			return
		}
		digest := maphash.Bytes(r.seed, b)
		if k.from = from; k.told && k.digest == digest {
			return
		}
		k.digest, k.told = digest, true
		changes = append(changes, eventlog.Change{Key: key, After: m})
	}
	doubtful, failed := r.noteNodes(at, now.nodes, note)
	if failed != nil {
		return nil, false, failed
	}
	now.noteRecords(note)
	slices.SortFunc(changes, func(a, b eventlog.Change) int { return cmp.Compare(a.Key, b.Key) })
	var gone []string
	for key, k := range r.known {
		if k.round != r.round {
			gone = append(gone, key)
			delete(r.known, key)
		}
	}
	slices.Sort(gone)
	for _, key := range slices.Backward(gone) {
		changes = append(changes, eventlog.Change{Key: key})
	}
	return changes, doubtful, err
}

// noteNodes notes the nodes, those in doubt as the log has them.
func (r *recorder) noteNodes(at time.Time, nodes []*api.Node, note func(string, any, func() *api.WatchResponse)) (doubtful bool, err error) {
	r.doubts.begin(at, nodes)
	for _, n := range nodes {
		if t := n.GetTunnel(); t != nil {
			forgetFigures(t)
		}
		key := "1/" + n.GetId()
		var logged *api.Node
		if _, there := r.known[key]; there && r.doubts.mayBe(at, n, true) {
			m, err := r.log.Object(key)
			if err != nil {
				return false, err
			}
			logged = m.GetNode()
		}
		node, held := r.doubts.settle(at, n, logged)
		if doubtful = doubtful || held; node == nil {
			continue
		}
		note(key, nil, func() *api.WatchResponse {
			return &api.WatchResponse{Object: &api.WatchResponse_Node{Node: node}}
		})
	}
	return doubtful, nil
}

// noteRecords notes all that is in records alone.
func (s *snapshot) noteRecords(note func(key string, from any, object func() *api.WatchResponse)) {
	for name, v := range s.vpcs {
		note("2/"+name, v.vpcRecord, func() *api.WatchResponse {
			a := v.api()
			a.Endpoints = 0 // a figure: each of them is an event by itself
			return &api.WatchResponse{Object: &api.WatchResponse_Vpc{Vpc: a}}
		})
		for name, g := range v.groups {
			note(fmt.Sprintf("3/%d/%s", v.vni(), name), g, func() *api.WatchResponse {
				return &api.WatchResponse{Object: &api.WatchResponse_Group{Group: g.api(v)}}
			})
		}
	}
	for e := range s.endpoints() {
		var from any = e
		if e.lost || len(e.announced) > 0 {
			from = nil // how it is depends on others
		}
		note("4/"+e.key(), from, func() *api.WatchResponse {
			return &api.WatchResponse{Object: &api.WatchResponse_Endpoint{Endpoint: s.apiEndpoint(e)}}
		})
	}
}
