package isolation

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// namespace is an open network namespace.
type namespace struct {
	file *os.File
	// inode tells namespaces apart, as long as one of them is open or in use.
	inode uint64
}

// openNamespace opens what a path of any kind leads to: a bind mount as
// /run/netns/x, or /proc/PID/ns/net.
func openNamespace(path string) (*namespace, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open network namespace: %w", err)
	}
	kind, err := unix.IoctlRetInt(int(file.Fd()), unix.NS_GET_NSTYPE)
	if err != nil || kind != unix.CLONE_NEWNET {
		return nil, errors.Join(fmt.Errorf("%s is not a network namespace", path), file.Close())
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &st); err != nil {
		return nil, errors.Join(fmt.Errorf("stat %s: %w", path, err), file.Close())
	}
	return &namespace{file: file, inode: st.Ino}, nil
}

func inodeAt(path string) (uint64, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return 0, fmt.Errorf("stat network namespace: %w", err)
	}
	return st.Ino, nil
}

// hostInode is of the calling thread's namespace.
func hostInode() (uint64, error) { return inodeAt("/proc/thread-self/ns/net") }

func (n *namespace) fd() int { return int(n.file.Fd()) }

func (n *namespace) close() error { return n.file.Close() }

// do calls f on a thread that is in the namespace, with a netlink connection to
// it. A thread that cannot be brought back ends.
func (n *namespace) do(f func(*netlink.Handle) error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		restored, err := n.enter(f)
		if restored {
			runtime.UnlockOSThread()
		}
		done <- err
	}()
	return <-done
}

// enter says whether the thread is back, whatever f returned.
func (n *namespace) enter(f func(*netlink.Handle) error) (restored bool, err error) {
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return true, fmt.Errorf("open own network namespace: %w", err)
	}
	defer func() { err = errors.Join(err, home.Close()) }()
	if err := unix.Setns(n.fd(), unix.CLONE_NEWNET); err != nil {
		return true, fmt.Errorf("enter network namespace: %w", err)
	}
	defer func() { restored = unix.Setns(int(home.Fd()), unix.CLONE_NEWNET) == nil }()
	nl, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return true, fmt.Errorf("open netlink: %w", err)
	}
	defer nl.Close()
	return true, f(nl)
}
