package lab

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// SetMTU changes the MTU of the host's cable, in bytes, at both ends.
func (h *Host) SetMTU(mtu int) {
	h.lab.t.Helper()
	for where, name := range map[*namespace]string{h.ns: underlayDevice, h.lab.internet: h.port} {
		link, err := where.nl.LinkByName(name)
		if err == nil {
			err = where.nl.LinkSetMTU(link, mtu)
		}
		if err != nil {
			h.lab.t.Fatalf("set MTU of %s's cable: %v", h.Name, err)
		}
	}
}

// Swallows has the host's cable lose every packet of more than that many bytes,
// both ways, without a word to anybody. The next call replaces it.
func (h *Host) Swallows(above int) {
	h.lab.t.Helper()
	if err := h.swallow(above); err != nil {
		h.lab.t.Fatalf("narrow the cable of %s: %v", h.Name, err)
	}
}

func (h *Host) swallow(above int) (err error) {
	header := 20
	if h.Underlay.Is6() {
		header = 40
	}
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "swallow", Type: ebpf.SchedCLS, License: "Apache-2.0", Instructions: swallowing(above, header),
	})
	if err != nil {
		return fmt.Errorf("load program: %w", err)
	}
	defer func() { err = errors.Join(err, program.Close()) }()
	nl := h.lab.internet.nl
	link, err := nl.LinkByName(h.port)
	if err != nil {
		return fmt.Errorf("find cable: %w", err)
	}
	index := link.Attrs().Index
	qdisc := &netlink.Clsact{QdiscAttrs: netlink.QdiscAttrs{
		LinkIndex: index, Parent: netlink.HANDLE_CLSACT, Handle: netlink.MakeHandle(0xffff, 0),
	}}
	if err := nl.QdiscAdd(qdisc); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("add qdisc: %w", err)
	}
	for _, parent := range []uint32{netlink.HANDLE_MIN_INGRESS, netlink.HANDLE_MIN_EGRESS} {
		filter := &netlink.BpfFilter{
			FilterAttrs: netlink.FilterAttrs{LinkIndex: index, Parent: parent, Handle: 1, Priority: 1, Protocol: unix.ETH_P_ALL},
			Name:        "swallow", DirectAction: true, Fd: program.FD(),
		}
		if err := nl.FilterReplace(filter); err != nil {
			return fmt.Errorf("add filter: %w", err)
		}
	}
	return nil
}

// Fields of struct __sk_buff, from linux/bpf.h, and verdicts of tc.
const (
	skbLen     = 0
	skbGSOSize = 176
	drop       = 2
	goOn       = -1
)

// swallowing drops packets with more than so many bytes behind their Ethernet
// header. One that stands for many UDP datagrams counts as one of these.
func swallowing(above, header int) asm.Instructions {
	const ethernet, udp = 14, 8
	return asm.Instructions{
		asm.LoadMem(asm.R2, asm.R1, skbLen, asm.Word),
		asm.LoadMem(asm.R3, asm.R1, skbGSOSize, asm.Word),
		asm.JEq.Imm(asm.R3, 0, "whole"),
		asm.Mov.Reg(asm.R2, asm.R3),
		asm.Add.Imm(asm.R2, int32(ethernet+header+udp)),
		asm.Mov.Imm(asm.R0, drop).WithSymbol("whole"),
		asm.JGT.Imm(asm.R2, int32(above+ethernet), "end"),
		asm.Mov.Imm(asm.R0, goOn),
		asm.Return().WithSymbol("end"),
	}
}
