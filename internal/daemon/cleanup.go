package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"edgenet.dev/edgenet/internal/config"
	"edgenet.dev/edgenet/pkg/isolation"
	"edgenet.dev/edgenet/pkg/tunnel/ipsec"
	"edgenet.dev/edgenet/pkg/tunnel/wireguard"
)

// Cleanup takes everything that edgenetd made in this network namespace away:
// endpoints' devices, programs and maps, tunnel devices and their processes,
// routes, and the control socket. The state directory is kept. It refuses while
// an edgenetd runs, which would make all of it again.
func Cleanup(ctx context.Context, cfg config.Config, log *slog.Logger) error {
	if _, err := os.Stat(cfg.RunDir); err == nil {
		lock, err := lockRunDir(cfg.RunDir)
		if err != nil {
			return fmt.Errorf("clean up: %w", err)
		}
		defer lock.Close() //nolint:errcheck // nothing was written to it
	}
	err := errors.Join(
		isolation.RemoveAll(ctx, log),
		wireguard.RemoveAll(ctx, cfg.RunDir, log),
		ipsec.RemoveAll(ctx, cfg.RunDir, log),
	)
	for _, path := range []string{cfg.Socket(), lockPath(cfg.RunDir)} {
		if e := os.Remove(path); e != nil && !errors.Is(e, os.ErrNotExist) {
			err = errors.Join(err, e)
		}
	}
	if err != nil {
		return fmt.Errorf("clean up: %w", err)
	}
	log.Info("cleaned up", "kept", cfg.StateDir)
	return nil
}
