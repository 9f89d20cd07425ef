package ipsec

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"edgenet.dev/edgenet/pkg/tunnel"
	"edgenet.dev/edgenet/pkg/tunnel/internal/device"
)

// maxTUNMTU is the size of kernel-libipsec's read buffer, in bytes; of a larger
// packet it would encrypt the beginning.
const maxTUNMTU = 1400

var errNoTUN = errors.New("charon has no TUN device")

// ensureTUN returns charon's TUN device. Its marks are set while it is down, for
// a link-local address is made when it goes up.
func ensureTUN(pid int) (netlink.Link, error) {
	name, err := tunOf(pid)
	if err != nil {
		return nil, err
	}
	link, err := device.Find(name)
	if err != nil {
		return nil, err
	}
	if link == nil {
		return nil, fmt.Errorf("find device %s: it was deleted meanwhile", name)
	}
	if link.Attrs().Alias == Alias {
		return link, nil
	}
	if err := netlink.LinkSetDown(link); err != nil {
		return nil, fmt.Errorf("set link down: %w", err)
	}
	link.Attrs().Flags &^= unix.IFF_UP
	link.Attrs().RawFlags &^= unix.IFF_UP
	return link, nil
}

// tunOf returns the name of the TUN device that a process holds.
func tunOf(pid int) (string, error) {
	dir := fmt.Sprintf("/proc/%d/fdinfo", pid)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", fmt.Errorf("find TUN device: %w", err)
	}
	for _, e := range entries {
		name, err := tunIn(filepath.Join(dir, e.Name()))
		if err != nil || name != "" {
			return name, err
		}
	}
	return "", errNoTUN
}

// tunIn returns the device of one descriptor, or nothing. The kernel says iff:
// and a name of a TUN that exists (drivers/net/tun.c, tun_chr_show_fdinfo).
func tunIn(path string) (string, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) { // closed meanwhile
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("find TUN device: %w", err)
	}
	defer func() { _ = f.Close() }()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if name, ok := strings.CutPrefix(lines.Text(), "iff:\t"); ok {
			return strings.TrimSpace(name), nil
		}
	}
	return "", nil
}

const (
	// boundLatency is how long a packet waits in the TUN's queue at most, in
	// milliseconds.
	boundLatency = 20
	// boundBurst is what passes at once, in bytes.
	boundBurst = 64 << 10
	// minUnit is what a packet counts as at least, in bytes: charon's work is by
	// the packet.
	minUnit = 512
	// ticksPerMicrosecond is the unit of a burst: of 64 ns, as the kernel says in
	// /proc/net/psched since 2.6.31.
	ticksPerMicrosecond = 15.625
)

// ensureBound puts a token bucket in front of charon, whose own queue has no
// bound: a flood would make it grow until the host has no memory.
func ensureBound(link netlink.Link, rate uint64) error {
	bytes := rate / 8
	limit := uint32(bytes*boundLatency/1000 + boundBurst)
	have, err := netlink.QdiscList(link)
	if err != nil {
		return fmt.Errorf("list queues: %w", err)
	}
	for _, q := range have {
		tbf, ok := q.(*netlink.Tbf)
		if ok && tbf.Parent == netlink.HANDLE_ROOT && tbf.Rate == bytes && tbf.Limit == limit {
			return nil
		}
	}
	if err := replaceTBF(link, bytes, limit); err != nil {
		return fmt.Errorf("bound the device's queue: %w", err)
	}
	return nil
}

// replaceTBF is netlink.QdiscReplace for a tbf with a least unit, which that
// does not know.
func replaceTBF(link netlink.Link, bytes uint64, limit uint32) error {
	if bytes == 0 || bytes > math.MaxUint32 {
		return fmt.Errorf("%w: a rate of %d bytes per second", tunnel.ErrUnsupported, bytes)
	}
	opt := nl.TcTbfQopt{
		Rate:   nl.TcRateSpec{Linklayer: nl.LINKLAYER_ETHERNET, Mpu: minUnit, Rate: uint32(bytes)},
		Limit:  limit,
		Buffer: uint32(float64(boundBurst) / float64(bytes) * 1e6 * ticksPerMicrosecond),
	}
	req := nl.NewNetlinkRequest(unix.RTM_NEWQDISC, unix.NLM_F_CREATE|unix.NLM_F_REPLACE|unix.NLM_F_ACK)
	req.AddData(&nl.TcMsg{
		Family: nl.FAMILY_ALL, Ifindex: int32(link.Attrs().Index),
		Handle: netlink.MakeHandle(1, 0), Parent: netlink.HANDLE_ROOT,
	})
	req.AddData(nl.NewRtAttr(nl.TCA_KIND, nl.ZeroTerminated("tbf")))
	options := nl.NewRtAttr(nl.TCA_OPTIONS, nil)
	options.AddRtAttr(nl.TCA_TBF_PARMS, opt.Serialize())
	options.AddRtAttr(nl.TCA_TBF_BURST, nl.Uint32Attr(boundBurst))
	req.AddData(options)
	_, err := req.Execute(unix.NETLINK_ROUTE, 0)
	return err
}

// removeRules removes what a charon that was killed left: the rules that lead to
// the table of kernel-libipsec's routes. The routes went with the device.
func removeRules() error {
	for _, family := range []int{unix.AF_INET, unix.AF_INET6} {
		rules, err := netlink.RuleList(family)
		if err != nil {
			return fmt.Errorf("list rules: %w", err)
		}
		for _, r := range rules {
			if r.Table != routeTable || r.Priority != routePriority {
				continue
			}
			if err := netlink.RuleDel(&r); err != nil && !errors.Is(err, unix.ENOENT) {
				return fmt.Errorf("delete rule: %w", err)
			}
		}
	}
	return nil
}
