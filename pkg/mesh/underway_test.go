package mesh

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// A server with connections and no calls ends at once; one with a call gives it the
// time to end.
func TestAServerEndsWhenItsCallsHave(t *testing.T) {
	var u underway
	begun, finish := make(chan struct{}, 1), make(chan struct{})
	srv := httptest.NewUnstartedServer(u.count(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			begun <- struct{}{}
			<-finish
		}
		_, _ = io.WriteString(w, "whole")
	})))
	srv.EnableHTTP2 = true
	srv.StartTLS()
	defer srv.Close()
	get := func(path string) (string, error) {
		response, err := srv.Client().Get(srv.URL + path)
		if err != nil {
			return "", err
		}
		defer func() { _ = response.Body.Close() }()
		text, err := io.ReadAll(response.Body)
		return string(text), err
	}
	if text, err := get("/"); text != "whole" || err != nil { // a connection that is kept
		t.Fatalf("got %q, %v", text, err)
	}
	slow := make(chan string, 1)
	go func() {
		text, err := get("/slow")
		if err != nil {
			text = err.Error()
		}
		slow <- text
	}()
	<-begun
	ended := make(chan error, 1)
	go func() { ended <- u.stop(context.Background(), srv.Config) }()
	select {
	case err := <-ended:
		t.Fatalf("it ended with a call under way: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	close(finish)
	began := time.Now()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 900*time.Millisecond {
		t.Errorf("it ended %s after its last call", took)
	}
	if text := <-slow; text != "whole" {
		t.Errorf("the call that was under way got %q", text)
	}
}
