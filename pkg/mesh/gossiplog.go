package mesh

import (
	"log"
	"log/slog"
	"strings"
)

// gossipLog takes memberlist's log lines. They go to the debug level: what
// matters is told in this package's own words.
type gossipLog struct{ log *slog.Logger }

// logger returns the logger to hand to memberlist.
func (g *gossipLog) logger() *log.Logger { return log.New(g, "", 0) }

// Write takes one line.
func (g *gossipLog) Write(line []byte) (int, error) {
	text := strings.TrimSpace(string(line))
	if _, rest, ok := strings.Cut(text, "memberlist: "); ok {
		text = rest
	}
	g.log.Debug("memberlist", "line", text)
	return len(line), nil
}
