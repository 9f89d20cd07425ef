package daemon

import (
	"log/slog"
	"sync"
)

// complaint logs what keeps going wrong once, again when it changes, and when it
// is over: a loop that tries every few seconds must not fill the disk.
type complaint struct {
	log *slog.Logger

	mu   sync.Mutex
	last string
}

// note logs err if it is not what was logged last; nil ends the complaint.
func (c *complaint) note(msg string, err error) {
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
		c.log.Info(msg, "err", "none any more")
	} else {
		c.log.Warn(msg, "err", err)
	}
	c.last = text
}
