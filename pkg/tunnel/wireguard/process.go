package wireguard

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"edgenet.dev/edgenet/pkg/tunnel"
	"edgenet.dev/edgenet/pkg/tunnel/internal/device"
	"edgenet.dev/edgenet/pkg/tunnel/internal/proc"
	"edgenet.dev/edgenet/pkg/tunnel/wireguard/userspace"
)

const (
	// startTimeout bounds a start of the process, which takes some 20 ms.
	startTimeout = 10 * time.Second
	// endTimeout bounds its end by itself, and then its end by SIGTERM.
	endTimeout = 5 * time.Second
)

// ensureProcess makes a userspace process serve the device.
func (d *driver) ensureProcess(ctx context.Context, want tunnel.Device) error {
	p, err := findProcess(ctx, want.Name)
	if err != nil {
		return err
	}
	if p != nil {
		defer p.Close()
		adopted, err := d.adopt(ctx, p, want.Name)
		if err != nil || adopted {
			return err
		}
	}
	if d.pid != 0 {
		d.log.Warn("userspace wireguard has died; another is started", "device", want.Name, "pid", d.pid)
		proc.Reap(ctx, d.pid)
		d.pid = 0
	}
	d.seen, d.silence = nil, proc.Silence{} // that was another's
	clear(d.asked)
	return d.start(ctx, want)
}

// adopt says whether the process serves the device. One whose device is gone is
// about to end; it is waited for.
func (d *driver) adopt(ctx context.Context, p *proc.Process, name string) (bool, error) {
	here, err := p.Here()
	if errors.Is(err, fs.ErrNotExist) { // it is ending
		return false, d.end(ctx, p)
	}
	if err != nil {
		return false, err
	}
	if !here {
		return false, fmt.Errorf("adopt process %d: it serves a device of this name in another network namespace", p.PID)
	}
	link, err := device.Find(name)
	if err != nil {
		return false, err
	}
	if link == nil {
		return false, d.end(ctx, p)
	}
	if d.silence.Hangs(d.now()) {
		d.log.Warn("userspace wireguard does not answer; it is killed, and another is started",
			"device", name, "pid", p.PID, "for", proc.HangTime)
		return false, d.kill(ctx, p)
	}
	if d.pid != p.PID {
		d.log.Info("userspace wireguard adopted", "device", name, "pid", p.PID)
	}
	d.pid = p.PID
	return true, nil
}

// endOwn ends a process that served this network namespace's device.
func (d *driver) endOwn(ctx context.Context, p *proc.Process) error {
	if elsewhere, err := p.Elsewhere(); elsewhere || err != nil {
		return err
	}
	return d.end(ctx, p)
}

// end waits until the process has ended: by itself, because its device is gone,
// or else by force.
func (d *driver) end(ctx context.Context, p *proc.Process) error {
	return d.endBy(ctx, p, 0, unix.SIGTERM, unix.SIGKILL)
}

// kill ends a process that does not answer.
func (d *driver) kill(ctx context.Context, p *proc.Process) error {
	d.silence.Answered()
	return d.endBy(ctx, p, unix.SIGKILL)
}

func (d *driver) endBy(ctx context.Context, p *proc.Process, signals ...unix.Signal) error {
	for i, sig := range signals {
		if sig != 0 {
			if i > 0 {
				d.log.Warn("userspace wireguard does not end", "pid", p.PID, "signal", sig)
			}
			if err := p.Signal(sig); err != nil {
				return err
			}
		}
		ended, err := p.Ended(ctx, endTimeout)
		if err != nil {
			return err
		}
		if ended {
			if d.pid == p.PID {
				d.pid = 0
			}
			return nil
		}
	}
	return fmt.Errorf("end process %d: it is still there", p.PID)
}

// start runs the process and waits until its UAPI socket answers.
func (d *driver) start(ctx context.Context, want tunnel.Device) error {
	ready, process, err := d.spawn(ctx, want)
	if err != nil {
		return fmt.Errorf("start userspace wireguard: %w", err)
	}
	defer func() { _, _ = ready.Close(), process.Release() }()

	answer, err := awaitAnswer(ctx, ready)
	if err == nil && answer == userspace.Ready {
		d.log.Info("userspace wireguard started", "device", want.Name, "pid", d.pid)
		return nil
	}
	if err == nil {
		err = errors.New(strings.TrimSpace(answer))
	}
	d.abandon(process)
	if _, statErr := os.Stat(device.TUN); statErr != nil {
		return fmt.Errorf("start userspace wireguard: %w: %w", tunnel.ErrUnsupported, statErr)
	}
	return fmt.Errorf("start userspace wireguard (see %s): %w", d.logPath(want.Name), err)
}

// spawn starts the process and returns the pipe that it answers on. Who is let go of
// then is reaped by its pid, since it may be another driver that sees it end.
func (d *driver) spawn(ctx context.Context, want tunnel.Device) (*os.File, *os.Process, error) {
	if err := os.MkdirAll(d.cfg.RunDir, 0o755); err != nil {
		return nil, nil, err
	}
	out, err := os.OpenFile(d.logPath(want.Name), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return nil, nil, fmt.Errorf("open log: %w", err)
	}
	defer func() { _ = out.Close() }()
	r, w, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = w.Close() }()

	const firstExtraFile = 3 // os/exec numbers ExtraFiles from here
	args := userspace.Options{
		Device: want.Name, MTU: want.MTU, ReadyFD: firstExtraFile, LogLevel: d.logLevel(ctx),
	}.Args()
	// Not CommandContext: the process outlives ctx and this program.
	cmd := exec.Command(d.cfg.Executable, args...)
	cmd.Dir = "/"
	cmd.Env = goEnvironment(os.Environ())
	cmd.Stdout, cmd.Stderr = out, out
	cmd.ExtraFiles = []*os.File{w}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, nil, errors.Join(err, r.Close())
	}
	d.pid = cmd.Process.Pid
	return r, cmd.Process, nil
}

// abandon ends a process that did not become ready. It is held by a pidfd: another
// that has its pid by now, since somebody has reaped it, is left alone.
func (d *driver) abandon(process *os.Process) {
	if err := process.Kill(); err == nil {
		_, _ = process.Wait()
	}
	d.pid = 0
}

// awaitAnswer reads one line, or what there is when the process ends.
func awaitAnswer(ctx context.Context, r *os.File) (string, error) {
	if err := r.SetReadDeadline(time.Now().Add(startTimeout)); err != nil {
		return "", fmt.Errorf("wait for answer: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = r.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	line, err := bufio.NewReader(r).ReadString('\n')
	switch {
	case ctx.Err() != nil:
		return "", ctx.Err()
	case errors.Is(err, io.EOF):
		return "", errors.New("it ended without an answer")
	case err != nil:
		return "", fmt.Errorf("wait for answer: %w", err)
	}
	return line, nil
}

func (d *driver) logPath(device string) string {
	return filepath.Join(d.cfg.RunDir, "wireguard-"+device+".log")
}

// logLevel hands the daemon's level on.
func (d *driver) logLevel(ctx context.Context) slog.Level {
	for _, l := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn} {
		if d.log.Enabled(ctx, l) {
			return l
		}
	}
	return slog.LevelError
}

// goEnvironment keeps what the Go runtime reads (GOMAXPROCS, GODEBUG and so on)
// and drops the rest: it may hold the daemon's own settings, and a process that
// lives on for months is no place for them.
func goEnvironment(env []string) []string {
	kept := []string{}
	for _, e := range env {
		if strings.HasPrefix(e, "GO") {
			kept = append(kept, e)
		}
	}
	return kept
}

// removeLeftovers removes the files of a process that has ended.
func (d *driver) removeLeftovers(ctx context.Context) error {
	var errs []error
	paths := []string{d.logPath(d.name)}
	// The socket of a process that lives is another namespace's.
	if p, err := findProcess(ctx, d.name); err != nil {
		return err
	} else if p == nil {
		paths = append(paths, socketPath(d.name))
	} else {
		p.Close()
	}
	for _, path := range paths {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("remove file: %w", err))
		}
	}
	return errors.Join(errs...)
}
