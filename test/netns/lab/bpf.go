package lab

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// bpfKind is a kind of BPF object that has ids.
type bpfKind struct {
	name string
	// field of /proc/PID/fdinfo/FD that has the id.
	field string
	// getNext and getFD are commands of bpf(2).
	getNext, getFD int
}

// Commands of bpf(2), from linux/bpf.h.
var (
	bpfPrograms = bpfKind{name: "BPF program", field: "prog_id", getNext: 11, getFD: 13}
	bpfMaps     = bpfKind{name: "BPF map", field: "map_id", getNext: 12, getFD: 14}
)

// bpfID names one BPF object; the kernel does not use an id again soon.
type bpfID struct {
	kind *bpfKind
	id   uint32
}

func (b bpfID) String() string { return fmt.Sprintf("%s %d", b.kind.name, b.id) }

// exists asks the kernel for the object.
func (b bpfID) exists() (bool, error) {
	attributes := struct{ id, next, flags uint32 }{id: b.id}
	fd, _, errno := unix.Syscall(unix.SYS_BPF, uintptr(b.kind.getFD),
		uintptr(unsafe.Pointer(&attributes)), unsafe.Sizeof(attributes))
	switch {
	case errno == 0:
		return true, unix.Close(int(fd))
	case errors.Is(errno, unix.ENOENT):
		return false, nil
	default:
		return false, fmt.Errorf("look up %s: %w", b, errno)
	}
}

// allBPF lists the BPF objects of the whole machine.
func allBPF() (map[bpfID]bool, error) {
	found := make(map[bpfID]bool)
	for _, kind := range []*bpfKind{&bpfPrograms, &bpfMaps} {
		for id := uint32(0); ; {
			attributes := struct{ start, next, flags uint32 }{start: id}
			_, _, errno := unix.Syscall(unix.SYS_BPF, uintptr(kind.getNext),
				uintptr(unsafe.Pointer(&attributes)), unsafe.Sizeof(attributes))
			if errors.Is(errno, unix.ENOENT) {
				break
			}
			if errno != 0 {
				return nil, fmt.Errorf("list %ss: %w", kind.name, errno)
			}
			id = attributes.next
			found[bpfID{kind, id}] = true
		}
	}
	return found, nil
}

// bpfOf returns the BPF objects that a process has open.
func bpfOf(pid int) []bpfID {
	var found []bpfID
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fdinfo/*", pid))
	for _, path := range files {
		file, err := os.Open(path)
		if err != nil {
			continue // closed by now
		}
		lines := bufio.NewScanner(file)
		for lines.Scan() {
			field, value, _ := strings.Cut(lines.Text(), ":")
			for _, kind := range []*bpfKind{&bpfPrograms, &bpfMaps} {
				if id, err := strconv.ParseUint(strings.TrimSpace(value), 10, 32); err == nil && field == kind.field {
					found = append(found, bpfID{kind, uint32(id)})
				}
			}
		}
		_ = file.Close()
	}
	return found
}
