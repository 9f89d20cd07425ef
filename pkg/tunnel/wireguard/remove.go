package wireguard

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/vishvananda/netlink"

	"edgenet.dev/edgenet/pkg/tunnel/internal/device"
)

// RemoveAll removes every tunnel device of edgenet's in this network namespace
// with its process, the routes, and the processes' logs in runDir. It needs no
// key and no name, and there need be nothing to remove.
func RemoveAll(ctx context.Context, runDir string, log *slog.Logger) error {
	links, err := netlink.LinkList()
	if err != nil {
		return fmt.Errorf("remove tunnels: list links: %w", err)
	}
	var problems []error
	for _, link := range links {
		if link.Attrs().Alias != Alias {
			continue
		}
		d := &driver{cfg: Config{Logger: log, RunDir: runDir}, log: log, name: link.Attrs().Name}
		problems = append(problems, d.Down(ctx))
	}
	if err := errors.Join(problems...); err != nil {
		return fmt.Errorf("remove tunnels: %w", err)
	}
	problems = append(problems, device.RemoveUnreachable(netip.Prefix{}))
	logs, err := filepath.Glob(filepath.Join(runDir, "wireguard-*.log"))
	problems = append(problems, err)
	for _, path := range logs {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			problems = append(problems, err)
		}
	}
	if err := errors.Join(problems...); err != nil {
		return fmt.Errorf("remove tunnels: %w", err)
	}
	return nil
}
