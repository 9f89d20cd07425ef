package wireguard

import (
	"os"
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"
)

// A process that did not become ready, and was reaped by somebody, is not mistaken for
// the one that has its pid by now.
func TestAnotherOfItsPidIsNotAbandoned(t *testing.T) {
	start := func() *os.Process {
		t.Helper()
		cmd := exec.Command("sleep", "1000")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		})
		return cmd.Process
	}
	abandoned, other := start(), start()
	d := &driver{pid: other.Pid} // as if that were the pid of both
	if err := unix.Kill(abandoned.Pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if pid, err := unix.Wait4(abandoned.Pid, nil, 0, nil); err != nil || pid != abandoned.Pid {
		t.Fatalf("reaped is %d, %v", pid, err)
	}
	d.abandon(abandoned)
	if err := other.Signal(unix.Signal(0)); err != nil || d.pid != 0 {
		t.Errorf("the other one: %v; %d is still known", err, d.pid)
	}

	third := start()
	(&driver{}).abandon(third)
	if err := unix.Kill(third.Pid, 0); err != unix.ESRCH { //nolint:errorlint // a number
		t.Errorf("one that runs is not ended and reaped: %v", err)
	}
}
