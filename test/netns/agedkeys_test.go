package netns

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"edgenet.dev/edgenet/test/netns/lab"
)

const (
	// rekeyAfter is how old WireGuard lets keys get that are used: whoever began the
	// session begins another. Its end, a minute later, both have to begin.
	rekeyAfter = 2 * time.Minute
	// unheard is after how long an end begins anew that sends and hears nothing.
	unheard = 15 * time.Second
)

// WireGuard makes new keys by itself: when those that it has are two minutes old, and,
// both ends at once, after neither has heard of the other for a quarter of one. Nobody
// notices.
//
//	edge-1: web ══ 10 ms pings both ways, a connection ══ edge-2: db
func TestWireGuardsOwnRekeysLoseNothing(t *testing.T) {
	t.Parallel()
	for _, driver := range []string{"wireguard-kernel", "wireguard-userspace"} {
		t.Run(driver, func(t *testing.T) {
			t.Parallel()
			l := lab.NewTimed(t)
			l.UseDriver(driver)
			g := newGround(t, l, driver)
			g.bothBeginAtOnce()
			g.keysAge()
		})
	}
}

// keysMade is when the keys were made that hosts say they use with one another.
func (g *ground) keysMade() (time.Time, error) {
	near, err := g.near.Node(g.far.Name)
	if err != nil {
		return time.Time{}, err
	}
	far, err := g.far.Node(g.near.Name)
	if err != nil {
		return time.Time{}, err
	}
	at, other := near.GetTunnel().GetLastHandshake(), far.GetTunnel().GetLastHandshake()
	if at == nil || other == nil {
		return time.Time{}, errors.New("there are no keys")
	}
	if apart := at.AsTime().Sub(other.AsTime()).Abs(); apart > time.Second {
		return time.Time{}, fmt.Errorf("the last handshakes of the two are %s apart", apart)
	}
	return at.AsTime(), nil
}

// rekeys runs traffic until both ends have keys younger than those of a time, and
// holds what is lost by then to the promise.
func (g *ground) rekeys(promise string, before time.Time, within time.Duration) {
	g.t.Helper()
	traffic := run(g.web, g.db)
	g.AwaitWithin(within, promise, func() error {
		if made, err := g.keysMade(); err != nil || !made.After(before) {
			return fmt.Errorf("the keys are of %s: %w", made, err)
		}
		return nil
	})
	traffic.flow.Runs()
	there, back := traffic.pings[0].Loses(0), traffic.pings[1].Loses(0)
	if flow := traffic.flow.Stop(); flow.Ended != "" {
		g.t.Errorf("%s: the connection ended: %s", promise, flow.Ended)
	}
	lab.Note(g.t, lab.Figure{
		Promise: promise, Driver: g.driver, Bound: bound(0),
		Measured: fmt.Sprintf("%d of %d pings and %d of %d back lost", len(there.Lost), there.Sent, len(back.Lost), back.Sent),
	})
}

// bothBeginAtOnce cuts the two hosts off for so long that either begins anew, and
// neither can know of the other's. Their packets go by the keys that they had as soon as
// they are connected again; then both try once more, within a third of a second.
func (g *ground) bothBeginAtOnce() {
	g.t.Helper()
	there, back := g.web.Pings(g.db.IP), g.db.Pings(g.web.IP)
	g.far.CutOff()
	time.Sleep(unheard + time.Second) // it is time that has them begin
	before := time.Now()
	g.far.PlugIn()
	there.Stop()
	back.Stop()
	g.web.Reaches(g.db, "icmp")
	g.db.Reaches(g.web, "icmp")
	g.rekeys("WireGuard makes new keys, both ends at once", before, lab.Busy(30*time.Second))
}

// keysAge waits until the keys are about to be too old. Nobody else makes new ones.
func (g *ground) keysAge() {
	g.t.Helper()
	const ahead = 5 * time.Second
	var made time.Time
	for wait := ahead; wait > 0; wait = time.Until(made.Add(rekeyAfter - ahead)) {
		time.Sleep(wait)
		g.Await("both ends have the same keys", func() (err error) {
			made, err = g.keysMade()
			return err
		})
	}
	g.rekeys("WireGuard makes new keys when they are two minutes old", made, lab.Busy(rekeyAfter))
}
