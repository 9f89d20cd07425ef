package lab

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// clockTick is the unit of times in /proc/PID/stat, on all platforms that Linux
// has today (sysconf's _SC_CLK_TCK).
const clockTick = 10 * time.Millisecond

// Usage is what a host's daemon has taken so far.
type Usage struct {
	// Processor time, in user space and in the kernel.
	Processor time.Duration
	// Memory is what it has resident, Peak the most that it had, in bytes.
	Memory, Peak uint64
}

// Usage asks the kernel.
func (h *Host) Usage() Usage {
	h.lab.t.Helper()
	h.mustRun()
	u, err := usage(h.PID())
	if err != nil {
		h.lab.t.Fatalf("read usage of edgenetd on %s: %v", h.Name, err)
	}
	return u
}

func usage(pid int) (u Usage, err error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return u, err
	}
	// The name, in parentheses, may have spaces; utime and stime are fields 14 and 15.
	_, rest, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return u, fmt.Errorf("read times: %q is too short", stat)
	}
	for _, field := range fields[11:13] {
		ticks, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return u, fmt.Errorf("read times: %w", err)
		}
		u.Processor += time.Duration(ticks) * clockTick
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return u, err
	}
	for line := range strings.Lines(string(status)) {
		name, value, _ := strings.Cut(line, ":")
		into := map[string]*uint64{"VmRSS": &u.Memory, "VmHWM": &u.Peak}[name]
		if into == nil {
			continue
		}
		kilobytes, err := strconv.ParseUint(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		if err != nil {
			return u, fmt.Errorf("read %s: %w", name, err)
		}
		*into = kilobytes << 10
	}
	return u, nil
}
