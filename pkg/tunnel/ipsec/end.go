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
	for _, sig := range []unix.Signal{unix.SIGTERM, unix.SIGKILL} {
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
