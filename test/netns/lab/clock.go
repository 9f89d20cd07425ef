package lab

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// clockFile is the variable that names the file by which a wrong clock is set.
const clockFile = "EDGENET_TEST_CLOCK"

// wrongClock is what an edgenetd reads the time by whose clock is wrong: the kernel has
// one wall clock for all namespaces.
const wrongClock = `package daemon

import (
	"os"
	"time"
)

// wrongNow is the wall clock, set by a file.
func wrongNow() time.Time {
	text, err := os.ReadFile(os.Getenv("` + clockFile + `"))
	if err != nil {
		return time.Now()
	}
	by, err := time.ParseDuration(string(text))
	if err != nil {
		return time.Now()
	}
	return time.Now().Add(by)
}
`

// UseWrongClock has the host's edgenetd be one, from its next start on, whose clock
// SetClock sets: it is built with one line of the daemon changed.
func (h *Host) UseWrongClock() {
	h.lab.t.Helper()
	if err := h.useWrongClock(); err != nil {
		h.lab.t.Fatalf("build an edgenetd with a wrong clock: %v", err)
	}
}

func (h *Host) useWrongClock() error {
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	const before = "mesh.Open(mesh.Config{\n"
	path := filepath.Join(root, "internal", "daemon", "daemon.go")
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read the daemon: %w", err)
	}
	if strings.Count(string(text), before) != 1 {
		return fmt.Errorf("%s has no %q to change", path, before)
	}
	changed := strings.Replace(string(text), before, before+"\t\tNow: wrongNow,\n", 1)
	dir := filepath.Join(h.dir, "clock")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make directory for sources: %w", err)
	}
	replace := map[string]string{}
	for name, content := range map[string]string{path: changed, filepath.Join(root, "internal", "daemon", "wrongclock.go"): wrongClock} {
		replace[name] = filepath.Join(dir, filepath.Base(name))
		if err := os.WriteFile(replace[name], []byte(content), 0o600); err != nil {
			return fmt.Errorf("write source: %w", err)
		}
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return fmt.Errorf("encode overlay: %w", err)
	}
	list := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(list, overlay, 0o600); err != nil {
		return fmt.Errorf("write overlay: %w", err)
	}
	if err := build(root, dir, "-overlay", list, "./cmd/edgenetd"); err != nil {
		return err
	}
	h.program = filepath.Join(dir, "edgenetd")
	h.Env = append(h.Env, clockFile+"="+h.clockPath())
	return nil
}

func (h *Host) clockPath() string { return filepath.Join(h.dir, "clock.txt") }

// SetClock sets the clock of a host that uses a wrong one that much ahead, at once.
func (h *Host) SetClock(ahead time.Duration) {
	h.lab.t.Helper()
	next := h.clockPath() + ".new"
	err := os.WriteFile(next, []byte(ahead.String()), 0o600)
	if err == nil {
		err = os.Rename(next, h.clockPath())
	}
	if err != nil {
		h.lab.t.Fatalf("set the clock of %s: %v", h.Name, err)
	}
}
