package wireguard

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// socketDir is where wireguard-go and wgctrl both look; neither can be told
// another place.
const socketDir = "/var/run/wireguard"

// dialTimeout bounds a connect to the UAPI socket, which the kernel answers
// unless the process's backlog is full.
const dialTimeout = time.Second

func socketPath(device string) string { return filepath.Join(socketDir, device+".sock") }

// process is the userspace process of one device, held by a pidfd so that no
// other can be mistaken for it.
type process struct {
	pid   int
	pidfd int
}

// findProcess returns the process that listens on the device's UAPI socket, or
// nil when there is none: no socket, or one that a dead process left.
func findProcess(ctx context.Context, device string) (*process, error) {
	dialer := net.Dialer{Timeout: dialTimeout}
	c, err := dialer.DialContext(ctx, "unix", socketPath(device))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ECONNREFUSED) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("connect to UAPI socket: %w", err)
	}
	// The connection is kept until the pidfd is open.
	defer func() { _ = c.Close() }()
	pid, err := peerPID(c)
	if err != nil {
		return nil, fmt.Errorf("find process of UAPI socket: %w", err)
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) { // it ended meanwhile
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open process %d: %w", pid, err)
	}
	return &process{pid: pid, pidfd: fd}, nil
}

// peerPID returns the process that called listen on the other end.
func peerPID(c net.Conn) (int, error) {
	raw, err := c.(*net.UnixConn).SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	var optErr error
	err = raw.Control(func(fd uintptr) {
		cred, optErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err = errors.Join(err, optErr); err != nil {
		return 0, err
	}
	if cred.Pid <= 0 {
		return 0, errors.New("it is in another PID namespace")
	}
	return int(cred.Pid), nil
}

func (p *process) close() { _ = unix.Close(p.pidfd) }

// signal ignores a process that has ended.
func (p *process) signal(s unix.Signal) error {
	err := unix.PidfdSendSignal(p.pidfd, s, nil, 0)
	if err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("signal process %d: %w", p.pid, err)
	}
	return nil
}

// ended waits until the process has ended, and says whether it did in time.
func (p *process) ended(ctx context.Context) (bool, error) {
	deadline := time.Now().Add(endTimeout)
	for ctx.Err() == nil {
		// In slices, for poll knows nothing of ctx.
		left := min(time.Until(deadline), 100*time.Millisecond)
		if left < 0 {
			return false, nil
		}
		fds := []unix.PollFd{{Fd: int32(p.pidfd), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, int(left.Milliseconds()))
		if err != nil && !errors.Is(err, unix.EINTR) {
			return false, fmt.Errorf("wait for process %d: %w", p.pid, err)
		}
		if n > 0 {
			reap(p.pid)
			return true, nil
		}
	}
	return false, ctx.Err()
}

// here says whether the process is in this thread's network namespace.
func (p *process) here() (bool, error) {
	theirs, err := os.Stat(fmt.Sprintf("/proc/%d/ns/net", p.pid))
	if err != nil {
		return false, fmt.Errorf("find network namespace of process %d: %w", p.pid, err)
	}
	ours, err := os.Stat("/proc/thread-self/ns/net")
	if err != nil {
		return false, fmt.Errorf("find network namespace: %w", err)
	}
	return os.SameFile(theirs, ours), nil
}

// reap collects a child that has ended. What is no child is init's to collect.
func reap(pid int) {
	_, _ = unix.Wait4(pid, nil, unix.WNOHANG, nil)
}
