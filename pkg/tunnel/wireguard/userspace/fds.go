package userspace

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// closeInherited closes every descriptor that came from the parent, but the
// standard ones and keep. The parent may itself have inherited descriptors that
// it knows nothing of (a shell's, a supervisor's), and this process may outlive
// all of them. Those are told by the close-on-exec flag that they lack: the Go
// runtime sets it on whatever it opens.
func closeInherited(keep int) {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return // no /proc: what is inherited stays open, which only wastes it
	}
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		if err != nil || fd <= 2 {
			continue
		}
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if err != nil || flags&unix.FD_CLOEXEC != 0 {
			continue
		}
		if fd == keep {
			unix.CloseOnExec(fd)
			continue
		}
		_ = unix.Close(fd)
	}
}
