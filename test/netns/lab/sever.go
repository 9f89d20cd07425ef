package lab

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// severPriority is that of the first filter against a host; each has its own.
const severPriority = 100

// Misses has every packet lost that another host sends to this one, over the internet.
// What this one sends arrives.
func (h *Host) Misses(from *Host) {
	h.lab.t.Helper()
	if err := h.miss(from); err != nil {
		h.lab.t.Fatalf("sever the way from %s to %s: %v", from.Name, h.Name, err)
	}
}

// Hears ends Misses.
func (h *Host) Hears(from *Host) {
	h.lab.t.Helper()
	filter, err := h.severs(from)
	if err == nil {
		err = h.lab.internet.nl.FilterDel(filter)
	}
	if err != nil {
		h.lab.t.Fatalf("mend the way from %s to %s: %v", from.Name, h.Name, err)
	}
}

func (h *Host) miss(from *Host) (err error) {
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "sever", Type: ebpf.SchedCLS, License: "Apache-2.0", Instructions: severing(from.Underlay.As4()),
	})
	if err != nil {
		return fmt.Errorf("load program: %w", err)
	}
	defer func() { err = errors.Join(err, program.Close()) }()
	filter, err := h.severs(from)
	if err != nil {
		return err
	}
	qdisc := &netlink.Clsact{QdiscAttrs: netlink.QdiscAttrs{
		LinkIndex: filter.LinkIndex, Parent: netlink.HANDLE_CLSACT, Handle: netlink.MakeHandle(0xffff, 0),
	}}
	if err := h.lab.internet.nl.QdiscAdd(qdisc); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("add qdisc: %w", err)
	}
	filter.Fd = program.FD()
	if err := h.lab.internet.nl.FilterReplace(filter); err != nil {
		return fmt.Errorf("add filter: %w", err)
	}
	return nil
}

// severs is the filter against a host at this one's port, where what comes to it leaves.
func (h *Host) severs(from *Host) (*netlink.BpfFilter, error) {
	link, err := h.lab.internet.nl.LinkByName(h.port)
	if err != nil {
		return nil, fmt.Errorf("find cable: %w", err)
	}
	number := from.Underlay.As4()[3]
	return &netlink.BpfFilter{
		FilterAttrs: netlink.FilterAttrs{
			LinkIndex: link.Attrs().Index, Parent: netlink.HANDLE_MIN_EGRESS, Handle: 1,
			Priority: severPriority + uint16(number), Protocol: unix.ETH_P_ALL,
		},
		Name: "sever", DirectAction: true,
	}, nil
}

// severing drops IPv4 packets from an address.
func severing(from [4]byte) asm.Instructions {
	const typeOffset, sourceOffset = 12, 14 + 12
	return asm.Instructions{
		asm.Mov.Reg(asm.R6, asm.R1), // where loads from the packet want it
		asm.LoadAbs(typeOffset, asm.Half),
		asm.JNE.Imm(asm.R0, unix.ETH_P_IP, "pass"),
		asm.LoadAbs(sourceOffset, asm.Word),
		asm.Mov.Imm32(asm.R1, int32(binary.BigEndian.Uint32(from[:]))),
		asm.JNE.Reg32(asm.R0, asm.R1, "pass"),
		asm.Mov.Imm(asm.R0, drop),
		asm.Return(),
		asm.Mov.Imm(asm.R0, goOn).WithSymbol("pass"),
		asm.Return(),
	}
}
