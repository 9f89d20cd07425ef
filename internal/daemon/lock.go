package daemon

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

func lockPath(dir string) string { return filepath.Join(dir, "edgenetd.lock") }

// makeRunDir makes the run directory. Whoever may use the control socket must
// be able to reach it, whatever the umask; a directory that is there is its
// owner's business.
func makeRunDir(dir string) error {
	_, err := os.Stat(dir)
	if err == nil {
		return nil
	}
	if errors.Is(err, os.ErrNotExist) {
		err = os.MkdirAll(dir, 0o755)
	}
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		return fmt.Errorf("make run directory: %w", err)
	}
	return nil
}

// lockRunDir keeps a second daemon away from the run directory. The kernel
// drops the lock when the process ends, however it ends.
func lockRunDir(dir string) (*os.File, error) {
	for {
		f, err := openLock(dir)
		if err != nil {
			return nil, fmt.Errorf("lock run directory %s: %w", dir, err)
		}
		// A clean-up may have removed the file between the two steps: a lock on
		// it then keeps nobody away.
		mine, err := f.Stat()
		if err != nil {
			return nil, errors.Join(fmt.Errorf("lock run directory %s: %w", dir, err), f.Close())
		}
		if there, err := os.Stat(lockPath(dir)); err == nil && os.SameFile(mine, there) {
			return f, nil
		}
		if err := f.Close(); err != nil {
			return nil, fmt.Errorf("lock run directory %s: %w", dir, err)
		}
	}
}

func openLock(dir string) (*os.File, error) {
	f, err := os.OpenFile(lockPath(dir), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = errors.New("another edgenetd uses it; stop that one or give this one its own --run-dir")
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
