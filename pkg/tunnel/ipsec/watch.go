package ipsec

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/strongswan/govici/vici"

	"edgenet.dev/edgenet/pkg/tunnel/internal/device"
	"edgenet.dev/edgenet/pkg/tunnel/internal/proc"
)

const (
	// rewatch is how often a charon that is gone is looked for.
	rewatch = 100 * time.Millisecond
	// backlog is how many events wait; what is more is dropped, and found by the
	// next round. There are some ten lines of the log to each conversation.
	backlog = 1024
)

// Watch implements tunnel.Watcher: it follows charon's events, and their end, and
// what becomes of the kernel's device.
func (d *driver) Watch(ctx context.Context, changed func()) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var work sync.WaitGroup
	defer work.Wait()
	work.Go(func() { d.watchCharon(ctx, changed) })
	if d.cfg.Kind != KindKernel { // its device is charon's, and has a name of charon's
		work.Wait()
		return nil
	}
	if err := device.Watch(ctx, d.cfg.Device, changed); err != nil {
		cancel()
		return fmt.Errorf("watch tunnel %s: %w", d.cfg.Device, err)
	}
	return nil
}

func (d *driver) watchCharon(ctx context.Context, changed func()) {
	tick := time.NewTicker(rewatch)
	defer tick.Stop()
	for served := true; ctx.Err() == nil; {
		// It is gone, or its events are; or it was gone before it was looked for.
		if d.follow(ctx, changed) || served {
			changed()
		}
		served = false
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}

// follow passes charon's events on until there are no more. It returns false
// when there was no charon to listen to.
func (d *driver) follow(ctx context.Context, changed func()) bool {
	var conns []net.Conn
	dial := func(context.Context, string, string) (net.Conn, error) {
		c, err := proc.Dial(ctx, socketPath(d.dir), time.Now().Add(callTimeout))
		if err == nil {
			conns = append(conns, c)
		}
		return c, err
	}
	closeAll := func() {
		for _, c := range conns {
			_ = c.Close()
		}
	}
	defer closeAll()
	s, err := vici.NewSession(vici.WithDialContext(dial))
	if err != nil {
		return false
	}
	events := make(chan vici.Event, backlog)
	s.NotifyEvents(events)
	stop := context.AfterFunc(ctx, closeAll) // which ends the subscription and the events
	defer stop()
	if err := s.Subscribe("ike-updown", "child-updown", "child-rekey", "log"); err != nil {
		return ctx.Err() == nil
	}
	changed()
	for e := range events {
		if e.Name != "log" || d.refused.note(e.Message, d.now()) {
			changed()
		}
	}
	return ctx.Err() == nil
}
