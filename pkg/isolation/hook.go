package isolation

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
)

// Mode says by what programs are attached to devices.
type Mode uint8

// The ways to attach a program.
const (
	// AttachAuto is tcx where the kernel has it (6.6 and later), else clsact;
	// but a new veth gets its program by clsact in any case. Attaching by tcx
	// waits for an RCU grace period, 11 to 18 ms where it was measured, with the
	// kernel's network configuration locked: more than a whole attach may take.
	AttachAuto Mode = iota
	// AttachTCX is BPF_PROG_ATTACH.
	AttachTCX
	// AttachClsact is a direct-action filter on the clsact qdisc.
	AttachClsact
)

// hook attaches programs at the ingress of devices, so that they stay when this
// process ends.
type hook interface {
	// programs returns what is attached, strangers' programs too.
	programs(ifindex int) ([]ebpf.ProgramID, error)
	// attach puts the program first, in the place of old if that is not nil.
	// There is no moment without one of the two.
	attach(ifindex int, program, old *ebpf.Program) error
	// detach takes the program away. An absent one is not an error.
	detach(ifindex int, program *ebpf.Program) error
}

// chooseHooks sets the hooks for a mode.
func (d *Datapath) chooseHooks() error {
	switch d.cfg.Attach {
	case AttachTCX:
		d.hook, d.vethHook = tcx{}, tcx{}
	case AttachClsact:
		d.hook, d.vethHook = clsact{d.nl}, clsact{d.nl}
	case AttachAuto:
		d.hook, d.vethHook = tcx{}, clsact{d.nl}
		_, err := tcx{}.query(loopback)
		if errors.Is(err, ebpf.ErrNotSupported) {
			d.hook = clsact{d.nl}
		} else if err != nil {
			return fmt.Errorf("look for tcx: %w", err)
		}
	default:
		return fmt.Errorf("attach mode %d is unknown", d.cfg.Attach)
	}
	return nil
}

// loopback is the first device of every network namespace.
const loopback = 1

// allHooks are the places where a program of edgenet may be.
func allHooks(nl *netlink.Handle) []hook {
	return []hook{tcx{}, clsact{nl}}
}

// ensureAttached makes the program, and no other one of edgenet's, run on the
// device. It touches nothing if that is so.
func (d *Datapath) ensureAttached(h hook, ifindex int, program *ebpf.Program) error {
	old, present, err := d.ownProgram(h, ifindex, d.programIDs[program])
	if err != nil {
		return err
	}
	if _, was := d.attached[ifindex]; was && !present && old == nil {
		d.log.Warn("the datapath's program was taken off a device and is attached again", "device", d.nameOf(ifindex))
	}
	if !present {
		err := h.attach(ifindex, program, old)
		if old != nil {
			err = errors.Join(err, old.Close())
		}
		if err != nil {
			return err
		}
	}
	if d.attached[ifindex] {
		if err := d.detachOthers(h, ifindex); err != nil {
			return err
		}
	}
	d.attached[ifindex] = false
	return nil
}

// nameOf is a device's name, for people.
func (d *Datapath) nameOf(ifindex int) string {
	link, err := d.nl.LinkByIndex(ifindex)
	if err != nil {
		return fmt.Sprintf("with index %d", ifindex)
	}
	return link.Attrs().Name
}

// attachEndpoint puts the datapath on an endpoint's device.
func (d *Datapath) attachEndpoint(kind Kind, w wired) error {
	if kind != KindNetns {
		return d.ensureAttached(d.hook, int(w.ifindex), d.fromEndpoint)
	}
	// What asks for a dump of filters is looked at as often as the rest is.
	if _, slow := d.vethHook.(clsact); slow && w.checked {
		return nil
	}
	err := d.ensureAttached(d.vethHook, int(w.ifindex), d.fromEndpoint)
	if errors.Is(err, errNoClsact) && d.cfg.Attach == AttachAuto {
		d.vethHook = d.hook
		return d.ensureAttached(d.vethHook, int(w.ifindex), d.fromEndpoint)
	}
	return err
}

// detachOthers takes edgenet's programs from the hooks but the one in use:
// another process may have chosen otherwise.
func (d *Datapath) detachOthers(use hook, ifindex int) error {
	for _, h := range allHooks(d.nl) {
		if h == use {
			continue
		}
		if err := d.detachFrom(h, ifindex); err != nil {
			return err
		}
	}
	return nil
}

// detachAll takes every program of edgenet's from a device.
func (d *Datapath) detachAll(ifindex int) error {
	var errs []error
	for _, h := range allHooks(d.nl) {
		errs = append(errs, d.detachFrom(h, ifindex))
	}
	err := errors.Join(errs...)
	if err == nil {
		delete(d.attached, ifindex)
	}
	return err
}

func (d *Datapath) detachFrom(h hook, ifindex int) error {
	old, _, err := d.ownProgram(h, ifindex, 0)
	if err != nil || old == nil {
		return err
	}
	return errors.Join(h.detach(ifindex, old), old.Close())
}

// ownProgram looks for a program of edgenet's on a device. It says whether it
// is the wanted one, and returns it if not.
func (d *Datapath) ownProgram(h hook, ifindex int, want ebpf.ProgramID) (*ebpf.Program, bool, error) {
	ids, err := h.programs(ifindex)
	if err != nil {
		return nil, false, err
	}
	for _, id := range ids {
		if want != 0 && id == want {
			return nil, true, nil
		}
	}
	for _, id := range ids {
		p, err := ebpf.NewProgramFromID(id)
		if err != nil {
			return nil, false, fmt.Errorf("open program: %w", err)
		}
		own, err := isOwn(p)
		if err != nil {
			return nil, false, errors.Join(err, p.Close())
		}
		if own {
			return p, false, nil
		}
		if err := p.Close(); err != nil {
			return nil, false, err
		}
	}
	return nil, false, nil
}

// isOwn says whether a program is edgenet's, of any format.
func isOwn(p *ebpf.Program) (bool, error) {
	maps, err := ownMaps(p)
	if errors.Is(err, ErrFormat) {
		return true, nil
	}
	closeMaps(maps)
	return maps != nil, err
}
