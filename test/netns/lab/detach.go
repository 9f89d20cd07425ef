package lab

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// DetachPrograms takes all programs off the ingress of one of the host's devices, as
// other tools do.
func (h *Host) DetachPrograms(device string) {
	h.lab.t.Helper()
	count := 0
	err := inNamespace(h.ns.path, func() error {
		there, err := h.ns.nl.LinkByName(device)
		if err != nil {
			return err
		}
		count, err = detachTCX(there.Attrs().Index)
		if err == nil && count == 0 {
			count, err = h.deleteClsact(there.Attrs().Index)
		}
		return err
	})
	if err == nil && count == 0 {
		err = errors.New("there are none")
	}
	if err != nil {
		h.lab.t.Fatalf("detach programs from %s of %s: %v", device, h.Name, err)
	}
}

func detachTCX(ifindex int) (int, error) {
	found, err := link.QueryPrograms(link.QueryOptions{Target: ifindex, Attach: ebpf.AttachTCXIngress})
	if errors.Is(err, ebpf.ErrNotSupported) || errors.Is(err, unix.EINVAL) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("query tcx: %w", err)
	}
	for _, p := range found.Programs {
		program, err := ebpf.NewProgramFromID(p.ID)
		if err != nil {
			return 0, err
		}
		err = link.RawDetachProgram(link.RawDetachProgramOptions{Target: ifindex, Program: program, Attach: ebpf.AttachTCXIngress})
		if err := errors.Join(err, program.Close()); err != nil {
			return 0, err
		}
	}
	return len(found.Programs), nil
}

func (h *Host) deleteClsact(ifindex int) (int, error) {
	queues, err := h.ns.nl.QdiscList(&netlink.GenericLink{LinkAttrs: netlink.LinkAttrs{Index: ifindex}})
	if err != nil {
		return 0, err
	}
	i := slices.IndexFunc(queues, func(q netlink.Qdisc) bool { return q.Type() == "clsact" })
	if i < 0 {
		return 0, nil
	}
	return 1, h.ns.nl.QdiscDel(queues[i])
}
