package guest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// mount is one file system.
type mount struct {
	kind, source, target, options string
	flags                         uintptr
}

func (m mount) under(root string) error {
	target := filepath.Join(root, m.target)
	if err := os.MkdirAll(target, 0o755); err != nil {
		return fmt.Errorf("make mount point: %w", err)
	}
	if err := unix.Mount(m.source, target, m.kind, m.flags, m.options); err != nil {
		return fmt.Errorf("mount %s at %s: %w", m.source, target, err)
	}
	return nil
}

func mountAll(root string, mounts []mount) error {
	for _, m := range mounts {
		if err := m.under(root); err != nil {
			return err
		}
	}
	return nil
}

// mountKernel mounts what the kernel itself offers.
func mountKernel(root string) error {
	return mountAll(root, []mount{
		{kind: "proc", source: "proc", target: "proc"},
		{kind: "sysfs", source: "sysfs", target: "sys"},
		{kind: "devtmpfs", source: "devtmpfs", target: "dev"},
	})
}

// loadModules loads the modules that the initial file system carries.
func loadModules(names []string) error {
	for _, name := range names {
		file, err := os.Open(filepath.Join(ModuleDir, name))
		if err != nil {
			return fmt.Errorf("open module: %w", err)
		}
		err = unix.FinitModule(int(file.Fd()), "", 0)
		_ = file.Close()
		if err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("load module %s: %w", name, err)
		}
	}
	return nil
}

// Where the root is put together.
const (
	lower   = "/lower"
	writes  = "/writes"
	newRoot = "/root"
)

// enterRoot makes the host's root, read-only and with a file system in memory
// over it, the root of this process and of the kernel's own.
func enterRoot(spec *Spec) error {
	err := mountAll("/", []mount{
		{kind: "virtiofs", source: ShareTag, target: lower, flags: unix.MS_RDONLY},
		{kind: "tmpfs", source: "writes", target: writes, options: "mode=0755,size=75%"},
	})
	if err != nil {
		return err
	}
	upper, work := filepath.Join(writes, "upper"), filepath.Join(writes, "work")
	for _, dir := range []string{upper, work} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
	}
	layers := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", lower, upper, work)
	if err := (mount{kind: "overlay", source: "root", target: newRoot, options: layers}).under("/"); err != nil {
		return err
	}
	if err := furnish(spec); err != nil {
		return err
	}
	if err := os.Chdir(newRoot); err != nil {
		return err
	}
	// The initial file system cannot be pivoted away: it is covered.
	if err := unix.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("move root: %w", err)
	}
	if err := unix.Chroot("."); err != nil {
		return fmt.Errorf("change root: %w", err)
	}
	if err := os.Chdir("/"); err != nil {
		return err
	}
	return startLoopback()
}

// furnish puts into the new root what a Debian system has there.
func furnish(spec *Spec) error {
	if err := mountKernel(newRoot); err != nil {
		return err
	}
	if err := makeNodes(filepath.Join(newRoot, spec.ModuleTree, "modules.devname")); err != nil {
		return err
	}
	return mountAll(newRoot, []mount{
		{kind: "devpts", source: "devpts", target: "dev/pts", options: "mode=0620,ptmxmode=0666"},
		{kind: "tmpfs", source: "shm", target: "dev/shm"},
		{kind: "tmpfs", source: "run", target: "run", options: "mode=0755"},
		{kind: "cgroup2", source: "cgroup2", target: "sys/fs/cgroup"},
		{kind: "bpf", source: "bpf", target: "sys/fs/bpf"},
		// Where modprobe looks, which the kernel itself calls.
		{source: filepath.Join(newRoot, spec.ModuleTree), target: "lib/modules/" + spec.Release, flags: unix.MS_BIND},
	})
}

// makeNodes makes the device files by which modules are loaded when a program
// opens them, /dev/net/tun for one; systemd does that elsewhere. A line of the
// list is "tun net/tun c10:200".
func makeNodes(list string) error {
	text, err := os.ReadFile(list)
	if err != nil {
		return fmt.Errorf("read list of device files: %w", err)
	}
	for line := range strings.Lines(string(text)) {
		var module, name string
		var kind rune
		var major, minor uint32
		if _, err := fmt.Sscanf(line, "%s %s %c%d:%d", &module, &name, &kind, &major, &minor); err != nil || kind != 'c' {
			continue // a comment, or a disk
		}
		path := filepath.Join(newRoot, "dev", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		err := unix.Mknod(path, unix.S_IFCHR|0o600, int(unix.Mkdev(major, minor)))
		if err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("make device file %s: %w", name, err)
		}
	}
	return nil
}

// startLoopback gives the machine what a kernel starts without.
func startLoopback() error {
	lo, err := netlink.LinkByName("lo")
	if err == nil {
		err = netlink.LinkSetUp(lo)
	}
	if err != nil {
		return fmt.Errorf("set loopback up: %w", err)
	}
	if err := unix.Sethostname([]byte("vm")); err != nil {
		return fmt.Errorf("set hostname: %w", err)
	}
	return nil
}
