package lab

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Launch is a way to put a daemon into its network namespace.
type Launch int

// The ways.
const (
	// ByExec is `ip netns exec`: a private mount namespace, a new /sys.
	ByExec Launch = iota
	// BySetns changes the network namespace only, as nsenter does.
	BySetns
)

// Start starts the daemon and returns when its socket answers.
func (h *Host) Start() {
	h.lab.t.Helper()
	if err := h.start(); err != nil {
		h.lab.t.Fatalf("start edgenetd on %s: %v", h.Name, err)
	}
}

func (h *Host) start() error {
	if h.daemon != nil {
		return errors.New("it runs already")
	}
	log, err := h.openLog()
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	cmd := h.command(h.arguments()...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := h.launch(cmd); err != nil {
		return err
	}
	h.daemon = watch(cmd)
	if err := h.awaitReady(); err != nil {
		return err
	}
	h.started = true
	return nil
}

// awaitReady waits until the control socket answers.
func (h *Host) awaitReady() error {
	var gone error
	err := await(patience, func() error {
		select {
		case <-h.daemon.done:
			gone = fmt.Errorf("it ended: %s", h.daemon.cmd.ProcessState)
			return nil
		default:
		}
		_, err := h.API().Status()
		return err
	})
	if err != nil {
		return fmt.Errorf("its socket does not answer: %w", err)
	}
	if gone != nil {
		h.daemon = nil
	}
	return gone
}

// StartFails starts the daemon and expects that it ends by itself with an
// error, soon. It returns what it said.
func (h *Host) StartFails() string {
	h.lab.t.Helper()
	code, said := h.RunDaemon(h.arguments()...)
	if code == 0 {
		h.lab.t.Fatalf("edgenetd on %s ended with 0, wanted an error; it said:\n%s", h.Name, said)
	}
	return said
}

// RunDaemon runs edgenetd with the given arguments until it ends by itself, and
// returns its exit code and what it said.
func (h *Host) RunDaemon(args ...string) (code int, said string) {
	h.lab.t.Helper()
	code, said, err := h.runDaemon(args...)
	if err != nil {
		h.lab.t.Fatalf("run edgenetd on %s: %v", h.Name, err)
	}
	return code, said
}

func (h *Host) runDaemon(args ...string) (code int, said string, err error) {
	cmd := h.command(args...)
	var output strings.Builder
	cmd.Stdout, cmd.Stderr = &output, &output
	// A child that outlives it (the tunnel's process) must not hold up Wait.
	cmd.WaitDelay = 5 * time.Second
	if err := h.launch(cmd); err != nil {
		return 0, "", err
	}
	late := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	defer late.Stop()
	_ = cmd.Wait() // the exit code has how it ended
	return cmd.ProcessState.ExitCode(), output.String(), nil
}

// Kill ends the daemon with SIGKILL.
func (h *Host) Kill() {
	h.lab.t.Helper()
	h.mustRun()
	_ = h.signal(unix.SIGKILL) // that is the error it ends with
}

// Stop ends the daemon with SIGTERM and expects that it ends well.
func (h *Host) Stop() {
	h.lab.t.Helper()
	h.mustRun()
	if err := h.signal(unix.SIGTERM); err != nil {
		h.lab.t.Errorf("edgenetd on %s did not end well: %v", h.Name, err)
	}
}

// Restart is Stop and Start.
func (h *Host) Restart() {
	h.lab.t.Helper()
	h.Stop()
	h.Start()
}

func (h *Host) mustRun() {
	h.lab.t.Helper()
	if h.daemon == nil {
		h.lab.t.Fatalf("edgenetd on %s does not run", h.Name)
	}
}

// PID is the daemon's process.
func (h *Host) PID() int { return h.daemon.cmd.Process.Pid }

// arguments returns the flags in a stable order.
func (h *Host) arguments() []string {
	var args []string
	for _, name := range slices.Sorted(maps.Keys(h.Flags)) {
		args = append(args, "--"+name, h.Flags[name])
	}
	return args
}

// command is edgenetd as it is launched on this host.
func (h *Host) command(args ...string) *exec.Cmd {
	program := h.lab.edgenetd
	if h.program != "" {
		program = h.program
	}
	argv := append([]string{program}, args...)
	if h.Launch == ByExec {
		argv = append([]string{"ip", "netns", "exec", h.ns.name}, argv...)
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = h.dir
	cmd.Env = append(environment(), h.Env...)
	return cmd
}

// launch starts the command in the host's namespace.
func (h *Host) launch(cmd *exec.Cmd) error {
	if h.Launch == ByExec {
		return cmd.Start()
	}
	return startIn(h.ns.path, cmd)
}

// environment is the test's own but for what would configure edgenet.
func environment() []string {
	return slices.DeleteFunc(os.Environ(), func(variable string) bool {
		return strings.HasPrefix(variable, "EDGENET")
	})
}

func (h *Host) logPath() string { return filepath.Join(h.dir, "edgenetd.log") }

func (h *Host) openLog() (*os.File, error) {
	log, err := os.OpenFile(h.logPath(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	return log, nil
}

// Log is everything that the host's daemons have said so far.
func (h *Host) Log() string {
	bytes, err := os.ReadFile(h.logPath())
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err.Error()
	}
	return string(bytes)
}
