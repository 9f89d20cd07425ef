package proc_test

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
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

// A process is found by how it was started, also when nothing else leads to it, and not
// when it has ended. Neither another program with that environment is taken for it, nor
// one in another network namespace, where tenants are.
func TestAProcessIsFoundByItsStart(t *testing.T) {
	by := proc.Start{Program: program(t, "sleep"), Entry: "EDGENET_TEST_MARK=" + t.TempDir()}
	run(t, program(t, "cat"), by.Entry, 0)
	if os.Geteuid() == 0 {
		run(t, by.Program, by.Entry, unix.CLONE_NEWNET)
	}
	copied := filepath.Join(t.TempDir(), "sleep")
	text, err := os.ReadFile(by.Program)
	if err == nil {
		err = os.WriteFile(copied, text, 0o700)
	}
	if err != nil {
		t.Fatal(err)
	}
	replaced := proc.Start{Program: copied, Entry: by.Entry}
	for _, by := range []proc.Start{by, replaced} {
		cmd := run(t, by.Program, by.Entry, 0)
		if by == replaced { // as by an upgrade
			if err := os.Remove(by.Program); err != nil {
				t.Fatal(err)
			}
		}
		found, err := proc.Started(by)
		if err != nil || len(found) != 1 || found[0].PID != cmd.Process.Pid || !found[0].StartedBy(by) {
			t.Fatalf("found %v, %v, want %d alone", found, err, cmd.Process.Pid)
		}
		defer proc.CloseAll(found)
		if others, err := proc.Started(proc.Start{Program: by.Program, Entry: by.Entry + "/"}); len(others) > 0 || err != nil {
			t.Errorf("by another entry %v is found, %v", others, err)
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // it was killed
		if left, err := proc.Started(by); len(left) > 0 || err != nil {
			t.Errorf("after its end %v is found, %v", left, err)
		}
	}
}

// A program is known by a link that leads to it, too.
func TestAProgramIsFoundByALink(t *testing.T) {
	by := proc.Start{Program: filepath.Join(t.TempDir(), "link"), Entry: "EDGENET_TEST_MARK=" + t.TempDir()}
	if err := os.Symlink(program(t, "sleep"), by.Program); err != nil {
		t.Fatal(err)
	}
	cmd := run(t, by.Program, by.Entry, 0)
	found, err := proc.Started(by)
	defer proc.CloseAll(found)
	if err != nil || len(found) != 1 || found[0].PID != cmd.Process.Pid {
		t.Errorf("found %v, %v, want %d alone", found, err, cmd.Process.Pid)
	}
}

// A child that has let go of its socket and ends a moment later is collected, and one
// that goes on is left alone.
func TestAChildThatIsAboutToEndIsCollected(t *testing.T) {
	ends := run(t, program(t, "sleep"), "EDGENET_TEST_MARK=ends", 0).Process
	time.AfterFunc(50*time.Millisecond, func() { _ = ends.Kill() })
	proc.Reap(t.Context(), ends.Pid)
	if err := unix.Kill(ends.Pid, 0); !errors.Is(err, unix.ESRCH) {
		t.Errorf("the child is still there: %v", err)
	}

	runs := run(t, program(t, "sleep"), "EDGENET_TEST_MARK=runs", 0).Process
	proc.Reap(t.Context(), runs.Pid)
	if err := unix.Kill(runs.Pid, 0); err != nil {
		t.Errorf("a child that runs is gone: %v", err)
	}
}

// program is the file of one.
func program(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err == nil {
		path, err = filepath.EvalSymlinks(path)
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// run starts a program, which runs when Start returns, until the test ends.
func run(t *testing.T, program, entry string, clone uintptr) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(program)
	if filepath.Base(program) != "cat" { // which reads for as long
		cmd.Args = append(cmd.Args, "1000")
	}
	cmd.Env = []string{entry}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: clone}
	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd
}
