package proc

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Start is what a process is known by that no socket leads to.
type Start struct {
	// Program is the path of what it runs.
	Program string
	// Entry is in its environment, as NAME=VALUE. Those that it starts itself have
	// that, too.
	Entry string
}

// Started returns the processes of this thread's network namespace that were started
// so. They are to be closed.
func Started(by Start) ([]*Process, error) {
	names, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	var found []*Process
	for _, name := range names {
		pid, err := strconv.Atoi(name.Name())
		if err != nil || !by.is(pid) {
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
		if !by.is(pid) { // the pid was another's when it was opened
			p.Close()
			continue
		}
		found = append(found, p)
	}
	return found, nil
}

// StartedBy says whether it is one of those that Started returns. One that has ended
// is not.
func (p *Process) StartedBy(by Start) bool { return by.is(p.PID) }

// is looks at an environment last: that of a stranger, as all of a process's memory,
// may be such that reading it takes for ever.
func (s Start) is(pid int) bool {
	p := Process{PID: pid}
	here, err := p.Here()
	return err == nil && here && s.runs(pid) && hasEntry(pid, s.Entry)
}

// runs is true, too, when another file has taken the program's place since.
func (s Start) runs(pid int) bool {
	const replaced = " (deleted)" // proc_pid_exe(5)
	path, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	if err != nil {
		return false
	}
	path = strings.TrimSuffix(path, replaced)
	if path == s.Program {
		return true
	}
	program, err := filepath.EvalSymlinks(s.Program)
	return err == nil && path == program
}

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
