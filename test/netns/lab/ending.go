package lab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// quitTime is how long a daemon that does not end may take to say where it hangs.
var quitTime = 5 * time.Second * slowness

// daemon is a running edgenetd.
type daemon struct {
	cmd *exec.Cmd
	// done is closed when it has ended; err is set before.
	done chan struct{}
	err  error
}

// watch waits for the end of a program that was started.
func watch(cmd *exec.Cmd) *daemon {
	d := &daemon{cmd: cmd, done: make(chan struct{})}
	go func() {
		d.err = cmd.Wait()
		close(d.done)
	}()
	return d
}

// endsWithin tells whether it has ended by then.
func (d *daemon) endsWithin(limit time.Duration) bool {
	late := time.NewTimer(limit)
	defer late.Stop()
	select {
	case <-d.done:
		return true
	case <-late.C:
		return false
	}
}

// errHangs is the end of a daemon that a signal did not end in time.
var errHangs = errors.New("it did not end")

// end signals it and returns how it ended. If that takes longer than limit it is
// ended with what has Go's runtime write down where each goroutine is.
func (d *daemon) end(signal syscall.Signal, limit time.Duration) error {
	if err := d.cmd.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal edgenetd: %w", err)
	}
	if d.endsWithin(limit) {
		return d.err
	}
	_ = d.cmd.Process.Signal(unix.SIGQUIT) // errors: it has just ended
	if !d.endsWithin(quitTime) {
		_ = d.cmd.Process.Kill()
		<-d.done
	}
	return fmt.Errorf("%w within %s of signal %d, but later: %s", errHangs, limit, int(signal), d.cmd.ProcessState)
}

// signal ends the daemon and returns how it ended, and where it hung if it did not
// in time.
func (h *Host) signal(signal syscall.Signal) error {
	h.marks.note(h)
	said := len(h.Log())
	err := h.daemon.end(signal, patience)
	h.daemon = nil
	if errors.Is(err, errHangs) {
		return fmt.Errorf("%w; it said meanwhile\n%s", err, h.Log()[said:])
	}
	return err
}
