package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"edgenet.dev/edgenet/pkg/isolation"
)

// sweepAgain is how long the collection of flows pauses after it went wrong.
const sweepAgain = 5 * time.Second

// upkept is this host's datapath. As long as it is open, its flows are collected
// and its announcements are heard.
type upkept struct {
	*isolation.Datapath
	log  *slog.Logger
	ctx  context.Context //nolint:containedctx // of the goroutines that end with Close
	end  context.CancelFunc
	work sync.WaitGroup
}

func openUpkept(ctx context.Context, cfg isolation.Config) (Datapath, error) {
	d, err := isolation.Open(ctx, cfg)
	if err != nil {
		return nil, err
	}
	u := &upkept{Datapath: d, log: cfg.Logger}
	u.ctx, u.end = context.WithCancel(context.WithoutCancel(ctx))
	u.work.Go(u.sweep)
	return u, nil
}

// Close ends the upkeep too.
func (u *upkept) Close() error {
	u.end()
	err := u.Datapath.Close()
	u.work.Wait()
	return err
}

// sweep forgets flows that have run out, and holds endpoints to their share.
func (u *upkept) sweep() {
	trouble := complaint{log: u.log, of: "collection of flows"}
	for {
		err := u.Sweep(u.ctx)
		if u.ctx.Err() != nil {
			return
		}
		trouble.note(err)
		if !pause(u.ctx, sweepAgain) {
			return
		}
	}
}

// Announcements has f called for each, until Close.
func (u *upkept) Announcements(f func(of isolation.Key, addr netip.Addr)) error {
	watch, err := u.Watch(u.ctx, isolation.EventAnnouncement)
	if err != nil {
		return fmt.Errorf("hear announcements: %w", err)
	}
	u.work.Go(func() {
		for e := range watch.Events() {
			f(e.Endpoint, e.Source)
		}
	})
	return nil
}

// hear has the announcements of endpoints noted, if the datapath hears them.
func (n *network) hear(d Datapath) error {
	a, ok := d.(announcer)
	if !ok {
		return nil
	}
	if err := a.Announcements(n.heard.hear); err != nil {
		return errors.Join(err, d.Close())
	}
	return nil
}
