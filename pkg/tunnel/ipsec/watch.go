package ipsec

import (
	"context"
	"net"
	"time"

	"github.com/strongswan/govici/vici"

	"edgenet.dev/edgenet/pkg/tunnel/internal/proc"
)

// rewatch is how often a charon that is gone is looked for.
const rewatch = 100 * time.Millisecond

// Watch implements tunnel.Watcher: it follows charon's events, and their end.
func (d *driver) Watch(ctx context.Context, changed func()) error {
	tick := time.NewTicker(rewatch)
	defer tick.Stop()
	for ctx.Err() == nil {
		if d.follow(ctx, changed) {
			changed() // it is gone, or its events are
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
	return nil
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
	events := make(chan vici.Event, 1)
	s.NotifyEvents(events)
	stop := context.AfterFunc(ctx, closeAll) // which ends the subscription and the events
	defer stop()
	if err := s.Subscribe("ike-updown", "child-updown", "child-rekey"); err != nil {
		return ctx.Err() == nil
	}
	changed()
	for range events {
		changed()
	}
	return ctx.Err() == nil
}
