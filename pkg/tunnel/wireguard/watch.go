package wireguard

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"edgenet.dev/edgenet/pkg/tunnel"
	"edgenet.dev/edgenet/pkg/tunnel/internal/device"
)

// rewatch is how often a process that is not there is looked for.
const rewatch = 100 * time.Millisecond

var _ tunnel.Watcher = (*driver)(nil)

// Watch implements tunnel.Watcher: it follows the end of the userspace process,
// and what becomes of the device.
func (d *driver) Watch(ctx context.Context, changed func()) error {
	name := d.cfg.Device // not d.name, which is another goroutine's
	if name == "" {
		return errors.New("watch tunnel: no device is named")
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var work sync.WaitGroup
	defer work.Wait()
	if d.cfg.Kind != KindKernel {
		work.Go(func() { watchProcess(ctx, name, changed) })
	}
	if err := device.Watch(ctx, name, changed); err != nil {
		cancel()
		return fmt.Errorf("watch tunnel %s: %w", name, err)
	}
	return nil
}

// watchProcess calls changed whenever a process that serves the device ends, and
// when there is none at the start.
func watchProcess(ctx context.Context, name string, changed func()) {
	tick := time.NewTicker(rewatch)
	defer tick.Stop()
	for served := true; ctx.Err() == nil; {
		// An error is Up's to report, which meets the same one.
		p, err := findProcess(ctx, name)
		if p != nil {
			err = p.AwaitEnd(ctx)
			p.Close()
		}
		if err == nil && (served || p != nil) {
			changed()
		}
		served = false
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}
