package device

import (
	"fmt"
	"log/slog"

	"edgenet.dev/edgenet/pkg/tunnel"
)

// Right is the device as it was last made right; its zero value is none.
type Right struct{ last tunnel.Device }

// Make has do make a device as wanted, and says in the log what others had done to
// it: what was right before, and is wanted as it was.
func (r *Right) Make(log *slog.Logger, want tunnel.Device, do func(mended *Mended) (tunnel.Device, error)) (tunnel.Device, error) {
	mended := newMended(log, want.Name, r.last == want)
	r.last = tunnel.Device{}
	got, err := do(mended)
	mended.Log()
	if err != nil {
		return tunnel.Device{}, err
	}
	r.last = want
	return got, nil
}

// Mended gathers what had to be put right on a device that was right before: what
// others did to it. It says nothing of what is made for the first time.
type Mended struct {
	log    *slog.Logger
	device string
	found  []string
	// whole is true when the device itself is new, and all that is on it.
	whole bool
}

// newMended begins to gather for a device. One that was not right before is not
// spoken of.
func newMended(log *slog.Logger, device string, right bool) *Mended {
	if !right {
		return nil
	}
	return &Mended{log: log, device: device}
}

// Note notes what was found, and is put right. Nil notes nothing.
func (m *Mended) Note(format string, args ...any) {
	if m != nil && !m.whole {
		m.found = append(m.found, fmt.Sprintf(format, args...))
	}
}

// Anew notes why a device is made anew; what is done to it from here on belongs to
// that.
func (m *Mended) Anew(why string) {
	m.Note("%s", why)
	m.Mute()
}

// Mute has nothing more noted: what follows belongs to what was said elsewhere.
func (m *Mended) Mute() {
	if m != nil {
		m.whole = true
	}
}

// Log says what was found, a line for each thing.
func (m *Mended) Log() {
	if m == nil {
		return
	}
	for _, found := range m.found {
		m.log.Warn("tunnel device was changed by others and is put right", "device", m.device, "found", found)
	}
}
