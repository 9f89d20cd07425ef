package ipsec

import (
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

// abandon ends a charon that does not answer. As long as nobody has reaped it, the pid
// is its.
func (d *driver) abandon(ctx context.Context) error {
	if d.pid == 0 {
		return nil
	}
	p, err := proc.Open(d.pid)
	if err != nil {
		return err
	}
	if p == nil {
		d.pid = 0
		return nil
	}
	defer p.Close()
	return d.endBy(ctx, p, unix.SIGKILL)
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
	if !p.StartedBy(startOf(d.cfg.Program, d.dir)) { // another has its pid by now, if init has collected ours
		return nil
	}
	d.log.Warn("charon does not answer; it is killed, and another is started", "device", d.cfg.Device, "pid", p.PID, "for", proc.HangTime)
	d.silence.Answered()
	return d.endBy(ctx, p, unix.SIGKILL)
}

// endForgotten kills charons of this directory that no socket leads to: another took
// its place, somebody has removed it, or the daemon that started them was killed
// before there was one. They would keep the port.
func (d *driver) endForgotten(ctx context.Context) error {
	all, err := proc.Started(startOf(d.cfg.Program, d.dir))
	if err != nil {
		return err
	}
	defer proc.CloseAll(all)
	for _, p := range all {
		d.log.Warn("a charon that cannot be reached is killed", "device", d.cfg.Device, "pid", p.PID)
		if err := d.endBy(ctx, p, unix.SIGKILL); err != nil {
			return err
		}
	}
	return nil
}

// endCharon ends the charon of this namespace and removes its directory. One of
// another namespace keeps both.
func (d *driver) endCharon(ctx context.Context) error {
	p, _, err := running(ctx, d.cfg.Program, d.dir)
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
	if err := d.endForgotten(ctx); err != nil {
		return err
	}
	if d.pid != 0 { // it died before
		proc.Reap(ctx, d.pid)
		d.pid = 0
	}
	if err := os.RemoveAll(d.dir); err != nil {
		return fmt.Errorf("remove %s: %w", filepath.Base(d.dir), err)
	}
	return nil
}
