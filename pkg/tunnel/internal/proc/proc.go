// Package proc finds and holds the processes that tunnel drivers leave running
// when the daemon ends: each is known by the unix socket that it listens on.
//
// Out of scope: how such a process is started.
package proc

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// dialTimeout bounds a connect to a process's socket, which the kernel answers.
const dialTimeout = time.Second

// Process is held by a pidfd, so that no other can be mistaken for it.
type Process struct {
	PID int
	// FD is the pidfd; it is readable when the process has ended.
	FD int
}

// Listening returns the process that listens on the unix socket, or nil when
// there is none: no socket, or one that a dead process left.
func Listening(ctx context.Context, socket string) (*Process, error) {
	c, err := Dial(ctx, socket, time.Now().Add(dialTimeout))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ECONNREFUSED) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("connect to control socket: %w", err)
	}
	// The connection is kept until the pidfd is open.
	defer func() { _ = c.Close() }()
	pid, err := peerPID(c)
	if err != nil {
		return nil, fmt.Errorf("find process of control socket: %w", err)
	}
	return Open(pid)
}

// Open returns the process of a pid, or nil when there is none.
func Open(pid int) (*Process, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open process %d: %w", pid, err)
	}
	return &Process{PID: pid, FD: fd}, nil
}

// Dial connects to a unix socket. When more connections wait there than the
// process allows, which the kernel refuses at once, it tries until the deadline.
func Dial(ctx context.Context, socket string, deadline time.Time) (net.Conn, error) {
	const pause = 2 * time.Millisecond
	dialer := net.Dialer{Deadline: deadline}
	for {
		c, err := dialer.DialContext(ctx, "unix", socket)
		if !errors.Is(err, unix.EAGAIN) || time.Until(deadline) < pause {
			return c, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(pause):
		}
	}
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

// Close lets go of the process, which runs on.
func (p *Process) Close() { _ = unix.Close(p.FD) }

// Signal ignores a process that has ended.
func (p *Process) Signal(s unix.Signal) error {
	err := unix.PidfdSendSignal(p.FD, s, nil, 0)
	if err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("signal process %d: %w", p.PID, err)
	}
	return nil
}

// Ended waits until the process has ended, and says whether it did in time. It
// reaps it if it is a child.
func (p *Process) Ended(ctx context.Context, timeout time.Duration) (bool, error) {
	bounded, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	err := p.AwaitEnd(bounded)
	switch {
	case err == nil:
		_, _ = unix.Wait4(p.PID, nil, unix.WNOHANG, nil)
		return true, nil
	case ctx.Err() != nil:
		return false, ctx.Err()
	case bounded.Err() != nil:
		return false, nil
	}
	return false, err
}

// AwaitEnd waits until the process has ended, or ctx, which is its error then. It
// reaps nobody.
func (p *Process) AwaitEnd(ctx context.Context) error {
	// A copy of the descriptor: what waits here may outlast Close.
	fd, err := unix.FcntlInt(uintptr(p.FD), unix.F_DUPFD_CLOEXEC, 0)
	if err == nil {
		err = unix.SetNonblock(fd, true) // so that the runtime waits for it
	}
	if err != nil {
		return fmt.Errorf("wait for process %d: %w", p.PID, err)
	}
	f := os.NewFile(uintptr(fd), "pidfd")
	defer func() { _ = f.Close() }()
	raw, err := f.SyscallConn()
	if err != nil {
		return fmt.Errorf("wait for process %d: %w", p.PID, err)
	}
	stop := context.AfterFunc(ctx, func() { _ = f.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	err = raw.Read(func(fd uintptr) bool {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		return n > 0 && err == nil
	})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("wait for process %d: %w", p.PID, err)
	}
	return nil
}

// Here says whether the process is in this thread's network namespace.
func (p *Process) Here() (bool, error) {
	theirs, err := os.Stat(fmt.Sprintf("/proc/%d/ns/net", p.PID))
	if err != nil {
		return false, fmt.Errorf("find network namespace of process %d: %w", p.PID, err)
	}
	ours, err := os.Stat("/proc/thread-self/ns/net")
	if err != nil {
		return false, fmt.Errorf("find network namespace: %w", err)
	}
	return os.SameFile(theirs, ours), nil
}

// Elsewhere says whether the process is known to be in another network namespace.
// One that is ending has none any more, and is not.
func (p *Process) Elsewhere() (bool, error) {
	here, err := p.Here()
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && !here, err
}

// reapTime bounds the wait for a child that has let go of its socket and not quite
// ended: the kernel closes a process's files before it makes it a zombie.
const reapTime = time.Second

// Reap collects a child that has ended or is about to; what does neither in time is
// left alone. What is no child is init's to collect.
func Reap(ctx context.Context, pid int) {
	reaped, err := unix.Wait4(pid, nil, unix.WNOHANG, nil)
	if err != nil || reaped == pid {
		return
	}
	p, err := Open(pid) // nobody else's: it is a child that was not reaped
	if err != nil || p == nil {
		return
	}
	defer p.Close()
	_, _ = p.Ended(ctx, reapTime)
}
