package proc_test

import (
	"context"
	"errors"
	"net"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"edgenet.dev/edgenet/pkg/tunnel/internal/proc"
)

// A process with a queue of one place, and two that want to speak to it: the
// second one waits for the first to be let in.
func TestAFullQueueIsWaitedFor(t *testing.T) {
	path := filepath.Join(t.TempDir(), "socket")
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrUnix{Name: path}), unix.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	dial := func(wait time.Duration) error {
		c, err := proc.Dial(t.Context(), path, time.Now().Add(wait))
		if err == nil {
			t.Cleanup(func() { _ = c.Close() })
		}
		return err
	}
	if err := dial(time.Second); err != nil {
		t.Fatal(err)
	}
	if err := dial(20 * time.Millisecond); err == nil {
		t.Fatal("there is room for two")
	}
	let := make(chan error, 1)
	go func() {
		in, _, err := unix.Accept4(fd, unix.SOCK_CLOEXEC)
		if err == nil {
			err = unix.Close(in)
		}
		let <- err
	}()
	if err := errors.Join(dial(5*time.Second), <-let); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := proc.Dial(ctx, path, time.Now().Add(time.Minute)); err == nil {
		t.Error("it does not end with its context")
	}
}

// Who listens is found, and who does not is no error.
func TestTheProcessBehindASocketIsFound(t *testing.T) {
	path := filepath.Join(t.TempDir(), "socket")
	if p, err := proc.Listening(t.Context(), path); p != nil || err != nil {
		t.Errorf("got %v, %v where nothing is", p, err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	p, err := proc.Listening(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if p.PID != unix.Getpid() {
		t.Errorf("process is %d, want this one, %d", p.PID, unix.Getpid())
	}
	if here, err := p.Here(); !here || err != nil {
		t.Errorf("it is here: %v, %v", here, err)
	}
	if ended, err := p.Ended(t.Context(), time.Millisecond); ended || err != nil {
		t.Errorf("it has ended: %v, %v", ended, err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if p, err := proc.Listening(t.Context(), path); p != nil || err != nil {
		t.Errorf("got %v, %v for a socket that is left", p, err)
	}
}

// A process is found by what it was started with, also when nothing else leads to it,
// and not when it has ended.
func TestAProcessIsFoundByItsEnvironment(t *testing.T) {
	entry := "EDGENET_TEST_MARK=" + t.TempDir()
	cmd := exec.Command("sleep", "1000")
	cmd.Env = []string{entry}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var found []*proc.Process
	for deadline := time.Now().Add(5 * time.Second); len(found) == 0; { // it has begun when it runs its program
		var err error
		if found, err = proc.Started(entry); err != nil || time.Now().After(deadline) {
			t.Fatalf("found %v, %v", found, err)
		}
	}
	defer proc.CloseAll(found)
	if len(found) != 1 || found[0].PID != cmd.Process.Pid || !found[0].StartedWith(entry) {
		t.Errorf("found %v, want %d alone", found, cmd.Process.Pid)
	}
	if others, err := proc.Started(entry + "/"); len(others) > 0 || err != nil {
		t.Errorf("by another entry %v is found, %v", others, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	if left, err := proc.Started(entry); len(left) > 0 || err != nil {
		t.Errorf("after its end %v is found, %v", left, err)
	}
}
