package daemon

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"testing"

	"edgenet.dev/edgenet/pkg/mesh"
	"edgenet.dev/edgenet/pkg/tunnel/hold"
)

// brokenHold is a device of waiting packets of which only its state matters.
type brokenHold struct {
	Hold

	mend   error
	closed bool
}

func (h *brokenHold) Device() string  { return "hold" }
func (h *brokenHold) Dropped() uint64 { return 7 }
func (h *brokenHold) Mend() error     { return h.mend }

func (h *brokenHold) Close() error {
	h.closed = true
	return nil
}

// What waits is given up with its device alone, and not for what may be mended later.
func TestTheHoldIsMadeAnewOnlyWhenItIsGone(t *testing.T) {
	m, err := mesh.Open(mesh.Config{
		StateDir: t.TempDir(), Name: "here", Links: []mesh.Link{{Addr: netip.MustParseAddr("127.0.0.1")}},
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}()
	var made []*brokenHold
	tun := &tunnels{mesh: m, log: slog.New(slog.DiscardHandler), openHold: func(hold.Config) (Hold, error) {
		made = append(made, &brokenHold{})
		return made[len(made)-1], nil
	}}
	tun.holding.log = tun.log
	for i, c := range []struct {
		mend    error
		problem string
		made    int
	}{
		{nil, "", 1}, // the first
		{nil, "", 1},
		{errors.New("too many open files"), "too many open files", 1},
		{nil, "", 1},
		{fmt.Errorf("mend: %w", hold.ErrGone), "", 2},
	} {
		if len(made) > 0 {
			made[len(made)-1].mend = c.mend
		}
		tun.ensureHold()
		if len(made) != c.made || tun.hold != made[len(made)-1] || tun.holding.last != c.problem {
			t.Errorf("step %d: %d are made, and the problem is %q, want %d and %q", i, len(made), tun.holding.last, c.made, c.problem)
		}
	}
	if !made[0].closed || made[1].closed || tun.lost() != 14 {
		t.Errorf("the first is closed: %t, the second: %t; %d packets are lost, want 7 of each", made[0].closed, made[1].closed, tun.lost())
	}
}
