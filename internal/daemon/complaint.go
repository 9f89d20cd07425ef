package daemon

import (
	"log/slog"
	"sync"
)

// complaint logs what keeps going wrong once, again when it changes, and when it
// is over: a loop that tries every few seconds must not fill the disk.
type complaint struct {
	log *slog.Logger
	// of is what it is about.
	of string

	mu   sync.Mutex
	last string
}

// note logs err if it is not what was logged last; nil ends the complaint.
func (c *complaint) note(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	text := ""
	if err != nil {
		text = err.Error()
	}
	if text == c.last {
		return
	}
	if text == "" {
		c.log.Info("as wanted again", "what", c.of)
	} else {
		c.log.Warn("not as wanted; trying again", "what", c.of, "err", err)
	}
	c.last = text
}
