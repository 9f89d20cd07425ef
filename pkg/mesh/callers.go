package mesh

import (
	"net/http"
	"sync"
)

// maxSyncsOfNode is how many synchronizations one node may have here at once.
// It needs one, and some more while its earlier ones have not yet timed out.
const maxSyncsOfNode = 4

// callers counts the calls that each node has under way.
type callers struct {
	mu    sync.Mutex
	count map[NodeID]int
}

// limit lets a few calls of each node through at a time.
func (c *callers) limit(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, _ := PeerFromContext(r.Context())
		if !c.take(n.ID) {
			writeRefusal(w, http.StatusTooManyRequests, "too_many_calls", errTooManyCalls)
			return
		}
		defer c.release(n.ID)
		next.ServeHTTP(w, r)
	})
}

func (c *callers) take(id NodeID) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.count[id] >= maxSyncsOfNode {
		return false
	}
	if c.count == nil {
		c.count = make(map[NodeID]int)
	}
	c.count[id]++
	return true
}

func (c *callers) release(id NodeID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.count[id]--; c.count[id] == 0 {
		delete(c.count, id)
	}
}
