package mesh

import (
	"context"
	"net/http"
	"sync"
	"time"
)

// parting is how long an answer that a handler has finished may take to leave the
// host.
const parting = 50 * time.Millisecond

// underway counts calls, so that a server need not wait when there are none: that
// of net/http gives every HTTP/2 connection a second to take notice of its end.
type underway struct {
	mu    sync.Mutex
	calls int
	// idle is closed when there are none; nil if nobody waits for that.
	idle chan struct{}
}

// count counts the calls of a handler.
func (u *underway) count(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u.add(1)
		defer u.add(-1)
		next.ServeHTTP(w, r)
	})
}

func (u *underway) add(n int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.calls += n
	if u.calls == 0 && u.idle != nil {
		close(u.idle)
		u.idle = nil
	}
}

// wait waits until there are no calls, or ctx ends.
func (u *underway) wait(ctx context.Context) {
	u.mu.Lock()
	idle := u.idle
	if u.calls > 0 && idle == nil {
		idle = make(chan struct{})
		u.idle = idle
	}
	u.mu.Unlock()
	if idle == nil {
		return
	}
	select {
	case <-idle:
	case <-ctx.Done():
	}
}

// stop has the server say that it ends, gives calls until ctx ends, and ends it.
func (u *underway) stop(ctx context.Context, srv *http.Server) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	said := make(chan struct{})
	go func() {
		defer close(said)
		_ = srv.Shutdown(ctx) // which closes the listeners at once
	}()
	u.wait(ctx)
	select {
	case <-said:
	case <-ctx.Done():
	case <-time.After(parting):
	}
	cancel()
	<-said
	return srv.Close()
}
