package sim

import (
	"context"
	"log/slog"
	"strings"
	"sync"

	"edgenet.dev/edgenet/pkg/mesh"
)

// gossipLog counts what the nodes say in their logs, and nowhere else: whom they do
// not hear, and whom they and memberlist declare dead.
type gossipLog struct {
	mu      sync.Mutex
	running map[mesh.NodeID]bool
	counts  Verdicts
}

// Verdicts counts what nodes thought of others.
type Verdicts struct {
	// Suspicions are what witnesses said of running nodes: that they are silent.
	Suspicions int `json:"suspicions"`
	// FalseDeaths are declarations that a running node is dead: by memberlist, of
	// whoever made them first, and by agreement of witnesses, of each node that
	// took note of it.
	FalseDeaths int `json:"false_deaths"`
	// FailedSyncs are comparisons of records that failed.
	FailedSyncs int `json:"failed_syncs"`
}

func (v Verdicts) minus(o Verdicts) Verdicts {
	return Verdicts{v.Suspicions - o.Suspicions, v.FalseDeaths - o.FalseDeaths, v.FailedSyncs - o.FailedSyncs}
}

var _ slog.Handler = (*gossipLog)(nil)

func (g *gossipLog) init() { g.running = make(map[mesh.NodeID]bool) }

// up notes whether a node runs.
func (g *gossipLog) up(id mesh.NodeID, running bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.running[id] = running
}

// verdicts returns the counts up to now.
func (g *gossipLog) verdicts() Verdicts {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.counts
}

// Enabled takes all.
func (g *gossipLog) Enabled(context.Context, slog.Level) bool { return true }

// WithAttrs changes nothing: which node says it does not matter.
func (g *gossipLog) WithAttrs([]slog.Attr) slog.Handler { return g }

// WithGroup changes nothing.
func (g *gossipLog) WithGroup(string) slog.Handler { return g }

// Handle takes one record.
func (g *gossipLog) Handle(_ context.Context, r slog.Record) error {
	switch r.Message {
	case "synchronize":
		g.mu.Lock()
		defer g.mu.Unlock()
		g.counts.FailedSyncs++
	case "a node is silent":
		r.Attrs(func(a slog.Attr) bool { return g.about(a, &g.counts.Suspicions) })
	case "a node is agreed dead":
		r.Attrs(func(a slog.Attr) bool { return g.about(a, &g.counts.FalseDeaths) })
	case "memberlist":
		r.Attrs(func(a slog.Attr) bool {
			if a.Key == "line" {
				g.line(a.Value.String())
			}
			return true
		})
	}
	return nil
}

// about counts what is said about a node that runs, and tells whether to look
// further which that is.
func (g *gossipLog) about(a slog.Attr, count *int) bool {
	if a.Key != "node" {
		return true
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.running[mesh.NodeID(a.Value.String())] {
		*count++
	}
	return false
}

// line takes a line of memberlist's.
func (g *gossipLog) line(text string) {
	dead, died := between(text, "Marking ", " as failed")
	g.mu.Lock()
	defer g.mu.Unlock()
	if died && g.running[mesh.NodeID(dead)] {
		g.counts.FalseDeaths++
	}
}

// between returns what a text has between its beginning and something later.
func between(text, begin, end string) (string, bool) {
	rest, ok := strings.CutPrefix(text, begin)
	if !ok {
		return "", false
	}
	head, _, ok := strings.Cut(rest, end)
	return head, ok
}
