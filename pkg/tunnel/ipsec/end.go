package ipsec

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"edgenet.dev/edgenet/pkg/tunnel/internal/proc"
)

// end makes charon end: it tells its peers when it is asked politely.
func (d *driver) end(ctx context.Context, p *proc.Process) error {
	return d.endBy(ctx, p, unix.SIGTERM, unix.SIGKILL)
}

func (d *driver) endBy(ctx context.Context, p *proc.Process, signals ...unix.Signal) error {
	for _, sig := range signals {
		if err := p.Signal(sig); err != nil {
			return err
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
		d.log.Warn("charon does not end", "pid", p.PID, "signal", sig)
	}
	return fmt.Errorf("end charon %d: it is still there", p.PID)
}

// endHung kills a charon that has not answered for too long: its sockets have no
// room for those who would ask it to end.
func (d *driver) endHung(ctx context.Context) error {
	if d.pid == 0 || !d.silence.Hangs(d.now()) {
		return nil
	}
	p, err := proc.Open(d.pid)
	if err != nil || p == nil {
		return err
	}
	defer p.Close()
	// The pid may be another's by now, if init has collected ours.
	if env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", p.PID)); err != nil || !bytes.Contains(env, []byte(settingsPath(d.dir))) {
		return nil //nolint:nilerr // it has ended
	}
	d.log.Warn("charon does not answer; it is killed, and another is started", "device", d.cfg.Device, "pid", p.PID, "for", proc.HangTime)
	d.silence.Answered()
	return d.endBy(ctx, p, unix.SIGKILL)
}

// endCharon ends the charon of this namespace and removes its directory. One of
// another namespace keeps both.
func (d *driver) endCharon(ctx context.Context) error {
	p, err := proc.Listening(ctx, socketPath(d.dir))
	if err != nil {
		return err
	}
	if p != nil {
		defer p.Close()
		if elsewhere, err := p.Elsewhere(); elsewhere || err != nil {
			return err
		}
		if err := d.end(ctx, p); err != nil {
			return err
		}
	}
	if d.pid != 0 { // it died before
		proc.Reap(d.pid)
		d.pid = 0
	}
	if err := os.RemoveAll(d.dir); err != nil {
		return fmt.Errorf("remove %s: %w", filepath.Base(d.dir), err)
	}
	return nil
}
