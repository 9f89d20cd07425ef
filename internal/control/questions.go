package control

import (
	"context"
	"log/slog"
	"net/http"
	"sync"

	"connectrpc.com/connect"

	"edgenet.dev/edgenet/api/edgenet/v1/edgenetv1connect"
	"edgenet.dev/edgenet/internal/daemon"
	"edgenet.dev/edgenet/pkg/mesh"
)

const (
	// maxQuestion bounds a question of another node, in bytes.
	maxQuestion = 16 << 10
	// maxQuestions bounds those that are answered at once, maxOfCaller those of
	// one node: a trace asks both of its sides. More wait.
	maxQuestions = 8
	maxOfCaller  = 2
)

// peerQuestions serves PeerService, and its path.
func peerQuestions(d *daemon.Daemon, log *slog.Logger) (string, http.Handler) {
	path, handler := edgenetv1connect.NewPeerServiceHandler(peerService{d},
		connect.WithReadMaxBytes(maxQuestion), connect.WithInterceptors(errorInterceptor{log}))
	return path, newQuestions().limit(handler)
}

// questions takes turns: a node that asks without end, or never finishes a
// question, keeps no other from asking.
type questions struct {
	all chan struct{}
	mu  sync.Mutex
	of  map[mesh.NodeID]*asker
}

// asker is a node that has calls here, answered or waiting.
type asker struct {
	turns chan struct{}
	calls int
}

func newQuestions() *questions {
	return &questions{all: make(chan struct{}, maxQuestions), of: map[mesh.NodeID]*asker{}}
}

func (q *questions) limit(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		caller, _ := mesh.PeerFromContext(r.Context())
		own := q.enter(caller.ID)
		defer q.leave(caller.ID)
		for _, turns := range []chan struct{}{own, q.all} {
			if !await(r.Context(), turns) {
				return
			}
			defer func() { <-turns }()
		}
		next.ServeHTTP(w, r)
	})
}

// await takes a turn, and tells whether it could before ctx ended.
func await(ctx context.Context, turns chan struct{}) bool {
	select {
	case turns <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

func (q *questions) enter(id mesh.NodeID) chan struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	a := q.of[id]
	if a == nil {
		a = &asker{turns: make(chan struct{}, maxOfCaller)}
		q.of[id] = a
	}
	a.calls++
	return a.turns
}

func (q *questions) leave(id mesh.NodeID) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if a := q.of[id]; a.calls > 1 {
		a.calls--
		return
	}
	delete(q.of, id)
}
