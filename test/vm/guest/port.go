package guest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// port is the descriptor of an open virtio port. It is no os.File, which would
// make it non-blocking: a blocking write returns when the host has taken it, so
// that a result that is written after all output is read after it.
type port int

func (p port) Write(b []byte) (written int, err error) {
	for written < len(b) {
		n, err := unix.Write(int(p), b[written:])
		if err != nil && !errors.Is(err, unix.EINTR) {
			return written, fmt.Errorf("write to port: %w", err)
		}
		written += max(n, 0)
	}
	return written, nil
}

// portTime is how long the kernel may take to find its ports.
const portTime = 30 * time.Second

// openPort waits for the virtio port of that name and opens it.
func openPort(name string) (port, error) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(portTime); time.Now().Before(deadline); <-tick.C {
		files, err := filepath.Glob("/sys/class/virtio-ports/*/name")
		if err != nil {
			return 0, err
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil || strings.TrimSpace(string(text)) != name {
				continue // named a moment later
			}
			device := filepath.Join("/dev", filepath.Base(filepath.Dir(file)))
			fd, err := unix.Open(device, unix.O_WRONLY|unix.O_CLOEXEC, 0)
			if err == nil {
				return port(fd), nil
			}
			if !errors.Is(err, os.ErrNotExist) {
				return 0, fmt.Errorf("open port: %w", err)
			}
		}
	}
	return 0, fmt.Errorf("find port %s: not there after %s", name, portTime)
}
