package eventlog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	api "edgenet.dev/edgenet/api/edgenet/v1"
	"edgenet.dev/edgenet/internal/events"
)

// at is when all happens.
var at = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func open(t testing.TB, cfg Config) *Log {
	t.Helper()
	cfg.Logger = slog.New(slog.DiscardHandler)
	l, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// begun is a new log that has its first commit behind it, and its path.
func begun(t testing.TB) (*Log, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "events.db")
	l := open(t, Config{Path: path})
	commit(t, l)
	return l, path
}

func commit(t testing.TB, l *Log, changes ...Change) {
	t.Helper()
	if begun, err := l.Commit(at, "beef", "", changes); begun || err != nil {
		t.Fatalf("begun anew: %v, %v", begun, err)
	}
}

// vpc makes the VPC of a name what has so many prefixes; 0 is none.
func vpc(name string, prefixes int) Change {
	c := Change{Key: "2/" + name}
	if prefixes > 0 {
		c.After = &api.WatchResponse{Object: &api.WatchResponse_Vpc{Vpc: &api.VPC{Name: name, Cidrs: make([]string, prefixes)}}}
	}
	return c
}

// said is an event in words.
func said(e *api.WatchResponse) string {
	return fmt.Sprintf("%s %s %d", e.GetEvent(), e.GetVpc().GetName(), len(e.GetVpc().GetCidrs()))
}

func head(t testing.TB, l *Log) events.Revision {
	t.Helper()
	at, _, _, err := l.Head()
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// all are the events behind a revision, in words.
func all(t testing.TB, l *Log, at events.Revision) []string {
	t.Helper()
	var out []string
	ctx, cancel := context.WithCancel(t.Context())
	err := l.Follow(ctx, at, func(events.Revision) error {
		cancel()
		return nil
	}, func(at events.Revision, e *api.WatchResponse) error {
		if e.GetRevision() != at.String() {
			t.Errorf("revision %s is sent as %s", at, e.GetRevision())
		}
		out = append(out, said(e))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestTheFirstCommitIsWhatThereIsToBeginWith(t *testing.T) {
	l := open(t, Config{Path: filepath.Join(t.TempDir(), "events.db")})
	commit(t, l, vpc("blue", 1))
	if at := head(t, l); at.Number != 0 {
		t.Errorf("the log is at %s, want no event", at)
	}
	_, objects, err := l.Objects()
	if err != nil || len(objects) != 1 {
		t.Fatalf("objects %v, %v", objects, err)
	}
	m, err := objects[0].Decode()
	if err != nil || m.GetVpc().GetName() != "blue" {
		t.Errorf("object %v, %v", m, err)
	}
	commit(t, l, vpc("blue", 1), vpc("green", 1), vpc("red", 0))
	if got := all(t, l, events.Revision{Log: head(t, l).Log}); len(got) != 1 || got[0] != "vpc-created green 1" {
		t.Errorf("events %v", got)
	}
}

func TestRevisionsThatAreNotThere(t *testing.T) {
	l := open(t, Config{Path: filepath.Join(t.TempDir(), "events.db"), MaxEvents: 3})
	commit(t, l)
	for i := range 5 {
		commit(t, l, vpc("blue", i+1))
	}
	now := head(t, l)
	for _, tt := range []struct {
		name string
		at   events.Revision
		want int // events; -1 is that it is forgotten
	}{
		{"the last one", now, 0},
		{"the oldest that is there", events.Revision{Log: now.Log, Number: 2}, 3},
		{"one before", events.Revision{Log: now.Log, Number: 1}, -1},
		{"the beginning", events.Revision{Log: now.Log}, -1},
		{"one that is to come", events.Revision{Log: now.Log, Number: 6}, -1},
		{"the last there can be", events.Revision{Log: now.Log, Number: 1<<64 - 1}, -1},
		{"another log's", events.Revision{Log: "0123456789abcdef", Number: 5}, -1},
	} {
		page, err := l.After(tt.at)
		if errors.Is(err, ErrForgotten) != (tt.want < 0) || len(page) != max(tt.want, 0) {
			t.Errorf("%s: %d events, %v", tt.name, len(page), err)
		}
	}
	if err := l.Begin(); err != nil {
		t.Fatal(err)
	}
	if _, err := l.After(now); !errors.Is(err, ErrForgotten) {
		t.Errorf("after a log was begun anew, the old revision gives %v", err)
	}
}

func TestBytesAreBoundedToo(t *testing.T) {
	l := open(t, Config{Path: filepath.Join(t.TempDir(), "events.db"), MaxBytes: 4096})
	commit(t, l)
	for i := range 50 {
		commit(t, l, vpc("blue", 100+i)) // some 250 bytes
	}
	oldest, err := l.Since(time.Unix(0, 0))
	if err != nil {
		t.Fatal(err)
	}
	if kept := head(t, l).Number - oldest.Number; kept < 5 || kept > 20 {
		t.Errorf("%d events are kept", kept)
	}
	commit(t, l, vpc("green", 5000))
	if got := all(t, l, events.Revision{Log: oldest.Log, Number: head(t, l).Number - 1}); len(got) != 1 {
		t.Errorf("an event that is larger than all may be is kept %d times", len(got))
	}
	if at, err := l.Since(at.Add(time.Hour)); err != nil || at != head(t, l) {
		t.Errorf("since later: %s, %v", at, err)
	}
}

func TestADamagedLogIsMovedAside(t *testing.T) {
	for name, damage := range map[string]func([]byte) []byte{
		"cut short":   func(b []byte) []byte { return b[:len(b)/2] },
		"no log":      func([]byte) []byte { return []byte("this is no log of events at all") },
		"overwritten": func(b []byte) []byte { return append(b[:8192:8192], make([]byte, len(b)-8192)...) },
		"an event":    func(b []byte) []byte { return flip(b, "vpc-created") },
	} {
		t.Run(name, func(t *testing.T) {
			l, path := begun(t)
			for i := range 200 {
				commit(t, l, vpc(fmt.Sprint("blue-", i), 1+i%7))
			}
			before := head(t, l)
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			b, err := os.ReadFile(path)
			if err == nil {
				err = os.WriteFile(path, damage(b), 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			l = open(t, Config{Path: path})
			if now, _, whole, err := l.Head(); err != nil || whole || now.Log == before.Log {
				t.Errorf("the log is at %s, whole %v, %v; was at %s", now, whole, err, before)
			}
			if _, err := os.Stat(path + ".damaged"); err != nil {
				t.Error(err)
			}
			commit(t, l, vpc("green", 1))
			commit(t, l, vpc("green", 2))
			if got := all(t, l, events.Revision{Log: head(t, l).Log}); len(got) != 1 {
				t.Errorf("events %v", got)
			}
			if l.Problem() != nil {
				t.Error(l.Problem())
			}
		})
	}
}

// flip makes the names of the last event that is stored no text.
func flip(b []byte, text string) []byte {
	for i := range len(b) - len(text) {
		if string(b[i:i+len(text)]) == text {
			b[i] = 0xff
		}
	}
	return b
}

func TestALogThatCannotBeWrittenGoesOnElsewhere(t *testing.T) {
	dir := t.TempDir()
	cfg := Config{Path: filepath.Join(dir, "absent", "events.db"), Fallback: filepath.Join(dir, "events.db")}
	l := open(t, cfg)
	if l.Problem() == nil {
		t.Error("there is no problem")
	}
	commit(t, l)
	commit(t, l, vpc("blue", 1))
	elsewhere := head(t, l)
	if got := all(t, l, events.Revision{Log: elsewhere.Log}); len(got) != 1 {
		t.Errorf("events %v", got)
	}
	if err := errors.Join(l.Close(), os.Mkdir(filepath.Join(dir, "absent"), 0o700)); err != nil {
		t.Fatal(err)
	}
	l = open(t, cfg)
	if _, err := os.Stat(cfg.Fallback); err == nil {
		t.Error("what was elsewhere is still there")
	}
	if _, err := l.After(elsewhere); !errors.Is(err, ErrForgotten) || l.Problem() != nil {
		t.Errorf("where it belongs, the other's revision gives %v; %v", err, l.Problem())
	}
}

func TestAWriteThatFailsBeginsElsewhere(t *testing.T) {
	dir := t.TempDir()
	cfg := Config{Path: filepath.Join(dir, "events.db"), Fallback: filepath.Join(dir, "other.db")}
	l := open(t, cfg)
	commit(t, l, vpc("blue", 1))
	before := head(t, l)
	if err := l.db.Close(); err != nil { // all writes fail from here on
		t.Fatal(err)
	}
	begun, err := l.Commit(at, "beef", "", []Change{vpc("blue", 2)})
	if !begun || err != nil || l.Problem() == nil {
		t.Fatalf("begun %v, %v, problem %v", begun, err, l.Problem())
	}
	if _, err := l.After(before); !errors.Is(err, ErrForgotten) {
		t.Errorf("the old revision gives %v", err)
	}
	commit(t, l, vpc("blue", 2))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Commit(at, "beef", "", nil); !errors.Is(err, ErrClosed) {
		t.Errorf("a closed log takes a commit: %v", err)
	}
}
