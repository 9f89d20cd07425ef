package control

import (
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
)

// A node whose questions never end keeps its own waiting, and nobody else's.
func TestANodeThatAsksWithoutEndHoldsNobodyUp(t *testing.T) {
	q := newQuestions()
	begun, end := make(chan struct{}), make(chan struct{})
	handler := q.limit(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		begun <- struct{}{}
		<-end
	}))
	const asked = maxQuestions + 1
	var all sync.WaitGroup
	for range asked {
		all.Go(func() {
			handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", nil))
		})
	}
	for range maxOfCaller {
		<-begun
	}
	if n := len(q.all); n != maxOfCaller {
		t.Errorf("one node has %d turns of %d, want %d", n, maxQuestions, maxOfCaller)
	}
	if other := q.enter("another"); !await(t.Context(), other) || !await(t.Context(), q.all) {
		t.Error("another node gets no turn")
	}
	<-q.all
	q.leave("another")
	close(end)
	for range asked - maxOfCaller {
		<-begun
	}
	all.Wait()
	if len(q.of)+len(q.all) > 0 {
		t.Errorf("it still remembers %v, and %d turns", q.of, len(q.all))
	}
}
