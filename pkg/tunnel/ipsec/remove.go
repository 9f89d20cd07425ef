package ipsec

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"strings"

	"github.com/vishvananda/netlink"

	"edgenet.dev/edgenet/pkg/tunnel/internal/device"
)

// RemoveAll ends every charon of edgenet's in this network namespace that has
// its directory in runDir, and removes the devices, states, policies, rules and
// routes. It needs no key and no name, and there need be nothing to remove.
func RemoveAll(ctx context.Context, runDir string, log *slog.Logger) error {
	dirs, err := filepath.Glob(directory(runDir, "*"))
	if err != nil {
		return fmt.Errorf("remove tunnels: %w", err)
	}
	names := make(map[string]bool)
	for _, dir := range dirs {
		names[strings.TrimPrefix(filepath.Base(dir), "ipsec-")] = true
	}
	links, err := netlink.LinkList()
	if err != nil {
		return fmt.Errorf("remove tunnels: list links: %w", err)
	}
	for _, link := range links {
		if x, ok := link.(*netlink.Xfrmi); ok && x.Alias == Alias {
			names[x.Name] = true
		}
	}
	var problems []error
	for name := range names {
		d := newDriver(Config{Logger: log, RunDir: runDir, Device: name}.withDefaults())
		problems = append(problems, d.endCharon(ctx))
		_, err := deleteInterface(name, 0)
		problems = append(problems, err)
	}
	problems = append(problems, removeRules(), device.RemoveUnreachable(netip.Prefix{}))
	if err := errors.Join(problems...); err != nil {
		return fmt.Errorf("remove tunnels: %w", err)
	}
	return nil
}
