package progrun

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

// Programs are loaded programs by name.
type Programs map[string]*Program

// Close lets go of all of them.
func (p Programs) Close() error {
	var errs []error
	for _, program := range p {
		errs = append(errs, program.Close())
	}
	return errors.Join(errs...)
}

// Loaded calls load and returns the programs that this process has open since.
func Loaded(load func() error) (Programs, error) {
	before, err := openIDs(os.Getpid())
	if err != nil {
		return nil, err
	}
	if err := load(); err != nil {
		return nil, err
	}
	after, err := openIDs(os.Getpid())
	if err != nil {
		return nil, err
	}
	for id := range before {
		delete(after, id)
	}
	return open(after)
}

// Of returns the programs that another process has open.
func Of(pid int) (Programs, error) {
	ids, err := openIDs(pid)
	if err != nil {
		return nil, err
	}
	return open(ids)
}

// Empty loads a program that does nothing: what is measured of it is the cost of
// measuring.
func Empty() (*Program, error) {
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "empty", Type: ebpf.SchedCLS, License: "Apache-2.0",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, Pass), asm.Return()},
	})
	if err != nil {
		return nil, fmt.Errorf("load empty program: %w", err)
	}
	return &Program{program: p}, nil
}

// open opens programs by id. Of one that is open twice one is enough.
func open(ids map[ebpf.ProgramID]bool) (Programs, error) {
	found := Programs{}
	for id := range ids {
		p, err := ebpf.NewProgramFromID(id)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("open program %d: %w", id, err), found.Close())
		}
		info, err := p.Info()
		if err != nil {
			return nil, errors.Join(fmt.Errorf("read program %d: %w", id, err), p.Close(), found.Close())
		}
		if old := found[info.Name]; old != nil {
			return nil, errors.Join(fmt.Errorf("two programs are named %s", info.Name), p.Close(), found.Close())
		}
		found[info.Name] = &Program{program: p}
	}
	return found, nil
}

// openIDs reads which programs a process has open (proc_pid_fdinfo(5)).
func openIDs(pid int) (map[ebpf.ProgramID]bool, error) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/fdinfo/*", pid))
	if err != nil || len(files) == 0 {
		return nil, errors.Join(fmt.Errorf("process %d has no files", pid), err)
	}
	ids := make(map[ebpf.ProgramID]bool)
	for _, path := range files {
		file, err := os.Open(path)
		if err != nil {
			continue // closed by now
		}
		lines := bufio.NewScanner(file)
		for lines.Scan() {
			number, ok := strings.CutPrefix(lines.Text(), "prog_id:")
			if !ok {
				continue
			}
			if id, err := strconv.ParseUint(strings.TrimSpace(number), 10, 32); err == nil {
				ids[ebpf.ProgramID(id)] = true
			}
		}
		_ = file.Close()
	}
	return ids, nil
}
