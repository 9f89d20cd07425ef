package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"testing"
	"time"

	api "edgenet.dev/edgenet/api/edgenet/v1"
	"edgenet.dev/edgenet/internal/eventlog"
	"edgenet.dev/edgenet/internal/events"
)

// chronicle is a recorder with a clock of its own, over a mesh that is made up.
type chronicle struct {
	*recorder
	t    *testing.T
	path string
	at   time.Time
	now  recorded
	told events.Revision
}

func newChronicle(t *testing.T) *chronicle {
	c := &chronicle{t: t, path: filepath.Join(t.TempDir(), "events.db"), at: time.Now(), now: recorded{mesh: "beef", snapshot: &snapshot{}}}
	c.start()
	c.look() // of an empty mesh
	c.told, _, _, _ = c.log.Head()
	t.Cleanup(func() {
		if err := c.log.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// start is what a daemon does; what the one before knew is on disk alone.
func (c *chronicle) start() {
	c.t.Helper()
	if c.recorder != nil {
		if err := c.log.Close(); err != nil {
			c.t.Fatal(err)
		}
	}
	log := slog.New(slog.DiscardHandler)
	l, err := eventlog.Open(eventlog.Config{Path: c.path, Logger: log})
	if err != nil {
		c.t.Fatal(err)
	}
	c.recorder = newRecorder(l, nil, &complaint{log: log})
}

// look is one round. It returns whether there are doubts.
func (c *chronicle) look() bool {
	c.t.Helper()
	doubtful, err := c.record(c.at, c.now)
	if err != nil {
		c.t.Fatal(err)
	}
	c.started = true
	return doubtful
}

// after has a round after so long, with nodes as name:state[:tunnel].
func (c *chronicle) after(d time.Duration, nodes ...*api.Node) bool {
	c.t.Helper()
	c.at, c.now.nodes = c.at.Add(d), nodes
	return c.look()
}

// tells compares what was logged since it was asked last.
func (c *chronicle) tells(want ...string) {
	c.t.Helper()
	var got []string
	ctx, cancel := context.WithCancel(c.t.Context())
	defer cancel()
	err := c.log.Follow(ctx, c.told, func(events.Revision) error {
		cancel()
		return nil
	}, func(at events.Revision, e *api.WatchResponse) error {
		c.told = at
		got = append(got, fmt.Sprintf("%s %s: %s", e.GetEvent(), e.GetNode().GetName(), e.GetMessage()))
		return nil
	})
	if err != nil || !slices.Equal(got, want) {
		c.t.Errorf("told %q, %v, want %q", got, err, want)
	}
}

func self() *api.Node { return &api.Node{Name: "cloud-1", Id: "c1", State: "alive", Local: true} }

func peer(state, tunnel string) *api.Node {
	n := &api.Node{Name: "edge-1", Id: "e1", State: state, Tunnel: &api.Tunnel{State: tunnel, PathMtu: 1300}}
	if n.Tunnel.PathMtuBasis = "confirmed"; tunnel == tunnelDown {
		n.Tunnel = &api.Tunnel{State: tunnelDown} // as it is before the first look
	}
	return n
}

func bystander(state string) *api.Node { return &api.Node{Name: "edge-2", Id: "e2", State: state} }

// grown is a chronicle that knows of this node, a peer with a tunnel and another one.
func grown(t *testing.T) *chronicle {
	c := newChronicle(t)
	c.after(0, self(), peer("alive", "up"), bystander("alive"))
	c.tells("node-joined cloud-1: alive", "node-joined edge-1: alive", "node-joined edge-2: alive")
	return c
}

func TestADaemonThatStartsTellsOfNoDeaths(t *testing.T) {
	c := grown(t)
	c.start()
	c.after(time.Hour, self(), peer("dead", "down"), bystander("dead"))
	if !c.after(time.Second, self(), peer("dead", "down"), bystander("dead")) {
		t.Error("there are no doubts")
	}
	c.after(time.Second, self(), peer("alive", "connecting"), bystander("dead"))
	c.after(time.Second, self(), peer("alive", "up"), bystander("alive"))
	if c.after(time.Second, self(), peer("alive", "up"), bystander("alive")) {
		t.Error("there are doubts still")
	}
	c.tells()
	// From here on nothing is in doubt.
	c.after(time.Second, self(), peer("dead", "down"), bystander("suspect"))
	c.tells("node-dead edge-1: was alive", "tunnel-down edge-1: was up", "node-suspect edge-2: was alive")
}

func TestWhoDiedMeanwhileIsToldOnceItIsClear(t *testing.T) {
	for name, tt := range map[string]struct {
		other  string
		clear  time.Duration
		before time.Duration
	}{
		"with others alive":  {other: "alive", before: companyDoubt - time.Second, clear: companyDoubt + time.Second},
		"with nobody around": {other: "dead", before: aloneDoubt - time.Second, clear: aloneDoubt + time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			c := grown(t)
			c.start()
			c.after(time.Hour, self(), peer("dead", "up"), bystander(tt.other))
			c.after(tt.before, self(), peer("dead", "up"), bystander(tt.other))
			c.tells()
			c.after(tt.clear-tt.before, self(), peer("dead", "up"), bystander(tt.other))
			want := []string{"node-dead edge-1: was alive"}
			if tt.other == "dead" {
				want = append(want, "node-dead edge-2: was alive")
			}
			c.tells(want...)
			c.after(time.Second, self(), peer("alive", "up"), bystander(tt.other))
			c.tells("node-back edge-1: was dead")
		})
	}
}

func TestATunnelThatIsDownSinceTheStartIsToldOnceItIsClear(t *testing.T) {
	c := grown(t)
	c.start()
	c.after(time.Hour, self(), peer("alive", "down"), bystander("alive"))
	c.after(aloneDoubt-time.Second, self(), peer("alive", "connecting"), bystander("alive"))
	c.tells()
	c.after(2*time.Second, self(), peer("alive", "connecting"), bystander("alive"))
	c.tells("tunnel-down edge-1: was up")
}

// The record of a node that joins is there before it is heard of.
func TestANodeThatJoinsIsNotDeadFirst(t *testing.T) {
	c := newChronicle(t)
	c.after(0, self(), bystander("dead"))
	c.after(time.Second, self(), bystander("alive"))
	c.tells("node-joined cloud-1: alive", "node-joined edge-2: alive")
	c.after(time.Second, self(), bystander("left"))
	c.after(time.Second, self(), bystander("dead")) // it comes back, under its old key
	c.tells("node-left edge-2: was alive")
	c.after(time.Second, self(), bystander("alive"))
	c.tells("node-back edge-2: was left")
	c.after(time.Second, self())
	c.tells("node-forgotten edge-2: was alive")
	c.after(time.Second, self(), bystander("dead"))
	c.after(companyDoubt, self(), bystander("dead"))
	c.tells("node-joined edge-2: dead")
}

func TestWhatChangedWhileTheDaemonWasAwayIsSaidSo(t *testing.T) {
	c := grown(t)
	c.start()
	c.after(time.Hour, self(), peer("alive", "up"))
	c.tells("node-forgotten edge-2: was alive; " + foundAtStart)
	c.after(time.Second, self())
	c.tells("node-forgotten edge-1: was alive")
}

// Of a mesh that was left nothing stays.
func TestALogEndsWithItsMesh(t *testing.T) {
	c := grown(t)
	c.now.mesh = ""
	c.after(time.Second)
	if _, err := c.log.After(c.told); err == nil {
		t.Error("the old log is still there")
	}
	c.told, _, _, _ = c.log.Head()
	if _, objects, err := c.log.Objects(); err != nil || len(objects) > 0 || c.told.Number > 0 {
		t.Errorf("the new one has %v, %v at %s", objects, err, c.told)
	}
	c.now.mesh = "cafe" // the next mesh goes on with the log of none
	c.after(time.Second, self())
	c.tells("node-joined cloud-1: alive")
}
