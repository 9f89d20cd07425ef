package isolation

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// clsact attaches by a direct-action filter: the way of kernels before 6.6.
type clsact struct{ nl *netlink.Handle }

// errNoClsact says what is missing.
var errNoClsact = errors.New("clsact is not supported by this kernel: needs CONFIG_NET_SCH_INGRESS and CONFIG_NET_CLS_BPF")

// The place of the filter: first, under a handle of its own, so that a
// replacement replaces it and nothing else.
const (
	filterPriority = 1
	filterHandle   = 0x656e // "en"
)

func (c clsact) programs(ifindex int) ([]ebpf.ProgramID, error) {
	filters, err := c.nl.FilterList(&netlink.GenericLink{LinkAttrs: netlink.LinkAttrs{Index: ifindex}}, netlink.HANDLE_MIN_INGRESS)
	// Without the qdisc, or without the device, there are none.
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV) || errors.Is(err, unix.EOPNOTSUPP) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list filters: %w", err)
	}
	var ids []ebpf.ProgramID
	for _, f := range filters {
		if bpf, ok := f.(*netlink.BpfFilter); ok && bpf.Id != 0 {
			ids = append(ids, ebpf.ProgramID(bpf.Id))
		}
	}
	return ids, nil
}

func (c clsact) attach(ifindex int, program, _ *ebpf.Program) error {
	qdisc := &netlink.Clsact{QdiscAttrs: netlink.QdiscAttrs{
		LinkIndex: ifindex, Parent: netlink.HANDLE_CLSACT, Handle: netlink.MakeHandle(0xffff, 0),
	}}
	err := c.nl.QdiscAdd(qdisc)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EOPNOTSUPP) {
		return errNoClsact
	}
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("add clsact qdisc: %w", err)
	}
	filter := c.filter(ifindex)
	filter.Fd = program.FD()
	if err := c.nl.FilterReplace(filter); err != nil {
		return fmt.Errorf("add filter: %w", err)
	}
	return nil
}

func (c clsact) filter(ifindex int) *netlink.BpfFilter {
	return &netlink.BpfFilter{
		FilterAttrs: netlink.FilterAttrs{
			LinkIndex: ifindex, Parent: netlink.HANDLE_MIN_INGRESS,
			Handle: filterHandle, Priority: filterPriority, Protocol: unix.ETH_P_ALL,
		},
		Name: "edgenet", DirectAction: true,
	}
}

func (c clsact) detach(ifindex int, _ *ebpf.Program) error {
	err := c.nl.FilterDel(c.filter(ifindex))
	if err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("delete filter: %w", err)
	}
	return c.deleteIfEmpty(ifindex)
}

// deleteIfEmpty takes the qdisc away when nobody uses it.
func (c clsact) deleteIfEmpty(ifindex int) error {
	link := &netlink.GenericLink{LinkAttrs: netlink.LinkAttrs{Index: ifindex}}
	for _, parent := range []uint32{netlink.HANDLE_MIN_INGRESS, netlink.HANDLE_MIN_EGRESS} {
		filters, err := c.nl.FilterList(link, parent)
		if err != nil || len(filters) > 0 {
			return nil //nolint:nilerr // What cannot be listed is not known to be empty.
		}
	}
	qdisc := &netlink.Clsact{QdiscAttrs: netlink.QdiscAttrs{
		LinkIndex: ifindex, Parent: netlink.HANDLE_CLSACT, Handle: netlink.MakeHandle(0xffff, 0),
	}}
	if err := c.nl.QdiscDel(qdisc); err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("delete clsact qdisc: %w", err)
	}
	return nil
}
