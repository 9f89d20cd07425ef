package device

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// InScratch calls f in a network namespace of its own, which is gone afterwards
// with all that f made: what only trying tells is tried there.
func InScratch(f func() error) error {
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends here
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			result <- fmt.Errorf("make a network namespace: %w", err)
			return
		}
		result <- f()
	}()
	return <-result
}
