package lab

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// processes returns the ids of all processes in the network namespace that
// /proc/PID/ns/net names so.
func processes(namespaceID string) []int {
	links, _ := filepath.Glob("/proc/[0-9]*/ns/net")
	var found []int
	for _, link := range links {
		// A process that is gone by now is in no namespace.
		if id, err := os.Readlink(link); err != nil || id != namespaceID {
			continue
		}
		if pid, err := strconv.Atoi(strings.Split(link, "/")[2]); err == nil {
			found = append(found, pid)
		}
	}
	return found
}

// commandLine says what a process is.
func commandLine(pid int) string {
	bytes, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return "gone"
	}
	return strings.TrimSpace(strings.ReplaceAll(string(bytes), "\x00", " "))
}

// TunnelPIDs returns the processes that run on the host beside the daemon: those
// of its userspace tunnels.
func (h *Host) TunnelPIDs() []int {
	return slices.DeleteFunc(processes(h.ns.id), func(pid int) bool {
		return h.daemon != nil && pid == h.daemon.cmd.Process.Pid ||
			slices.ContainsFunc(h.lab.strangers, func(c *Container) bool { return c.agent.PID() == pid })
	})
}

// KillTunnels ends the processes of the host's userspace tunnels with SIGKILL.
func (h *Host) KillTunnels() {
	h.lab.t.Helper()
	h.marks.note(h)
	for _, pid := range h.TunnelPIDs() {
		if err := unix.Kill(pid, unix.SIGKILL); err != nil {
			h.lab.t.Fatalf("kill tunnel process %d of %s: %v", pid, h.Name, err)
		}
	}
}

// describe lists processes for a person.
func describe(pids []int) string {
	var lines []string
	for _, pid := range pids {
		lines = append(lines, fmt.Sprintf("%d (%s)", pid, commandLine(pid)))
	}
	return strings.Join(lines, ", ")
}
