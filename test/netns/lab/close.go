package lab

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// goneTime is how long the kernel may take to free what was let go of.
var goneTime = 15 * time.Second * slowness

// close takes the lab down by the daemons' own means, checks that this left
// nothing, then removes by force whatever is there.
func (l *Lab) close() {
	l.t.Helper()
	var ending sync.WaitGroup
	for _, h := range l.hosts {
		ending.Go(func() {
			if err := h.end(); err != nil {
				l.t.Errorf("end %s: %v", h.Name, err)
			}
		})
	}
	ending.Wait()
	for _, h := range l.hosts {
		l.checkLog(h)
	}
	for _, c := range append(l.containers, l.strangers...) {
		if err := c.agent.Close(); err != nil {
			l.t.Errorf("end %s: %v", c.Name, err)
		}
	}
	for _, h := range l.hosts {
		if err := await(goneTime, func() error { return h.marks.left(h) }); err != nil {
			l.t.Errorf("left behind on %s:\n%v", h.Name, err)
		}
	}
	if l.t.Failed() {
		l.explain()
	}
	l.demolish()
}

// end stops the host's daemon and has it remove what is in the kernel.
func (h *Host) end() error {
	var problems []error
	if h.daemon != nil {
		end := unix.SIGTERM
		if h.lab.t.Failed() && os.Getenv("EDGENET_LAB_STACKS") != "" {
			end = unix.SIGQUIT // Go's runtime writes down where each goroutine is
		}
		problems = append(problems, h.signal(end))
	}
	if h.started {
		problems = append(problems, h.cleanUp())
	}
	return errors.Join(problems...)
}

// CleanUp runs edgenetd --cleanup on the stopped host.
func (h *Host) CleanUp() {
	h.lab.t.Helper()
	if err := h.cleanUp(); err != nil {
		h.lab.t.Errorf("on %s: %v", h.Name, err)
	}
}

func (h *Host) cleanUp() error {
	code, said, err := h.runDaemon("--cleanup", "--state-dir", h.StateDir(), "--run-dir", h.RunDir())
	if err == nil && code != 0 {
		err = fmt.Errorf("exit %d:\n%s", code, said)
	}
	if err != nil {
		return fmt.Errorf("edgenetd --cleanup: %w", err)
	}
	return nil
}

// LeavesNothing awaits that nothing of edgenet's is on the host any more.
func (h *Host) LeavesNothing() {
	h.lab.t.Helper()
	if err := await(goneTime, func() error { return h.marks.left(h) }); err != nil {
		h.lab.t.Errorf("left behind on %s:\n%v", h.Name, err)
	}
}

// checkLog fails the test for what no daemon may ever say.
func (l *Lab) checkLog(h *Host) {
	l.t.Helper()
	log := h.Log()
	for _, never := range []string{"DATA RACE", "panic:", "fatal error:"} {
		if strings.Contains(log, never) {
			l.t.Errorf("the log of %s has %q", h.Name, never)
		}
	}
}

// explainLines is how much of each log is shown after a failure.
const explainLines = 60

// explain shows what the daemons said last. EDGENET_LAB_LOGS names a directory
// that gets the whole logs; EDGENET_LAB_STACKS=1 shows all of them, and where each
// goroutine was when the test had failed.
func (l *Lab) explain() {
	for _, h := range l.hosts {
		log := h.Log()
		if log == "" {
			continue
		}
		if dir := os.Getenv("EDGENET_LAB_LOGS"); dir != "" {
			name := fmt.Sprintf("%s/%s-%s.log", dir, strings.ReplaceAll(l.t.Name(), "/", "-"), h.Name)
			if err := os.WriteFile(name, []byte(log), 0o600); err != nil {
				l.t.Logf("keep log: %v", err)
			}
		}
		lines := strings.Split(strings.TrimSpace(log), "\n")
		if first := len(lines) - explainLines; first > 0 && os.Getenv("EDGENET_LAB_STACKS") == "" {
			lines = lines[first:]
		}
		l.t.Logf("edgenetd on %s said last:\n%s", h.Name, strings.Join(lines, "\n"))
	}
}

// demolish removes the namespaces with everything in them, and the files.
func (l *Lab) demolish() {
	l.t.Helper()
	for _, h := range l.hosts {
		if h.ns == nil {
			continue
		}
		killAll(h.ns.id)
		for socket := range h.marks.sockets {
			_ = os.Remove(socket)
		}
		if err := h.ns.delete(); err != nil {
			l.t.Errorf("remove host %s: %v", h.Name, err)
		}
	}
	if l.internet != nil {
		if err := l.internet.delete(); err != nil {
			l.t.Errorf("remove the internet: %v", err)
		}
	}
	if err := os.RemoveAll(l.dir); err != nil {
		l.t.Errorf("remove lab directory: %v", err)
	}
}

// killAll ends every process in one of the lab's own namespaces.
func killAll(namespaceID string) {
	if namespaceID == "" {
		return
	}
	for _, pid := range processes(namespaceID) {
		_ = unix.Kill(pid, unix.SIGKILL)
	}
	_ = await(goneTime, func() error {
		if pids := processes(namespaceID); len(pids) > 0 {
			return errors.New(describe(pids))
		}
		return nil
	})
}
