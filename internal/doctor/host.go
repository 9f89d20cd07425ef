package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"edgenet.dev/edgenet/pkg/isolation"
	"edgenet.dev/edgenet/pkg/tunnel"
	"edgenet.dev/edgenet/pkg/tunnel/ipsec"
	"edgenet.dev/edgenet/pkg/tunnel/wireguard"
)

// Host is what is looked at.
type Host struct {
	// Release is the kernel's, as uname -r has it.
	Release string
	// Root is where /proc and /lib are.
	Root fs.FS
	// Privileged says whether probes may do what they have to.
	Privileged bool
	// Drivers probe for each driver, by its name.
	Drivers map[string]func() error
	// Programs probes whether the datapath loads, TCX for tcx.
	Programs func(context.Context) error
	TCX      func() error
	// Checksums probes whether programs may read what of the kernel's they need.
	Checksums func() error
}

// Local is this host.
func Local() (Host, error) {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return Host{}, fmt.Errorf("read the kernel's release: %w", err)
	}
	return Host{
		Release:    unix.ByteSliceToString(name.Release[:]),
		Root:       os.DirFS("/"),
		Privileged: os.Geteuid() == 0,
		Drivers: map[string]func() error{
			tunnel.WireGuardKernel:    func() error { return wireguard.Probe(wireguard.KindKernel) },
			tunnel.WireGuardUserspace: func() error { return wireguard.Probe(wireguard.KindUserspace) },
			tunnel.IPsecKernel:        probeIPsecKernel,
			tunnel.IPsecUserspace:     func() error { return ipsec.Probe(ipsec.KindUserspace) },
		},
		Programs: isolation.ProbePrograms,
		TCX:      isolation.ProbeTCX,

		Checksums: isolation.ProbeChecksums,
	}, nil
}

// probeIPsecKernel says whether the kernel's IPsec can be used, and not only run.
func probeIPsecKernel() error {
	return cmp.Or(ipsec.Probe(ipsec.KindKernel), isolation.ProbeStates())
}

// has tells whether a file is there.
func (h Host) has(path string) bool {
	_, err := fs.Stat(h.Root, path)
	return err == nil
}

// flags are the processor's, as Linux calls them.
func (h Host) flags() []string {
	text, err := fs.ReadFile(h.Root, "proc/cpuinfo")
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(text)) {
		name, list, _ := strings.Cut(line, ":")
		if name = strings.TrimSpace(name); name == "flags" || name == "Features" {
			return strings.Fields(list)
		}
	}
	return nil
}

// shipped tells whether the kernel's package brought a module.
func (h Host) shipped(module string) bool {
	for _, dir := range []string{"lib/modules/", "usr/lib/modules/"} {
		text, err := fs.ReadFile(h.Root, dir+h.Release+"/modules.dep")
		if err == nil && strings.Contains(string(text), "/"+module+".ko") {
			return true
		}
	}
	return false
}

// loadOrReplace is how to get what modules bring.
func (h Host) loadOrReplace(config string, modules ...string) string {
	var there []string
	for _, m := range modules {
		if h.shipped(m) {
			there = append(there, m)
		}
	}
	if len(there) == len(modules) {
		return "load the kernel's modules, now and at each boot: modprobe -a " + strings.Join(there, " ") +
			" (and their names in /etc/modules-load.d/edgenet.conf)"
	}
	return "boot a kernel with " + config + ": those of Debian, Ubuntu, Fedora and RHEL have it (on Ubuntu maybe in the package linux-modules-extra-" + h.Release + ")"
}

// unsupported tells what the host lacks from what could not be found out.
func unsupported(err error) bool {
	return errors.Is(err, tunnel.ErrUnsupported) || errors.Is(err, isolation.ErrUnsupported)
}
