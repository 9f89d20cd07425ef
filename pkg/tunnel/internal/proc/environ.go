package proc

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
)

// Started returns the processes that were started with an entry in their
// environment, as NAME=VALUE: those, too, that no socket leads to. They are to be
// closed.
func Started(entry string) ([]*Process, error) {
	names, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	var found []*Process
	for _, name := range names {
		pid, err := strconv.Atoi(name.Name())
		if err != nil || !hasEntry(pid, entry) {
			continue
		}
		p, err := Open(pid)
		if err != nil {
			CloseAll(found)
			return nil, err
		}
		if p == nil {
			continue
		}
		if !hasEntry(pid, entry) { // the pid was another's when it was opened
			p.Close()
			continue
		}
		found = append(found, p)
	}
	return found, nil
}

// StartedWith says whether it was started with an entry in its environment. One
// that has ended was not.
func (p *Process) StartedWith(entry string) bool { return hasEntry(p.PID, entry) }

// CloseAll lets go of processes, which run on.
func CloseAll(all []*Process) {
	for _, p := range all {
		p.Close()
	}
}

// hasEntry is false for a process that is gone, or has ended and waits to be
// collected.
func hasEntry(pid int, entry string) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil {
		return false
	}
	for one := range bytes.SplitSeq(text, []byte{0}) {
		if string(one) == entry {
			return true
		}
	}
	return false
}
