package lab

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// SignalTunnels sends a signal to the processes of the host's tunnels whose command
// line has the word, and returns how many there are.
func (h *Host) SignalTunnels(word string, signal unix.Signal) int {
	h.lab.t.Helper()
	h.marks.note(h)
	count := 0
	for _, pid := range h.TunnelPIDs() {
		if !strings.Contains(commandLine(pid), word) {
			continue
		}
		count++
		if err := unix.Kill(pid, signal); err != nil && !errors.Is(err, unix.ESRCH) {
			h.lab.t.Fatalf("signal tunnel process %d of %s: %v", pid, h.Name, err)
		}
	}
	return count
}

// Upgrade has another build of edgenetd in the place of the host's from its next
// start on: the same code, as another file.
func (h *Host) Upgrade() {
	h.lab.t.Helper()
	if err := h.upgrade(); err != nil {
		h.lab.t.Fatalf("upgrade edgenetd on %s: %v", h.Name, err)
	}
}

func (h *Host) upgrade() (err error) {
	if h.program == "" {
		h.program = filepath.Join(h.dir, "edgenetd")
	}
	source, err := os.Open(h.lab.edgenetd)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, source.Close()) }()
	// As package managers do: the one that runs keeps its file.
	aside := h.program + ".new"
	file, err := os.OpenFile(aside, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, source)
	if err == nil { // what follows the sections of a program is not looked at
		_, err = io.WriteString(file, "another build")
	}
	if err := errors.Join(err, file.Close()); err != nil {
		return err
	}
	return os.Rename(aside, h.program)
}

// Warnings are what the host's daemons have said at warn since their logs had so
// many bytes.
func (h *Host) Warnings(since int) []string {
	h.lab.t.Helper()
	log := h.Log()
	var found []string
	for line := range strings.Lines(log[min(since, len(log)):]) {
		if strings.Contains(line, "level=WARN") {
			found = append(found, strings.TrimSpace(line))
		}
	}
	return found
}
