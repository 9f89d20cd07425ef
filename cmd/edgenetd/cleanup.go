package main

import (
	"github.com/urfave/cli/v2"

	"edgenet.dev/edgenet/internal/config"
	edgenet "edgenet.dev/edgenet/internal/daemon"
)

// cleanup takes everything of edgenet's out of the kernel, with no daemon
// running.
func cleanup(c *cli.Context) error {
	cfg, err := config.LoadDirs(c)
	if err != nil {
		return usageError{err}
	}
	return edgenet.Cleanup(c.Context, cfg, newLogger(cfg))
}
