package mesh

import (
	"log"
	"log/slog"
	"strings"
)

// gossipLog takes memberlist's log lines. They go to the debug level: what
// matters is told in this package's own words.
type gossipLog struct {
	log *slog.Logger
	// suspected is called with the name of a member whose probe has failed.
	// Memberlist tells that nowhere else: Node.State is never set.
	suspected func(name string)
}

// logger returns the logger to hand to memberlist.
func (g *gossipLog) logger() *log.Logger { return log.New(g, "", 0) }

// Write takes one line.
func (g *gossipLog) Write(line []byte) (int, error) {
	text := strings.TrimSpace(string(line))
	if _, rest, ok := strings.Cut(text, "memberlist: "); ok {
		text = rest
	}
	if name, ok := suspectIn(text); ok {
		g.suspected(name)
	}
	g.log.Debug("memberlist", "line", text)
	return len(line), nil
}

// suspectIn returns the member that a log line suspects.
func suspectIn(text string) (string, bool) {
	rest, ok := strings.CutPrefix(text, "Suspect ")
	if !ok {
		return "", false
	}
	return strings.CutSuffix(rest, " has failed, no acks received")
}
