package lab

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Sweep removes what labs of processes that are no more have left, for instance
// after a test was killed: processes, sockets, namespaces and directories.
func Sweep() {
	for _, path := range orphans(namespaceDir) {
		n := &namespace{name: filepath.Base(path), path: path}
		if n.open() == nil {
			sweepNamespace(n)
		}
		_ = n.delete()
	}
	for _, path := range orphans(os.TempDir()) {
		_ = os.RemoveAll(path)
	}
}

// orphans returns what is in the directory under the name of a lab whose owner
// is no more.
func orphans(directory string) []string {
	paths, _ := filepath.Glob(filepath.Join(directory, namePrefix+"[0-9]*-*"))
	var found []string
	for _, path := range paths {
		owner, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(path), namePrefix), "-")
		if pid, err := strconv.Atoi(owner); err == nil && errors.Is(unix.Kill(pid, 0), unix.ESRCH) {
			found = append(found, path)
		}
	}
	return found
}

// sweepNamespace ends the processes and removes their tunnels' sockets.
func sweepNamespace(n *namespace) {
	killAll(n.id)
	links, err := n.nl.LinkList()
	if err != nil {
		return
	}
	for _, link := range links {
		_ = os.Remove(filepath.Join(wireguardSockets, link.Attrs().Name+".sock"))
	}
}
