package daemon_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	api "edgenet.dev/edgenet/api/edgenet/v1"
	"edgenet.dev/edgenet/internal/daemon/daemontest"
)

// watcher is a scheduler that watches a node, and resumes where it was.
type watcher struct {
	t    *testing.T
	stop func()

	mu sync.Mutex
	// at is the last revision, lines what came with one.
	at    string
	lines []string
	// synced counts how often all there was had been sent.
	synced int
}

// watch begins, or resumes.
func (w *watcher) watch(n *daemontest.Node) {
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan struct{})
	w.mu.Lock()
	req := &api.WatchRequest{ResumeFrom: w.at}
	w.mu.Unlock()
	go func() {
		defer close(done)
		if err := n.Watch(ctx, req, w.take); err != nil {
			w.t.Error(err)
		}
	}()
	w.stop = func() {
		cancel()
		<-done
	}
	w.t.Cleanup(w.stop)
}

func (w *watcher) take(m *api.WatchResponse) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if m.GetRevision() != "" {
		w.at = m.GetRevision()
	}
	if m.GetType() == "synced" {
		w.synced++
	}
	if m.GetEvent() != "" {
		w.lines = append(w.lines, fmt.Sprintf("%s %s%s%s", m.GetEvent(), m.GetNode().GetName(), m.GetVpc().GetName(), m.GetEndpoint().GetName()))
	}
	return nil
}

// count is how often something was told.
func (w *watcher) count(line string) (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, l := range w.lines {
		if l == line {
			n++
		}
	}
	return n
}

// awaits waits until something was told, once.
func (w *watcher) awaits(line string) {
	w.t.Helper()
	defer func() {
		if w.t.Failed() {
			w.t.Logf("told were %q", w.lines)
		}
	}()
	daemontest.Await(w.t, line, func() bool { return w.count(line) > 0 })
	if n := w.count(line); n != 1 {
		w.t.Errorf("%s was told %d times", line, n)
	}
}

func TestAWatchResumesAcrossARestart(t *testing.T) {
	cloud, edge := pair(t)
	w := &watcher{t: t}
	w.watch(edge)
	daemontest.Await(t, "all is sent", func() bool { w.mu.Lock(); defer w.mu.Unlock(); return w.synced == 1 })
	if _, err := cloud.CreateVPC(t.Context(), &api.CreateVPCRequest{Name: "amber", Cidrs: []string{"10.0.0.0/24"}}); err != nil {
		t.Fatal(err)
	}
	w.awaits("vpc-created amber")
	w.stop()

	// What happens while nobody looks is told by whoever looks next.
	edge.Stop()
	for _, name := range []string{"green", "red"} {
		if _, err := cloud.CreateVPC(t.Context(), &api.CreateVPCRequest{Name: name, Cidrs: []string{"10.0.0.0/24"}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := cloud.DeleteVPC(t.Context(), "amber"); err != nil {
		t.Fatal(err)
	}
	edge.Start()
	w.watch(edge)
	w.awaits("vpc-created green")
	w.awaits("vpc-created red")
	w.awaits("vpc-deleted amber")

	// A node that dies and comes back.
	cloud.Stop()
	w.awaits("node-dead cloud-1")
	cloud.Start()
	w.awaits("node-back cloud-1")
	w.stop()
	for _, line := range []string{"node-forgotten cloud-1", "node-joined edge-1"} {
		if n := w.count(line); n > 0 {
			t.Errorf("told %s %d times", line, n)
		}
	}

	// Whoever asks for all that is stored gets the same, in the same order.
	again := &watcher{t: t}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if err := edge.Watch(ctx, &api.WatchRequest{Since: &timestamppb.Timestamp{}}, func(m *api.WatchResponse) error {
		if m.GetType() == "synced" {
			cancel()
		}
		return again.take(m)
	}); err != nil {
		t.Fatal(err)
	}
	begin := 0
	for begin < len(again.lines) && again.lines[begin] != "vpc-created amber" {
		begin++
	}
	first := 0
	for first < len(w.lines) && w.lines[first] != "vpc-created amber" {
		first++
	}
	if stored, seen := again.lines[begin:], w.lines[first:]; len(stored) < len(seen) || fmt.Sprint(stored[:len(seen)]) != fmt.Sprint(seen) {
		t.Errorf("stored is\n%q\nbut told was\n%q", stored, seen)
	}
}

func TestWatchesThatCannotBe(t *testing.T) {
	n, _ := authority(t)
	refuse := func(req *api.WatchRequest, code connect.Code, words ...string) {
		t.Helper()
		wantCode(t, n.Watch(t.Context(), req, func(m *api.WatchResponse) error {
			t.Errorf("sent %v", m)
			return nil
		}), code, words...)
	}
	refuse(&api.WatchRequest{Kinds: []string{"moon"}}, connect.CodeInvalidArgument, `kind "moon"`)
	refuse(&api.WatchRequest{ResumeFrom: "42"}, connect.CodeInvalidArgument, `revision "42"`)
	refuse(&api.WatchRequest{ResumeFrom: "0123456789abcdef-3"}, connect.CodeOutOfRange, "another log", "list what there is")
	refuse(&api.WatchRequest{ResumeFrom: "0123456789abcdef-3", Since: timestamppb.Now()}, connect.CodeInvalidArgument, "only one of them")
	refuse(&api.WatchRequest{Since: &timestamppb.Timestamp{Nanos: -1}}, connect.CodeInvalidArgument, "since: ")
}

// A file that is damaged costs the history and nothing else.
func TestADamagedEventLogStopsNothing(t *testing.T) {
	n, _ := authority(t)
	n.Stop()
	path := filepath.Join(n.Config.StateDir, "events.db")
	if err := os.WriteFile(path, []byte("this is no log of events"), 0o600); err != nil {
		t.Fatal(err)
	}
	n.Start()
	if _, err := os.Stat(path + ".damaged"); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var there []string
	err := n.Watch(ctx, &api.WatchRequest{Kinds: []string{"vpc"}}, func(m *api.WatchResponse) error {
		if m.GetType() == "synced" {
			cancel()
		}
		there = append(there, m.GetType()+m.GetVpc().GetName())
		return nil
	})
	if err != nil || fmt.Sprint(there) != "[addedblue synced]" {
		t.Errorf("there is %v, %v", there, err)
	}
}
