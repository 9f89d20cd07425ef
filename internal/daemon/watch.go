package daemon

import (
	"context"
	"errors"
	"fmt"

	api "edgenet.dev/edgenet/api/edgenet/v1"
	"edgenet.dev/edgenet/internal/eventlog"
	"edgenet.dev/edgenet/internal/events"
)

// progressAfter is how many events in a row that were not asked for make it worth to
// say where the caller may resume: the log forgets.
const progressAfter = 500

// Watch sends all there is, or what has happened since a revision or a time, and then
// every change, until ctx ends or send fails.
func (d *Daemon) Watch(ctx context.Context, req *api.WatchRequest, send func(*api.WatchResponse) error) error {
	filter, unknown := events.NewFilter(req.GetKinds())
	if unknown != "" {
		return invalid("watch: kind %q: want node, vpc, group, endpoint, tunnel or the name of an event", unknown)
	}
	if !d.recorder.upToDate(ctx) {
		return nil
	}
	at, err := d.watchFrom(req, filter, send)
	if err != nil {
		return watchError(err)
	}
	passed := 0
	err = d.events.Follow(ctx, at, func(at events.Revision) error {
		return send(&api.WatchResponse{Type: events.Synced, Revision: at.String()})
	}, func(at events.Revision, e *api.WatchResponse) error {
		if filter.Takes(events.ObjectOf(e), e.GetEvent()) {
			passed = 0
			return send(e)
		}
		if passed++; passed < progressAfter {
			return nil
		}
		passed = 0
		return send(&api.WatchResponse{Type: events.Progress, Revision: at.String()})
	})
	return watchError(err)
}

// watchFrom is where a watch begins. If it is not to be resumed, what there is by then
// is sent.
func (d *Daemon) watchFrom(req *api.WatchRequest, filter events.Filter, send func(*api.WatchResponse) error) (events.Revision, error) {
	switch {
	case req.GetResumeFrom() != "" && req.GetSince() != nil:
		return events.Revision{}, invalid("resume_from and since: only one of them can be")
	case req.GetResumeFrom() != "":
		at, err := events.ParseRevision(req.GetResumeFrom())
		if err != nil {
			return events.Revision{}, invalid("%w", err)
		}
		return at, nil
	case req.GetSince() != nil:
		if err := req.GetSince().CheckValid(); err != nil {
			return events.Revision{}, invalid("since: %w", err)
		}
		return d.events.Since(req.GetSince().AsTime())
	}
	at, objects, err := d.events.Objects()
	if err != nil {
		return events.Revision{}, err
	}
	for _, o := range objects {
		m, err := o.Decode()
		if err != nil {
			return events.Revision{}, err
		}
		if m.Type = events.Added; !filter.Takes(events.ObjectOf(m), "") {
			continue
		}
		if err := send(m); err != nil {
			return events.Revision{}, err
		}
	}
	return at, nil
}

// watchError gives an error of a watch its code.
func watchError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, eventlog.ErrForgotten):
		return outOfRange("watch: %w", err)
	case errors.Is(err, eventlog.ErrClosed):
		return unavailable("watch: %w", err)
	}
	return fmt.Errorf("watch: %w", err)
}
