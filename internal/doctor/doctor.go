package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	api "edgenet.dev/edgenet/api/edgenet/v1"
	"edgenet.dev/edgenet/pkg/isolation"
	"edgenet.dev/edgenet/pkg/tunnel"
	"edgenet.dev/edgenet/pkg/tunnel/ipsec"
)

// The states of a check.
const (
	// OK is as it should be.
	OK = "ok"
	// Lacking is something that the host does without, slower or with less.
	Lacking = "lacking"
	// Missing is something without which the host carries no traffic.
	Missing = "missing"
	// Unknown could not be found out.
	Unknown = "unknown"
)

// The oldest kernel that is supported.
const oldestMajor, oldestMinor = 5, 15

const beRoot = "run this as root"

// Examine looks at a host.
func Examine(ctx context.Context, h Host) *api.DoctorReport {
	r := &api.DoctorReport{}
	add := func(c *api.DoctorCheck) { r.Checks = append(r.Checks, c) }
	if !h.Privileged {
		add(check("privileges", Unknown, "this is not run by root: most of the rest cannot be found out", beRoot))
	}
	add(checkKernel(h.Release))
	add(h.checkIPv6())
	drivers, uncertain := h.checkDrivers(add)
	r.Drivers = drivers
	switch {
	case len(drivers) > 0:
		add(check("encryption", OK, "can encrypt with "+strings.Join(drivers, ", "), ""))
	case uncertain:
		add(check("encryption", Unknown, "it could not be found out what can encrypt here", beRoot))
	default:
		add(check("encryption", Missing, "this host has no way to encrypt: it gets no tunnel and carries no traffic, and there is no plaintext mode",
			"one of what the checks above say, for instance /dev/net/tun for WireGuard in userspace"))
	}
	add(h.checkAES())
	add(h.checkPrograms(ctx))
	add(h.checkTCX())
	add(h.checkBTF())
	r.Ready = !slices.ContainsFunc(r.GetChecks(), func(c *api.DoctorCheck) bool {
		return c.GetState() == Missing || c.GetState() == Unknown && needed[c.GetName()]
	})
	return r
}

// needed are the checks without which nobody can say that a host is ready.
var needed = map[string]bool{"encryption": true, "datapath": true, "kernel": true}

func check(name, state, found, advice string) *api.DoctorCheck {
	return &api.DoctorCheck{Name: name, State: state, Found: found, Advice: advice}
}

func checkKernel(release string) *api.DoctorCheck {
	var major, minor int
	if _, err := fmt.Sscanf(release, "%d.%d", &major, &minor); err != nil {
		return check("kernel", Unknown, "release "+strconv.Quote(release)+" says no version", "")
	}
	if major < oldestMajor || major == oldestMajor && minor < oldestMinor {
		return check("kernel", Missing, "Linux "+release, fmt.Sprintf("boot Linux %d.%d or later", oldestMajor, oldestMinor))
	}
	return check("kernel", OK, "Linux "+release, "")
}

func (h Host) checkIPv6() *api.DoctorCheck {
	if h.has("proc/sys/net/ipv6") {
		return check("ipv6", OK, "the kernel has IPv6, which the overlay is made of", "")
	}
	return check("ipv6", Missing, "the kernel runs without IPv6, which the overlay is made of", "take ipv6.disable=1 from the kernel's command line, and load the module ipv6")
}

// driverChecks are in the order of speed.
var driverChecks = []struct{ name, ok string }{
	{tunnel.WireGuardKernel, "WireGuard in the kernel"},
	{tunnel.IPsecKernel, "ESP in the kernel, by an xfrm interface and charon"},
	{tunnel.WireGuardUserspace, "WireGuard in a process of edgenetd's, by /dev/net/tun"},
	{tunnel.IPsecUserspace, "ESP in charon, by /dev/net/tun"},
}

// checkDrivers returns what can encrypt, and whether that is all for certain.
func (h Host) checkDrivers(add func(*api.DoctorCheck)) (drivers []string, uncertain bool) {
	for _, c := range driverChecks {
		err := h.Drivers[c.name]()
		switch {
		case err == nil:
			drivers = append(drivers, c.name)
			add(check(c.name, OK, c.ok, ""))
		case unsupported(err):
			add(check(c.name, Lacking, err.Error(), h.adviceFor(c.name, err)))
		default:
			uncertain = true
			add(check(c.name, Unknown, err.Error(), h.unlessRoot()))
		}
	}
	return drivers, uncertain
}

func (h Host) unlessRoot() string {
	if h.Privileged {
		return ""
	}
	return beRoot
}

// adviceFor says what would make a driver run, from what it lacks.
func (h Host) adviceFor(driver string, lack error) string {
	const tun = "load the module tun, or give the container /dev/net/tun"
	charon := "install charon (Debian, Ubuntu: apt-get install " + ipsec.Packages + "; edgenetd starts its own and leaves the host's alone)"
	text := lack.Error()
	switch {
	case driver == tunnel.WireGuardKernel:
		return h.loadOrReplace("CONFIG_WIREGUARD", "wireguard")
	case strings.Contains(text, "/dev/net/tun"):
		return tun
	case strings.Contains(text, "charon"):
		return charon
	case errors.Is(lack, isolation.ErrUnsupported):
		return h.loadOrReplace("CONFIG_XFRM")
	case strings.Contains(text, "xfrm interfaces"):
		return h.loadOrReplace("CONFIG_XFRM_INTERFACE", "xfrm_interface")
	default:
		return h.loadOrReplace("CONFIG_INET_ESP, CONFIG_INET6_ESP and CONFIG_CRYPTO_GCM", "esp4", "esp6")
	}
}

func (h Host) checkAES() *api.DoctorCheck {
	flags := h.flags()
	switch {
	case slices.Contains(flags, "aes"):
		return check("aes", OK, "the processor has AES instructions, for IPsec's AES-256-GCM", "")
	case flags == nil:
		return check("aes", Unknown, "it could not be found out whether the processor has AES instructions", "")
	}
	return check("aes", Lacking, "the processor has no AES instructions: IPsec's AES-256-GCM is slow here, WireGuard is not",
		"if nodes of this kind need IPsec for no other reason, have them use WireGuard (edgenetctl tunnel policy)")
}

func (h Host) checkPrograms(ctx context.Context) *api.DoctorCheck {
	err := h.Programs(ctx)
	switch {
	case err == nil:
		return check("datapath", OK, "the kernel takes the datapath's programs", "")
	case unsupported(err):
		return check("datapath", Missing, err.Error(), "boot a kernel with CONFIG_BPF_SYSCALL, CONFIG_BPF_JIT and CONFIG_NET_CLS_BPF, 5.15 or later")
	case !h.Privileged:
		return check("datapath", Unknown, err.Error(), beRoot)
	}
	return check("datapath", Missing, err.Error(), "if this is a container, give it CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON; else look at what the kernel says (dmesg)")
}

func (h Host) checkTCX() *api.DoctorCheck {
	err := h.TCX()
	switch {
	case err == nil:
		return check("tcx", OK, "programs are attached by tcx", "")
	case unsupported(err):
		return check("tcx", Lacking, "programs are attached by clsact: other tools that make a clsact qdisc anew take them off, until they are put back in seconds",
			"boot Linux 6.6 or later")
	}
	return check("tcx", Unknown, err.Error(), h.unlessRoot())
}

func (h Host) checkBTF() *api.DoctorCheck {
	err := h.Checksums()
	switch {
	case err == nil:
		return check("btf", OK, "the kernel has its types (BTF), and the datapath's programs may read what they need", "")
	case unsupported(err):
		return check("btf", Lacking, "tenants can evade rules within their own VPC by having checksums written over ports: "+err.Error(),
			"boot a kernel with CONFIG_DEBUG_INFO_BTF; before Linux 6.2 it must not be locked down for confidentiality")
	}
	return check("btf", Unknown, err.Error(), h.unlessRoot())
}
