package ipsec

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"edgenet.dev/edgenet/pkg/tunnel"
	"edgenet.dev/edgenet/pkg/tunnel/internal/device"
	"edgenet.dev/edgenet/pkg/tunnel/internal/proc"
)

const (
	// startTimeout bounds a start of charon, which takes some 15 ms, and some
	// seconds on an emulated processor.
	startTimeout = 20 * time.Second
	// endTimeout bounds its end after each signal; it takes some 20 ms.
	endTimeout = 5 * time.Second
	// maxLog is the size of charon's log, in bytes, at which it starts over; the
	// one before is kept.
	maxLog = 1 << 20
)

// ensureCharon makes a charon run that has the settings, and returns it held.
func (d *driver) ensureCharon(ctx context.Context, want tunnel.Device, mended *device.Mended) (*proc.Process, error) {
	if err := d.endHung(ctx); err != nil {
		return nil, err
	}
	text, asked := settings(d.cfg.Kind, d.dir, want.ListenPort), d.now()
	p, full, err := running(ctx, d.cfg.Program, d.dir)
	if err != nil {
		d.hear(asked, err)
		return nil, err
	}
	if p != nil {
		fits, err := d.fits(p, text, mended)
		switch {
		case err != nil:
		case !fits:
			err = d.end(ctx, p)
		case full != nil: // it is known by now, so that it can be ended if that goes on
			d.adopted(p)
			d.hear(asked, full)
			err = full
		default:
			d.adopted(p)
			return p, d.boundLog(p)
		}
		p.Close()
		if err != nil {
			return nil, err
		}
	}
	if d.pid != 0 {
		d.log.Warn("charon has ended; another is started", "device", want.Name, "pid", d.pid)
		proc.Reap(ctx, d.pid)
		d.pid = 0
	}
	mended.Mute() // the device of the other is new
	return d.start(ctx, text)
}

// fits says whether a running charon is of this namespace and has the settings.
func (d *driver) fits(p *proc.Process, text string, mended *device.Mended) (bool, error) {
	here, err := p.Here()
	if errors.Is(err, fs.ErrNotExist) { // it is ending
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if !here {
		return false, fmt.Errorf("adopt charon %d: it serves a device of this name in another network namespace", p.PID)
	}
	have, err := os.ReadFile(settingsPath(d.dir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("read settings: %w", err)
	}
	if string(have) != text {
		mended.Note("charon's settings were changed")
		d.log.Info("charon has to be started anew: its settings have changed", "pid", p.PID)
		return false, nil
	}
	if d.cfg.Kind == KindUserspace {
		_, err := tunOf(p.PID)
		if errors.Is(err, errNoTUN) {
			mended.Note("the device was deleted")
			d.log.Info("charon has to be started anew: it has no device", "pid", p.PID)
			return false, nil
		}
		return err == nil, err
	}
	return true, nil
}

// adopted notes whose the SAs are.
func (d *driver) adopted(p *proc.Process) {
	if d.pid == p.PID {
		return
	}
	d.log.Info("charon adopted", "pid", p.PID)
	d.pid, d.keyed, d.started, d.met = p.PID, false, time.Time{}, d.now()
}

// start runs charon and waits until its control socket answers.
func (d *driver) start(ctx context.Context, text string) (*proc.Process, error) {
	d.begunAnew()
	if err := d.endForgotten(ctx); err != nil {
		return nil, err
	}
	if err := d.spawn(text); err != nil {
		return nil, fmt.Errorf("start charon: %w", err)
	}
	p, err := d.awaitCharon(ctx)
	if err != nil {
		err = errors.Join(err, d.abandon(context.WithoutCancel(ctx)))
		return nil, fmt.Errorf("start charon (see %s): %w", logPath(d.dir), err)
	}
	d.started, d.met = d.now(), d.now()
	d.silence.Answered()
	d.mute = false
	d.log.Info("charon started", "driver", d.Name(), "pid", d.pid)
	return p, nil
}

// spawn starts charon in a session of its own, so that it outlives the daemon,
// with nothing of the daemon's environment.
func (d *driver) spawn(text string) error {
	if _, err := os.Stat(d.cfg.Program); err != nil {
		return fmt.Errorf("%w: %w (Debian: packages charon-systemd, libcharon-extra-plugins, libstrongswan-standard-plugins)",
			tunnel.ErrUnsupported, err)
	}
	if d.cfg.Kind == KindUserspace {
		if _, err := os.Stat(device.TUN); err != nil {
			return fmt.Errorf("%w: %w", tunnel.ErrUnsupported, err)
		}
	}
	if err := os.MkdirAll(d.dir, 0o700); err != nil {
		return err
	}
	if err := writeSettings(settingsPath(d.dir), text); err != nil {
		return fmt.Errorf("write settings: %w", err)
	}
	out, err := os.OpenFile(logPath(d.dir), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	defer func() { _ = out.Close() }()
	// Not CommandContext: it outlives ctx and this program.
	cmd := exec.Command(d.cfg.Program)
	cmd.Dir = "/"
	cmd.Env = []string{mark(d.dir), "PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	d.pid = cmd.Process.Pid
	// Reaped by pid, since it may be another driver that sees it end.
	return cmd.Process.Release()
}

// writeSettings replaces the file as a whole, for it says what a running charon
// was started with.
func writeSettings(path, text string) error {
	aside := path + ".new"
	if err := os.WriteFile(aside, []byte(text), 0o600); err != nil {
		return err
	}
	return os.Rename(aside, path)
}

// awaitCharon waits for the control socket; charon makes it when all its
// plugins are loaded, and answers it once its threads run.
func (d *driver) awaitCharon(ctx context.Context) (*proc.Process, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		p, err := proc.Listening(ctx, socketPath(d.dir))
		if err == nil && p != nil {
			if p.PID != d.pid { // one that died left it, and another came
				p.Close()
				return nil, fmt.Errorf("another process, %d, took its control socket", p.PID)
			}
			if err = request(ctx, d.dir, "version", nil); err == nil {
				return p, nil
			}
			p.Close()
		}
		if pid, _ := unix.Wait4(d.pid, nil, unix.WNOHANG, nil); pid == d.pid {
			d.pid = 0 // from now on it may be another's
			return nil, errors.New("it ended at once: " + lastLine(logPath(d.dir)))
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), err)
		case <-tick.C:
		}
	}
}

// lastLine returns what a log says last.
func lastLine(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return lines[len(lines)-1]
}

// boundLog begins a new log when the old one is long.
func (d *driver) boundLog(p *proc.Process) error {
	st, err := os.Stat(logPath(d.dir))
	if errors.Is(err, fs.ErrNotExist) || err == nil && st.Size() < maxLog {
		return nil
	}
	if err == nil {
		err = os.Rename(logPath(d.dir), logPath(d.dir)+".1")
	}
	if err != nil {
		return fmt.Errorf("rotate log: %w", err)
	}
	return p.Signal(unix.SIGHUP) // it opens its log again
}
