package mesh

import (
	"sync"
	"time"
)

// Limits of the clock.
const (
	// maxClockAhead is how far a record may be ahead of the time.
	maxClockAhead = 10 * time.Minute
	// clockReserve is how far ahead the clock is written down, so that not
	// every reading has to be.
	clockReserve = time.Second
)

// versionAt is the first version of an instant.
func versionAt(t time.Time) Version {
	ms := t.UnixMilli()
	if ms < 0 {
		return 0
	}
	return Version(ms) << 16 // Not negative.
}

// Time returns the instant that the version carries, in milliseconds.
func (v Version) Time() time.Time {
	return time.UnixMilli(int64(v >> 16)) // 48 bits.
}

// hlc is a hybrid logical clock.
type hlc struct {
	mu   sync.Mutex
	wall func() time.Time
	last Version
}

// now returns a version higher than all that it returned or observed.
func (c *hlc) now() Version {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = max(c.last+1, versionAt(c.wall()))
	return c.last
}

// before returns a version that is so long ago.
func (c *hlc) before(d time.Duration) Version {
	c.mu.Lock()
	defer c.mu.Unlock()
	now, ago := max(c.last, versionAt(c.wall())), Version(d.Milliseconds())<<16
	return now - min(now, ago)
}

// observe makes every later version higher than v. Callers have checked that v
// is not too far ahead.
func (c *hlc) observe(v Version) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = max(c.last, v)
}
