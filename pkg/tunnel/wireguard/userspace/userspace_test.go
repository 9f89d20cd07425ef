package userspace

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestArgumentsAreReadAsTheyAreWritten(t *testing.T) {
	want := Options{Device: "en0123456789w", MTU: 1380, ReadyFD: 3, LogLevel: slog.LevelDebug}
	args := want.Args()
	if args[0] != Command {
		t.Errorf("first argument is %q, want %q", args[0], Command)
	}
	got, err := parse(args[1:])
	if err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
}

func TestWrongUsageIsExitCode2(t *testing.T) {
	for name, args := range map[string][]string{
		"no device":       {},
		"a long device":   {"--device", strings.Repeat("n", unix.IFNAMSIZ)},
		"an unknown flag": {"--device", "en0w", "--fast"},
		"an argument":     {"--device", "en0w", "now"},
		"a bad MTU":       {"--device", "en0w", "--mtu", "large"},
		"a bad level":     {"--device", "en0w", "--log-level", "loud"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Main(args); got != 2 {
				t.Errorf("exit code is %d, want 2", got)
			}
		})
	}
}

func TestLogStartsOverWhenItIsFull(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	const limit = 100
	b := newBoundedFile(f, limit)
	for i := range 50 {
		line := strings.Repeat(string(rune('a'+i%26)), 29) + "\n"
		if n, err := b.Write([]byte(line)); err != nil || n != len(line) {
			t.Fatalf("write: %d, %v", n, err)
		}
		text, err := os.ReadFile(path)
		if err != nil || len(text) > limit || !strings.HasSuffix(string(text), line) {
			t.Fatalf("log is %q, %v, want at most %d bytes that end in %q", text, err, limit, line)
		}
	}
}

func TestLogMayBeAPipe(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	defer func() { _ = w.Close() }()
	if _, err := newBoundedFile(w, 1).Write([]byte("longer than the limit\n")); err != nil {
		t.Error(err)
	}
}

func TestOnlyInheritedDescriptorsAreClosed(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	defer func() { _ = w.Close() }()
	inherited, kept := duplicate(t, w), duplicate(t, w)
	closeInherited(kept)
	if _, err := unix.FcntlInt(uintptr(inherited), unix.F_GETFD, 0); err == nil {
		t.Error("an inherited descriptor is still open")
		_ = unix.Close(inherited)
	}
	if flags, err := unix.FcntlInt(uintptr(kept), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("the kept descriptor has flags %#x, %v, want close-on-exec", flags, err)
	}
	if err := unix.Close(kept); err != nil {
		t.Error(err)
	}
	if _, err := w.WriteString("x"); err != nil {
		t.Errorf("an own descriptor is closed: %v", err)
	}
}

// duplicate returns a descriptor that an exec would not close.
func duplicate(t *testing.T, f *os.File) int {
	t.Helper()
	fd, err := unix.Dup(int(f.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	return fd
}
