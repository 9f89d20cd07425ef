package isolation

import (
	"errors"
	"fmt"
	"os"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// tcx attaches without a link: a link would end with its process, for it cannot
// be pinned here.
type tcx struct{}

// query returns ebpf.ErrNotSupported where the kernel has no tcx. A kernel that
// has never heard of it says that the argument is invalid: nothing else in the
// query could be.
func (tcx) query(ifindex int) (*link.QueryResult, error) {
	result, err := link.QueryPrograms(link.QueryOptions{Target: ifindex, Attach: ebpf.AttachTCXIngress})
	if errors.Is(err, unix.EINVAL) {
		err = fmt.Errorf("%w: %w", ebpf.ErrNotSupported, err)
	}
	return result, err
}

func (t tcx) programs(ifindex int) ([]ebpf.ProgramID, error) {
	result, err := t.query(ifindex)
	if errors.Is(err, ebpf.ErrNotSupported) || errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("query tcx: %w", err)
	}
	ids := make([]ebpf.ProgramID, 0, len(result.Programs))
	for _, p := range result.Programs {
		ids = append(ids, p.ID)
	}
	return ids, nil
}

func (tcx) attach(ifindex int, program, old *ebpf.Program) error {
	anchor := link.Head()
	if old != nil {
		anchor = link.ReplaceProgram(old)
	}
	err := link.RawAttachProgram(link.RawAttachProgramOptions{
		Target: ifindex, Program: program, Attach: ebpf.AttachTCXIngress, Anchor: anchor,
	})
	if err != nil {
		return fmt.Errorf("attach tcx: %w", err)
	}
	return nil
}

func (tcx) detach(ifindex int, program *ebpf.Program) error {
	err := link.RawDetachProgram(link.RawDetachProgramOptions{
		Target: ifindex, Program: program, Attach: ebpf.AttachTCXIngress,
	})
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("detach tcx: %w", err)
	}
	return nil
}
