package machine

import (
	"fmt"
	"strconv"

	"edgenet.dev/edgenet/test/vm/guest"
)

// Descriptors that qemu inherits.
const (
	fdShare = iota + 3
	fdFiles
	fdOutput
	fdResult
	fdConsole
)

// boot is the kernel's command line. An emulated processor does not speculate.
// Its time stamp counter has to be calibrated, which goes wrong by any factor
// while the host is busy; the other clock's rate is known.
const boot = "console=ttyS0 quiet panic=-1 mitigations=off tsc=unstable clocksource=hpet"

// arguments are qemu's.
func arguments(cfg Config) []string {
	memory := strconv.Itoa(cfg.Memory) + "M"
	args := []string{
		"-nodefaults", "-no-user-config", "-no-reboot", "-display", "none",
		// One thread for all processors: with one each, a processor may run an
		// instruction that another has just patched, and the kernel then stops
		// with "Oops: int3" (1 boot of 12). The processor has no vector
		// extensions: emulated, they cost more than they give.
		"-accel", "tcg,thread=single", "-cpu", "qemu64",
		"-smp", strconv.Itoa(cfg.Processors),
		// Shared memory is what the file server reads requests from.
		"-machine", "pc,memory-backend=memory,usb=off,vmport=off",
		"-m", memory, "-object", "memory-backend-memfd,id=memory,share=on,size=" + memory,
		"-kernel", cfg.Kernel.Image, "-initrd", fmt.Sprintf("/dev/fd/%d", fdFiles), "-append", boot,
		"-chardev", fmt.Sprintf("socket,id=share,fd=%d", fdShare),
		"-device", "vhost-user-fs-pci,chardev=share,tag=" + guest.ShareTag,
		"-chardev", fmt.Sprintf("file,id=console,path=/dev/fd/%d", fdConsole),
		"-serial", "chardev:console",
		"-device", "virtio-serial-pci",
	}
	for _, port := range []struct {
		id, name string
		fd       int
	}{{"output", guest.PortOutput, fdOutput}, {"result", guest.PortResult, fdResult}} {
		args = append(args,
			"-chardev", fmt.Sprintf("file,id=%s,path=/dev/fd/%d", port.id, port.fd),
			"-device", fmt.Sprintf("virtserialport,chardev=%s,name=%s", port.id, port.name))
	}
	return args
}
