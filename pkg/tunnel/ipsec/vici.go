package ipsec

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"time"

	"github.com/strongswan/govici/vici"
	"golang.org/x/sys/unix"

	"edgenet.dev/edgenet/pkg/tunnel/internal/proc"
)

// callTimeout bounds one conversation with charon. A thousand SAs are listed in
// some tens of milliseconds.
const callTimeout = 5 * time.Second

// talk runs f with a session that ends with it, so that drivers need no closing,
// and bounds all of its requests by ctx and callTimeout: a charon that hangs
// holds nobody up.
func talk(ctx context.Context, dir string, f func(*vici.Session) error) error {
	var conns []net.Conn
	deadline := time.Now().Add(callTimeout)
	if at, ok := ctx.Deadline(); ok && at.Before(deadline) {
		deadline = at
	}
	dial := func(context.Context, string, string) (net.Conn, error) {
		if len(conns) > 0 { // for events, which nobody asks for here
			unused, _ := net.Pipe()
			return unused, nil
		}
		c, err := proc.Dial(ctx, socketPath(dir), deadline)
		if err != nil {
			return nil, err
		}
		conns = append(conns, c)
		return c, c.SetDeadline(deadline)
	}
	// govici's own Close stops at the first error.
	defer func() {
		for _, c := range conns {
			_ = c.Close()
		}
	}()
	s, err := vici.NewSession(vici.WithDialContext(dial))
	if err != nil {
		return fmt.Errorf("connect to charon: %w", err)
	}
	stop := context.AfterFunc(ctx, func() {
		for _, c := range conns {
			_ = c.SetDeadline(time.Unix(1, 0))
		}
	})
	defer stop()
	err = f(s)
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// errMute is for requests that are not made, as one before them had no answer: what
// follows in a round would wait for charon as long as that. The next Up asks again.
var errMute = errors.New("charon did not answer the last request")

// talk is talk with this driver's charon, whose silence it follows.
func (d *driver) talk(ctx context.Context, f func(*vici.Session) error) error {
	if d.mute {
		return errMute
	}
	asked := d.now()
	err := talk(ctx, d.dir, f)
	d.hear(asked, err)
	return err
}

// hear notes whether charon answered what was asked. That it has no room for more
// connections is no answer either.
func (d *driver) hear(asked time.Time, err error) {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded), errors.Is(err, unix.EAGAIN):
		d.silence.Unanswered(asked)
		d.mute = true
	case err == nil:
		d.silence.Answered()
	}
}

// request asks this driver's charon for one thing.
func (d *driver) request(ctx context.Context, command string, message *vici.Message) error {
	return requestBy(func(f func(*vici.Session) error) error { return d.talk(ctx, f) }, command, message)
}

// request asks charon for one thing.
func request(ctx context.Context, dir, command string, message *vici.Message) error {
	return requestBy(func(f func(*vici.Session) error) error { return talk(ctx, dir, f) }, command, message)
}

func requestBy(talk func(func(*vici.Session) error) error, command string, message *vici.Message) error {
	err := talk(func(s *vici.Session) error {
		_, err := s.CommandRequest(command, message)
		return err
	})
	if err != nil {
		return fmt.Errorf("%s: %w", command, err)
	}
	return nil
}

// stream asks charon for a list.
func stream(s *vici.Session, command, event string) ([]*vici.Message, error) {
	list, err := s.StreamedCommandRequest(command, event, nil)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", command, err)
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("%s: no answer", command)
	}
	// The last one is the answer itself.
	last := len(list) - 1
	if err := list[last].Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", command, err)
	}
	return list[:last], nil
}

// isGone says that an error means that there is no charon.
func isGone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ECONNREFUSED)
}

// section, text and texts read a message; what is missing is empty.
func section(m *vici.Message, key string) *vici.Message {
	if s, ok := m.Get(key).(*vici.Message); ok {
		return s
	}
	return vici.NewMessage()
}

func text(m *vici.Message, key string) string {
	s, _ := m.Get(key).(string)
	return s
}

func texts(m *vici.Message, key string) []string {
	s, _ := m.Get(key).([]string)
	return s
}
