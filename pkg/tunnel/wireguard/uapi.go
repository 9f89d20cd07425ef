package wireguard

import (
	"context"
	"path/filepath"

	"edgenet.dev/edgenet/pkg/tunnel/internal/proc"
)

// socketDir is where wireguard-go and wgctrl both look; neither can be told
// another place.
const socketDir = "/var/run/wireguard"

func socketPath(device string) string { return filepath.Join(socketDir, device+".sock") }

// findProcess returns the userspace process that serves the device, or nil.
func findProcess(ctx context.Context, device string) (*proc.Process, error) {
	return proc.Listening(ctx, socketPath(device))
}
