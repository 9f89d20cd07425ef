package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	api "edgenet.dev/edgenet/api/edgenet/v1"
	"edgenet.dev/edgenet/pkg/isolation"
	"edgenet.dev/edgenet/pkg/tunnel"
)

func fine() error { return nil }

func lacks(what string) func() error {
	return func() error { return fmt.Errorf("%s %w", what, tunnel.ErrUnsupported) }
}

// full is a host that lacks nothing.
func full() Host {
	return Host{
		Release: "6.12.43-cloud-amd64", Privileged: true,
		Root: fstest.MapFS{
			"proc/cpuinfo":           {Data: []byte("processor\t: 0\nflags\t\t: fpu aes avx\n")},
			"proc/sys/net/ipv6/conf": {Data: []byte{}},
			"lib/modules/6.12.43-cloud-amd64/modules.dep": {Data: []byte(
				"kernel/drivers/net/wireguard/wireguard.ko.xz: x\nkernel/net/ipv4/esp4.ko:\nkernel/net/ipv6/esp6.ko:\n")},
		},
		Drivers: map[string]func() error{
			tunnel.WireGuardKernel: fine, tunnel.WireGuardUserspace: fine, tunnel.IPsecKernel: fine, tunnel.IPsecUserspace: fine,
		},
		Programs: func(context.Context) error { return nil },
		TCX:      fine,

		Checksums: fine,
	}
}

func find(r *api.DoctorReport, name string) *api.DoctorCheck {
	i := slices.IndexFunc(r.GetChecks(), func(c *api.DoctorCheck) bool { return c.GetName() == name })
	if i < 0 {
		return nil
	}
	return r.GetChecks()[i]
}

func TestAHostThatLacksNothing(t *testing.T) {
	r := Examine(t.Context(), full())
	want := []string{tunnel.WireGuardKernel, tunnel.IPsecKernel, tunnel.WireGuardUserspace, tunnel.IPsecUserspace}
	if !r.GetReady() || !slices.Equal(r.GetDrivers(), want) {
		t.Errorf("got %v", r)
	}
	for _, c := range r.GetChecks() {
		if c.GetState() != OK || c.GetAdvice() != "" {
			t.Errorf("got %v", c)
		}
	}
}

func TestWhatAHostLacksIsSaidWithWhatToDo(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Host)
		check  string
		state  string
		words  string
		ready  bool
	}{
		{"a module that is not loaded", func(h *Host) {
			h.Drivers[tunnel.WireGuardKernel] = lacks("kernel WireGuard")
		}, tunnel.WireGuardKernel, Lacking, "modprobe -a wireguard", true},
		{"a module that is not there", func(h *Host) {
			h.Release = "6.8.0-31-generic"
			h.Drivers[tunnel.WireGuardKernel] = lacks("kernel WireGuard")
		}, tunnel.WireGuardKernel, Lacking, "linux-modules-extra-6.8.0-31-generic", true},
		{"no ESP", func(h *Host) { h.Drivers[tunnel.IPsecKernel] = lacks("kernel ESP is") }, tunnel.IPsecKernel, Lacking, "modprobe -a esp4 esp6", true},
		{
			"no xfrm interfaces", func(h *Host) { h.Drivers[tunnel.IPsecKernel] = lacks("xfrm interfaces are") },
			tunnel.IPsecKernel, Lacking, "CONFIG_XFRM_INTERFACE", true,
		},
		{"no charon", func(h *Host) { h.Drivers[tunnel.IPsecUserspace] = lacks("no /usr/sbin/charon-systemd:") }, tunnel.IPsecUserspace, Lacking, "apt-get install charon-systemd", true},
		{"no TUN", func(h *Host) { h.Drivers[tunnel.WireGuardUserspace] = lacks("stat /dev/net/tun:") }, tunnel.WireGuardUserspace, Lacking, "give the container /dev/net/tun", true},
		{"nothing that encrypts", func(h *Host) {
			for name := range h.Drivers {
				h.Drivers[name] = lacks("x")
			}
		}, "encryption", Missing, "no plaintext mode", false},
		{"an old kernel", func(h *Host) { h.Release = "5.10.0-9" }, "kernel", Missing, "boot Linux 5.15 or later", false},
		{"a kernel just old enough", func(h *Host) { h.Release = "5.15.0" }, "kernel", OK, "Linux 5.15.0", true},
		{"no IPv6", func(h *Host) { delete(h.Root.(fstest.MapFS), "proc/sys/net/ipv6/conf") }, "ipv6", Missing, "ipv6.disable=1", false},
		{"no AES", func(h *Host) {
			h.Root.(fstest.MapFS)["proc/cpuinfo"] = &fstest.MapFile{Data: []byte("Features : fp asimd\n")}
		}, "aes", Lacking, "WireGuard is not", true},
		{"no tcx", func(h *Host) { h.TCX = func() error { return isolation.ErrUnsupported } }, "tcx", Lacking, "Linux 6.6", true},
		{"no BTF", func(h *Host) { h.Checksums = func() error { return isolation.ErrUnsupported } }, "btf", Lacking, "CONFIG_DEBUG_INFO_BTF", true},
		{"programs that are refused", func(h *Host) {
			h.Programs = func(context.Context) error { return errors.New("operation not permitted") }
		}, "datapath", Missing, "CAP_BPF", false},
		{"a user", func(h *Host) {
			h.Privileged = false
			for name := range h.Drivers {
				h.Drivers[name] = func() error { return errors.New("operation not permitted") }
			}
		}, "encryption", Unknown, "as root", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := full()
			c.change(&h)
			r := Examine(t.Context(), h)
			got := find(r, c.check)
			if got.GetState() != c.state || !strings.Contains(got.GetFound()+" "+got.GetAdvice(), c.words) || r.GetReady() != c.ready {
				t.Errorf("ready is %v, and %v; want %s with %q", r.GetReady(), got, c.state, c.words)
			}
		})
	}
}

// This host is looked at for real. What can be found of it depends on what it is.
func TestThisHost(t *testing.T) {
	h, err := Local()
	if err != nil {
		t.Fatal(err)
	}
	r := Examine(t.Context(), h)
	for _, c := range r.GetChecks() {
		t.Logf("%-20s %-8s %s. %s", c.GetName(), c.GetState(), c.GetFound(), c.GetAdvice())
		if h.Privileged && c.GetState() == Unknown {
			t.Errorf("root cannot find out about %s: %s", c.GetName(), c.GetFound())
		}
		if c.GetState() == Lacking && c.GetAdvice() == "" {
			t.Errorf("%s is lacking, and there is no advice", c.GetName())
		}
	}
	if h.Privileged && !r.GetReady() {
		t.Error("these tests need a host that is ready, and it is not found to be")
	}
}
