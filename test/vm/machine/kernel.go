package machine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"

	"golang.org/x/sys/unix"
)

// Kernel is an unpacked kernel.
type Kernel struct {
	// Release is as `uname -r` prints it.
	Release string
	// Image is the file to boot, Modules the directory of its modules.
	Image, Modules string
}

// series is what a kernel may be asked for by: 6.1 is Debian's kernel for
// virtual machines, 6.1-generic the one for any machine.
var series = regexp.MustCompile(`^([0-9]+\.[0-9]+)(-generic)?$`)

// Find returns the kernel of that name from the cache. If it is not there, the
// newest of its series is fetched from Debian and unpacked there.
func Find(ctx context.Context, cache, name string) (*Kernel, error) {
	kernel, err := find(ctx, cache, name)
	if err != nil {
		return nil, fmt.Errorf("kernel %s: %w", name, err)
	}
	return kernel, nil
}

func find(ctx context.Context, cache, name string) (*Kernel, error) {
	parts := series.FindStringSubmatch(name)
	if parts == nil {
		return nil, errors.New("want a series such as 6.1, or 6.1-generic")
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return nil, fmt.Errorf("make cache: %w", err)
	}
	unlock, err := lock(filepath.Join(cache, "lock"))
	if err != nil {
		return nil, err
	}
	defer unlock()
	dir := filepath.Join(cache, "kernels", name)
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		if err := fetch(ctx, cache, parts[1], parts[2] == "", dir); err != nil {
			return nil, fmt.Errorf("cannot be fetched: %w", err)
		}
	}
	return open(dir)
}

// open finds the parts of an unpacked kernel package.
func open(dir string) (*Kernel, error) {
	images, err := filepath.Glob(filepath.Join(dir, "boot", "vmlinuz-*"))
	if err != nil {
		return nil, err
	}
	if len(images) != 1 {
		return nil, fmt.Errorf("%s has %d images, want one: delete it to have it fetched again", dir, len(images))
	}
	release := filepath.Base(images[0])[len("vmlinuz-"):]
	return &Kernel{
		Release: release,
		Image:   images[0],
		Modules: filepath.Join(dir, "lib", "modules", release),
	}, nil
}

// lock holds the file until unlock is called: two machines may be started at
// once, and the second has to wait for what the first fetches.
func lock(path string) (unlock func(), err error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX); err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return func() { _ = file.Close() }, nil
}
