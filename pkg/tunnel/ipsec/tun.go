package ipsec

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

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
