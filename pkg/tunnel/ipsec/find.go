package ipsec

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"edgenet.dev/edgenet/pkg/tunnel/internal/device"
	"edgenet.dev/edgenet/pkg/tunnel/internal/proc"
)

// Find returns the kind of driver that made a device of this name, as it was asked
// for, and with that run directory; 0 if there is none.
func Find(ctx context.Context, runDir, name string) (Kind, error) {
	link, err := device.Find(name)
	if err != nil {
		return 0, err
	}
	if _, ours := link.(*netlink.Xfrmi); ours {
		return KindKernel, nil
	}
	// The other kind's device is charon's, and goes when it ends.
	dir := directory(runDir, name)
	p, _, err := running(ctx, DefaultProgram, dir)
	if err != nil || p == nil {
		return 0, err
	}
	defer p.Close()
	if elsewhere, err := p.Elsewhere(); elsewhere || err != nil {
		return 0, err
	}
	text, err := os.ReadFile(settingsPath(dir))
	if err != nil {
		return 0, fmt.Errorf("find charon's settings: %w", err)
	}
	if strings.Contains(string(text), pluginsTUN) {
		return KindUserspace, nil
	}
	return KindKernel, nil
}

// mark is in the environment of a charon of that directory, and of what operators
// speak to it with.
func mark(dir string) string { return "STRONGSWAN_CONF=" + settingsPath(dir) }

// startOf is what a charon of that directory is known by.
func startOf(program, dir string) proc.Start { return proc.Start{Program: program, Entry: mark(dir)} }

// running returns the charon of a directory, or nil. One that has hung for so long
// that its socket has no room for more is found by how it was started; full says so
// then.
func running(ctx context.Context, program, dir string) (p *proc.Process, full, err error) {
	p, err = proc.Listening(ctx, socketPath(dir))
	// On a busy host it may have no time for the last try, which is a timeout then.
	if late := errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil; !late && !errors.Is(err, unix.EAGAIN) {
		return p, nil, err
	}
	full = err
	all, err := proc.Started(startOf(program, dir))
	if err != nil {
		return nil, nil, err
	}
	if len(all) == 0 {
		return nil, nil, full
	}
	proc.CloseAll(all[1:])
	return all[0], full, nil
}

// replaceOther takes away what a driver of the other kind has made of this device.
func (d *driver) replaceOther(ctx context.Context) error {
	if d.replaced {
		return nil
	}
	have, err := Find(ctx, d.cfg.RunDir, d.cfg.Device)
	if err != nil {
		return err
	}
	if have != 0 && have != d.cfg.Kind {
		d.log.Warn("tunnel device is replaced: it must not be of this kind", "device", d.cfg.Device, "kind", have)
		if err := d.removeOther(ctx, have); err != nil {
			return err
		}
	}
	d.replaced = true
	return nil
}

func (d *driver) removeOther(ctx context.Context, kind Kind) error {
	if err := d.endCharon(ctx); err != nil {
		return err
	}
	if kind == KindUserspace {
		return removeRules()
	}
	_, err := deleteInterface(d.cfg.Device, 0)
	return err
}
