package machine

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// shareCommand is the hidden argument with which this program becomes the file
// server of a machine.
const shareCommand = "serve-root"

// virtiofsd is where Debian puts it.
const virtiofsd = "/usr/lib/qemu/virtiofsd"

// becomeServer makes everything read-only for this process, which has a mount
// namespace of its own, and replaces it with virtiofsd on descriptor 3: the
// server itself has no option for that, and a guest could ask it to write.
func becomeServer() error {
	attributes := &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
	if err := unix.MountSetattr(unix.AT_FDCWD, "/", unix.AT_RECURSIVE, attributes); err != nil {
		return fmt.Errorf("make root read-only: %w", err)
	}
	err := unix.Exec(virtiofsd, []string{
		virtiofsd, "--fd=3", "-f",
		"-o", "source=/,sandbox=chroot,cache=always,log_level=warn",
		"--thread-pool-size=4",
	}, os.Environ())
	return fmt.Errorf("start %s: %w", virtiofsd, err)
}

// share is a connection between a file server and a machine. The server accepts
// its end on a listener that nobody else can reach any more.
type share struct{ listener, connection *os.File }

func newShare() (s *share, err error) {
	dir, err := os.MkdirTemp("", "vmtest-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	path := filepath.Join(dir, "share")
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("make share: %w", err)
	}
	defer func() { err = errors.Join(err, listener.Close()) }()
	connection, err := net.DialUnix("unix", nil, listener.Addr().(*net.UnixAddr))
	if err != nil {
		return nil, fmt.Errorf("make share: %w", err)
	}
	defer func() { err = errors.Join(err, connection.Close()) }()
	s = &share{}
	if s.listener, err = blocking(listener.File()); err != nil {
		return nil, err
	}
	s.connection, err = blocking(connection.File())
	return s, err
}

// blocking makes a descriptor as a program that inherits it expects it.
func blocking(file *os.File, err error) (*os.File, error) {
	if err == nil {
		err = unix.SetNonblock(int(file.Fd()), false)
	}
	return file, err
}

func (s *share) close() {
	_ = s.listener.Close()
	_ = s.connection.Close()
}

// serve starts the file server. It ends with the machine's end of the share.
// What it has to say goes to said.
func (s *share) serve(said io.Writer) (*exec.Cmd, error) {
	server := exec.Command("/proc/self/exe", shareCommand)
	server.Stderr = said
	server.ExtraFiles = []*os.File{s.listener}
	server.SysProcAttr = &unix.SysProcAttr{Unshareflags: unix.CLONE_NEWNS, Pdeathsig: unix.SIGKILL}
	if err := server.Start(); err != nil {
		return nil, fmt.Errorf("start file server: %w", err)
	}
	return server, nil
}
