package daemon

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

func lockPath(dir string) string { return filepath.Join(dir, "edgenetd.lock") }

// lockRunDir keeps a second daemon away from the run directory. The kernel
// drops the lock when the process ends, however it ends.
func lockRunDir(dir string) (*os.File, error) {
	path := lockPath(dir)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock run directory: %w", err)
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = errors.New("another edgenetd uses it; stop that one or give this one its own --run-dir")
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock run directory %s: %w", dir, err), f.Close())
	}
	return f, nil
}
